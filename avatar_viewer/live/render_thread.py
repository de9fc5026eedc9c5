"""The thread that loads avatars and renders; the window (or a benchmark) only talks to it.

Newest wins: there is one slot for what is wanted, not a queue. Everything that the thread has to
show is one immutable `LiveState`, replaced as a whole under the one lock.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from avatar_viewer.errors import AvatarError, RenderCancelled, one_line
from avatar_viewer.live.cores import Cores, let_others_go_first
from avatar_viewer.live.jobs import AUTO, Job, SecondPicture, pacing_of, quick_variant
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import Effort, Pacing, QuickChoice
from avatar_viewer.live.renderable import Load, Renderable, load_avatar
from avatar_viewer.live.task import Task, Work

# The window starts this thread before torch is imported; so nothing here may import it at once.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.stages import RenderRequest


class RenderThread:
    """Loads avatars and renders requests on one thread; every method returns at once."""

    def __init__(
        self, load: Load = load_avatar, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """`on_change` is called after each new state, on any thread; it must be quick."""
        self._load = load
        self._on_change = on_change
        self.cores = Cores()
        self._changed = threading.Condition()
        self._state = LiveState()
        self._avatar: Renderable | None = None
        self._pacing: Pacing  # of the avatar, once there is one
        self._wanted_source: str | None = None
        self._wanted: Job | None = None
        self._done: RenderRequest | None = None  # the last one that succeeded or failed
        self._wanted_thumbnails: tuple[RenderRequest, ...] = ()
        self._thumbnails_done = 0
        self._second = SecondPicture()
        self._task: Task | None = None
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
        other: RenderRequest | None = None,
    ) -> None:
        """Ask for a picture of the current avatar; only the newest request counts.

        A request equal to the last one costs nothing. While `dragging` its `quick` variant is
        rendered. A running render is cancelled between its steps, except that one quick picture is
        finished before the next: otherwise a steady drag would show none. A request `made_for`
        another avatar than the current one is dropped. `other` is the picture that it is compared
        with, which is rendered in turn with it.
        """
        with self._changed:
            info, last = self._state.info, self._wanted
            if info is None or (made_for is not None and made_for is not info):
                return
            choice = quick if dragging else None
            if last is None or (request, choice) != (last.wanted, last.quick):
                self._want(request, choice)
            self._want_other(other, choice)

    def compare_with(self, source: str | None) -> None:
        """Load another avatar for the second picture; None: the current one draws it."""
        with self._changed:
            self._second.wanted_source = source
            if source is None:
                self._second.avatar = None
                self._publish(other_source=None)
            self._changed.notify_all()

    def start_task(self, label: str, work: Work) -> None:
        """Do a long task in pieces; AvatarError while there is another one."""
        with self._changed:
            if self._task is not None:
                raise AvatarError(
                    f"{label}: expected no other task, found {self._task.progress.label}"
                )
            self._task = Task(label, work)
            self._publish(task=self._task.progress)

    def cancel_task(self) -> None:
        """End the task before its next piece, if there is one."""
        with self._changed:
            if self._task is not None:
                self._task.cancelled = True

    def notify(self, text: str) -> None:
        """Show the person one line; from any thread."""
        with self._changed:
            self._publish(notice=text, notices=self._state.notices + 1)

    def submit_thumbnails(self, requests: Sequence[RenderRequest]) -> None:
        """Pictures of the current avatar to render whenever nothing else is to do; old ones stay
        until new ones are there."""
        with self._changed:
            self._wanted_thumbnails, self._thumbnails_done = tuple(requests), 0
            kept = self._state.thumbnails[: len(requests)]
            self._state = replace(self._state, thumbnails=kept)
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
            request = quick_variant(wanted, self._pacing, choice)
        self._wanted = Job(request, wanted, choice, time.perf_counter())
        self._mark_shown_frame_final()
        self._changed.notify_all()

    def _run(self) -> None:
        let_others_go_first()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next_work() is not None)
                if self._stopping:
                    break
                work = self._next_work()
                assert work is not None
                dragging = self._wanted is not None and self._wanted.quick is not None
            self.cores.share(moving=dragging)
            work()
        if self._task is not None:
            self._task.close()

    def _next_work(self) -> Callable[[], None] | None:
        if self._wanted_source is not None:
            return self._load_wanted
        job, avatar, second = self._wanted, self._avatar, self._second
        if avatar is None:
            return None
        if second.wanted_source is not None:
            return self._load_other
        job_done = job is None or job.request == self._done
        if second.is_due and (job_done or second.has_turn):
            return lambda: self._render_other(second.avatar or avatar)
        if job is not None and not job_done:
            return lambda: self._render(avatar, job)
        if job is not None and job.quick is not None:
            return None  # the next picture of the drag shall not have to wait
        if self._thumbnails_done < len(self._wanted_thumbnails):
            request = self._wanted_thumbnails[self._thumbnails_done]
            return lambda: self._render_thumbnail(avatar, request)
        task = self._task
        return None if task is None else lambda: self._advance(task, avatar)

    def _load_wanted(self) -> None:
        with self._changed:
            source, self._wanted_source = self._wanted_source, None
        assert source is not None
        self._publish(status=f"Loading {source}")
        try:
            avatar = self._loaded(source)
            info, expressions = avatar.info, avatar.expressions
        except RenderCancelled:
            return
        except Exception as error:
            self._fail(error, None, status="")
            return
        with self._changed:
            if self._interrupted():
                return
            self._avatar, self._wanted, self._done = avatar, None, None
            self._pacing = pacing_of(avatar)
            self._wanted_thumbnails, self._second = (), SecondPicture()
            self._publish(
                **{"source": source, "info": info, "expressions": expressions},
                **{"status": "", "frame": None, "thumbnails": ()},
                **{"other": None, "other_source": None},
            )

    def _loaded(self, source: str) -> Renderable:
        # Also in the middle of a drag, for networks are made for as many threads as there are now.
        self.cores.share(moving=False)
        return self._load(source, partial(self._report_loading, source), self.notify)

    def _report_loading(self, source: str, stage: str) -> None:
        if self._interrupted():
            raise RenderCancelled
        self._publish(status=f"Loading {source}: {stage}")

    def _render(self, avatar: Renderable, job: Job) -> None:
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
            self._second.has_turn = True
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

    def _halved_after(self, error: Exception, job: Job) -> bool:
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
        wanted, index = self._wanted_thumbnails, self._thumbnails_done

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
                self._thumbnails_done += 1
                old = self._state.thumbnails[index + 1 :]
                self._publish(thumbnails=(*self._state.thumbnails[:index], frame, *old))

    def _want_other(self, other: RenderRequest | None, choice: QuickChoice | None) -> None:
        request = other
        if other is not None and choice is not None:
            request = quick_variant(other, self._pacing, choice)
        self._second.wanted = request
        if other is None and self._state.other is not None:
            self._second.done = None
            self._publish(other=None)
        self._changed.notify_all()

    def _load_other(self) -> None:
        with self._changed:
            second, source = self._second, self._second.wanted_source
            second.wanted_source = None
        assert source is not None
        self._publish(status=f"Loading {source}")
        try:
            avatar = self._loaded(source)
        except RenderCancelled:
            return
        except Exception as error:
            self._fail(error, None, status="")
            return
        with self._changed:
            if self._second is second and second.wanted_source is None:
                second.avatar, second.done = avatar, None
                self._publish(other_source=source, status="")

    def _render_other(self, avatar: Renderable) -> None:
        second, request = self._second, self._second.wanted
        assert request is not None

        def superseded() -> bool:
            with self._changed:
                newer = second is not self._second or second.wanted != request
                # One quick picture is finished before the next, as of the first picture.
                quick = second.wanted is not None and not request.exact_head
                return self._interrupted() or (newer and not quick)

        second.has_turn = False
        try:
            frame = avatar.render(request, superseded)
        except RenderCancelled:
            return
        except Exception as error:
            with self._changed:
                second.done = request
                self._fail(error, request)
            return
        with self._changed:
            if not superseded():
                second.done = request
                self._publish(other=frame)

    def _advance(self, task: Task, avatar: Renderable) -> None:
        try:
            ended = task.advance(avatar)
        except Exception as error:
            with self._changed:
                self._task = None
                self._fail(error, None, task=None)
            return
        if ended is None:
            self._publish(task=task.progress)
            return
        with self._changed:
            self._task = None
            self._publish(task=None)
            self.notify(ended)

    def _interrupted(self) -> bool:
        with self._changed:
            return self._stopping or self._wanted_source is not None

    def _superseded(self, job: Job) -> bool:
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
