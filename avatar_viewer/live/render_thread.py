"""The thread that loads avatars and renders; the window (or a benchmark) only talks to it.

Newest wins: there is one slot for what is wanted, not a queue. Everything that the thread has to
show is one immutable `LiveState`, replaced as a whole under the one lock.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from avatar_viewer.errors import AvatarError, RenderCancelled, one_line
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import Effort, Pacing, QuickChoice

# The window starts this thread before torch is imported; so nothing here may import it at once.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.config import RuntimeName
    from avatar_viewer.stages import Frame, RenderRequest


class Renderable(Protocol):
    """What the thread needs of an avatar."""

    @property
    def info(self) -> AvatarInfo: ...

    def render(self, request: RenderRequest, cancelled: Callable[[], bool]) -> Frame: ...


DEFAULT_TARGET_MS = 66.0
"""Of quick pictures, for an avatar that does not say."""
AUTO = QuickChoice()

Say = Callable[[str], None]
Load = Callable[[str, Say, Say], Renderable]
"""From a source (folder or Hub id) to an avatar. The first report hears what is being loaded; the
second one, from any thread and also later, lines that the person should see."""


def load_avatar(
    source: str, progress: Say, notify: Say, runtime: RuntimeName = "auto"
) -> Renderable:
    """`Avatar.load`, imported where it is needed: on the render thread."""
    from avatar_viewer.avatar import Avatar

    return Avatar.load(source, progress=progress, notify=notify, runtime=runtime)


@dataclass(frozen=True)
class _Job:
    request: RenderRequest
    """What is rendered: as wanted, or its quick variant."""
    wanted: RenderRequest
    quick: QuickChoice | None
    """What was chosen for a drag; None at rest."""
    submitted_s: float

    @property
    def preview(self) -> bool:
        return self.request != self.wanted


class RenderThread:
    """Loads avatars and renders requests on one thread; every method returns at once."""

    def __init__(
        self, load: Load = load_avatar, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """`on_change` is called after each new state, on any thread; it must be quick."""
        self._load = load
        self._on_change = on_change
        self._changed = threading.Condition()
        self._state = LiveState()
        self._avatar: Renderable | None = None
        self._pacing: Pacing  # of the avatar, once there is one
        self._wanted_source: str | None = None
        self._wanted: _Job | None = None
        self._done: RenderRequest | None = None  # the last one that succeeded or failed
        self._wanted_thumbnails: tuple[RenderRequest, ...] = ()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="render", daemon=True)
        self._thread.start()

    def poll(self) -> LiveState:
        """The newest state."""
        with self._changed:
            return self._state

    def wait(self, until: Callable[[LiveState], bool], timeout_s: float) -> LiveState:
        """Blocks until a state satisfies `until` or the time is over; the newest state."""
        with self._changed:
            self._changed.wait_for(lambda: until(self._state), timeout_s)
            return self._state

    def load(self, source: str) -> None:
        """Swap avatars; the present one stays if loading fails."""
        with self._changed:
            self._wanted_source = source
            self._changed.notify_all()

    def submit(
        self,
        request: RenderRequest,
        dragging: bool = False,
        made_for: AvatarInfo | None = None,
        quick: QuickChoice = AUTO,
    ) -> None:
        """Ask for a picture of the current avatar; only the newest request counts.

        A request equal to the last one costs nothing. While `dragging` its `quick` variant is
        rendered. A running render is cancelled between its steps, except that one quick picture is
        finished before the next: otherwise a steady drag would show none. A request `made_for`
        another avatar than the current one is dropped.
        """
        with self._changed:
            info, last = self._state.info, self._wanted
            if info is None or (made_for is not None and made_for is not info):
                return
            choice = quick if dragging else None
            if last is None or (request, choice) != (last.wanted, last.quick):
                self._want(request, choice)

    def notify(self, text: str) -> None:
        """Show the person one line; from any thread."""
        with self._changed:
            self._publish(notice=text, notices=self._state.notices + 1)

    def submit_thumbnails(self, requests: Sequence[RenderRequest]) -> None:
        """Pictures of the current avatar to render whenever nothing else is to do."""
        with self._changed:
            self._wanted_thumbnails = tuple(requests)
            self._state = replace(self._state, thumbnails=())
            self._changed.notify_all()

    def stop(self) -> None:
        """End the thread: between two steps of a render, or two stages of a load."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _want(self, wanted: RenderRequest, choice: QuickChoice | None) -> None:
        request = wanted
        if choice is not None:
            request = _quick(wanted, self._pacing, choice)
        self._wanted = _Job(request, wanted, choice, time.perf_counter())
        self._mark_shown_frame_final()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next_work() is not None)
                if self._stopping:
                    return
                work = self._next_work()
                assert work is not None
            work()

    def _next_work(self) -> Callable[[], None] | None:
        if self._wanted_source is not None:
            return self._load_wanted
        job, avatar = self._wanted, self._avatar
        if avatar is None:
            return None
        if job is not None and job.request != self._done:
            return lambda: self._render(avatar, job)
        if job is not None and job.quick is not None:
            return None  # the next picture of the drag shall not have to wait
        if len(self._state.thumbnails) < len(self._wanted_thumbnails):
            request = self._wanted_thumbnails[len(self._state.thumbnails)]
            return lambda: self._render_thumbnail(avatar, request)
        return None

    def _load_wanted(self) -> None:
        with self._changed:
            source, self._wanted_source = self._wanted_source, None
        assert source is not None
        self._publish(status=f"Loading {source}")
        try:
            avatar = self._load(source, partial(self._report_loading, source), self.notify)
            info = avatar.info
        except RenderCancelled:
            return
        except Exception as error:
            self._fail(error, None, status="")
            return
        with self._changed:
            if self._interrupted():
                return
            self._avatar, self._wanted, self._done = avatar, None, None
            self._pacing = _pacing_of(avatar)
            self._wanted_thumbnails = ()
            self._publish(source=source, info=info, status="", frame=None, thumbnails=())

    def _report_loading(self, source: str, stage: str) -> None:
        if self._interrupted():
            raise RenderCancelled
        self._publish(status=f"Loading {source}: {stage}")

    def _render(self, avatar: Renderable, job: _Job) -> None:
        try:
            frame = avatar.render(job.request, lambda: self._superseded(job))
        except RenderCancelled:
            return
        except Exception as error:
            with self._changed:
                if not self._superseded(job) and not self._halved_after(error, job):
                    self._done = job.request
                    self._fail(error, job.request)
            return
        with self._changed:
            if self._superseded(job):
                return
            self._done = job.request
            if job.quick is not None and job.request.show == "image":
                effort = Effort(1 / job.request.reduction, job.request.steps)
                self._pacing.count(effort, frame.stage_ms)
            finished_s = time.perf_counter()
            self._publish(
                frame=replace(frame, preview=job.preview),
                frames=self._state.frames + 1,
                latency_ms=(finished_s - job.submitted_s) * 1000,
                finished_s=finished_s,
            )
            self._mark_shown_frame_final()

    def _halved_after(self, error: Exception, job: _Job) -> bool:
        """Whether a drag goes on with half-size pictures because memory ran out."""
        # By its name: torch is not imported here.
        out_of_memory = type(error).__name__ == "OutOfMemoryError"
        may_halve = job.quick is not None and job.quick.reduction is None
        if not (out_of_memory and may_halve and self._pacing.halve()):
            return False
        self.notify("GPU memory ran out: half-size pictures while moving from now on")
        newest = self._wanted
        if newest is not None and newest.quick is not None:
            self._want(newest.wanted, newest.quick)
        return True

    def _render_thumbnail(self, avatar: Renderable, request: RenderRequest) -> None:
        wanted = self._wanted_thumbnails

        def superseded() -> bool:
            with self._changed:
                job = self._wanted
                newer_job = job is not None and job.request != self._done
                return self._interrupted() or newer_job or self._wanted_thumbnails is not wanted

        try:
            frame = avatar.render(request, superseded)
        except RenderCancelled:
            return
        except Exception as error:
            with self._changed:
                self._wanted_thumbnails = ()
                self._fail(error, request)
            return
        with self._changed:
            if not self._interrupted() and self._wanted_thumbnails is wanted:
                self._publish(thumbnails=(*self._state.thumbnails, frame))

    def _interrupted(self) -> bool:
        with self._changed:
            return self._stopping or self._wanted_source is not None

    def _superseded(self, job: _Job) -> bool:
        with self._changed:
            newest = self._wanted
            if self._interrupted() or newest is None:
                return True
            if job.preview and (newest.preview or newest.wanted == job.wanted):
                return False
            return newest.request != job.request

    def _mark_shown_frame_final(self) -> None:
        # A quick picture can turn out to be the full one, when the person lowers the steps.
        frame, job = self._state.frame, self._wanted
        if frame and job and frame.request == job.request and frame.preview != job.preview:
            self._state = replace(self._state, frame=replace(frame, preview=job.preview))

    def _fail(self, error: Exception, request: RenderRequest | None, **changes: Any) -> None:
        from avatar_viewer.stages import RenderFailure

        known = isinstance(error, AvatarError)
        message = one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
        lines = "".join(traceback.format_exception(error))
        failure = RenderFailure(request, message, lines)
        self._publish(failure=failure, failures=self._state.failures + 1, **changes)

    def _publish(self, **changes: Any) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)
            self._changed.notify_all()
        self._on_change()


def _pacing_of(avatar: Renderable) -> Pacing:
    target_ms = getattr(avatar, "target_ms", DEFAULT_TARGET_MS)
    return Pacing(target_ms, avatar.info.quick_steps, getattr(avatar, "reductions", (1, 2)))


def _quick(request: RenderRequest, pacing: Pacing, choice: QuickChoice) -> RenderRequest:
    """The variant that is rendered while dragging: baked head, and as good as there is time for."""
    request = replace(request, exact_head=False)
    if request.show != "image":
        return request
    effort = pacing.effort(request.steps, choice)
    return replace(request, steps=effort.steps, reduction=round(1 / effort.size))
