"""What the window can be told to do, and all that its panels show; it knows no widgets.

Panels read `live`, `state` and `preferences`, and write by the methods here or by `state.change`.
It belongs to the main thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar_viewer.config import EMBEDDED, lasting_source, loadable_source, read_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, make_folder
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.viewer.library_file import LibraryFile
from avatar_viewer.viewer.messages import Messages
from avatar_viewer.viewer.preferences import (
    LAST_SESSION_FILE,
    MOST_RECENT,
    read_preferences,
    set_aside,
    write_preferences,
)
from avatar_viewer.viewer.recorder import Recorder
from avatar_viewer.viewer.state import ViewerState
from avatar_viewer.viewer.stroke import Stroke
from avatar_viewer.viewer.timeline import SEQUENCE_SUFFIX, Timeline
from avatar_viewer.viewer.webcam import Webcam

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session
    from avatar_viewer.live.task import Work
    from avatar_viewer.stages import RenderRequest
    from avatar_viewer.viewer.driver import Driver

REST_S = 0.15
"""Without a change for so long, the full picture is rendered."""
OVERLAYS = frozenset(("help", "log", "palette", "settings"))
"""Names in `ViewerApp.opened` of windows that lie over the others."""


class ViewerApp:
    """One window's business."""

    def __init__(self, renderer: RenderThread, config_folder: Path, debug: bool = False) -> None:
        """`config_folder` keeps preferences and the last session. With `debug`, tracebacks of
        failures are printed to stderr."""
        self.renderer = renderer
        self.config_folder = config_folder
        self.messages = Messages()
        self.preferences = read_preferences(config_folder, self.complain)
        self.live = LiveState()
        self.state: ViewerState | None = None
        self.opened: set[str] = set()
        """Names of the overlays on show, such as "help"."""
        self.text_inputs: list[int | str] = []
        """Widgets that keys are meant for while they are active; panels add theirs."""
        self.dialogs: list[int | str] = []
        """Windows that keys are meant for while they are shown."""
        self.library = LibraryFile(config_folder, self.say, self.complain)
        self.target_corner: int | None = None
        """Of the pad, which the library fills; None while that is not on show."""
        self.recorder = Recorder(self)
        self.stroke = Stroke()
        """The path that was drawn on the pad."""
        self.driver: Driver | None = None
        """What moves the expression now, in place of the pad."""
        self.timeline = Timeline(self)
        self.webcam = Webcam(self)
        self.submissions = 0
        self._debug = debug
        self._wanted_session: Session | None = None
        self._request: tuple[RenderRequest, RenderRequest | None] | None = None
        self._changed_s = 0.0
        self._session: Session | None = None
        self._touched_s = 0.0
        self._submitted: tuple[object, bool] | None = None
        self._corners: list[RenderRequest] = []
        self._other_source: str | None = None
        self._starting = False
        self._task_link: Path | None = None

    @property
    def note(self) -> str:
        """What stands in the picture's place while there is none."""
        if self.live.status:
            return self.live.status
        if self.state is not None:
            return "Rendering the first picture"
        return "No avatar" if self.live.failures else "Loading"

    @property
    def is_moving(self) -> bool:
        """Whether quick pictures are on their way."""
        return self._submitted is not None and self._submitted[1]

    # Every round of the window's loop, and where the mouse drags also in between.

    def take_in(self) -> bool:
        """See what the render thread has done; whether anything is new."""
        live, before = self.renderer.poll(), self.live
        self.live = live
        if live.info is not None and live.info is not before.info:
            self._adopt()
        if live.notices != before.notices:
            ended = before.task is not None and live.task is None
            self.say(live.notice, self._task_link if ended else None)
        if live.failures != before.failures and live.failure is not None:
            self.complain(live.failure.message)
            if self._debug:
                print(live.failure.traceback, file=sys.stderr)
            if self._starting:
                self.load(EMBEDDED)
        return live is not before

    def ask(self, now_s: float, released: bool) -> bool:
        """Ask for the picture of the state: the quick one at a change, the full one at rest.

        `now_s` is a monotonic time; `released` says that a drag has just ended. Whether the state
        has changed.
        """
        if (state := self.state) is None:
            return False
        self._drive(state, now_s)
        request, other = state.request(), self._other_request()
        changed = (request, other) != self._request
        if changed:
            self._request, self._changed_s = (request, other), now_s
        if state.session != self._session:
            self._session, self._touched_s = state.session, now_s
        changing = now_s - self._changed_s < REST_S and not released
        # Also what changes no picture, such as a background, is dragged in one step.
        if now_s - self._touched_s >= REST_S or released:
            state.settle()
        wanted = (self._request, changing)
        if self._submitted not in (wanted, (self._request, False)):
            self._submitted = wanted
            self.submissions += 1
            quick = state.session.quick_choice()
            self.renderer.submit(request, changing, state.info, quick, other)
        if not changing and self.live.frame is not None and not self.live.frame.preview:
            self._ask_for_corners(state)
        return changed

    # What drives the expression.

    def drive_by(self, driver: Driver) -> None:
        """Let it move the expression in place of the pad, until a hand or another one does."""
        if driver is not self.driver:
            self.stop_driving()
            self.stroke.stop()
            self.driver = driver

    def stop_driving(self) -> None:
        """Back to the pad's blend."""
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.stop()
        if self.state is not None:
            self.state.release()

    def _drive(self, state: ViewerState, now_s: float) -> None:
        if state.is_taken_back:
            self.stop_driving()
        elif self.driver is not None and (driven := self.driver.advance(now_s)) is not None:
            state.drive(driven)

    # Messages.

    def say(self, text: str, link: Path | None = None) -> None:
        self.messages.say(text, link=link)

    def complain(self, text: str) -> None:
        self.messages.say(text, is_error=True)

    # Avatars and files.

    def load(self, source: str) -> None:
        """Swap avatars; the present one stays if that fails."""
        self._wanted_session, self._starting = None, False
        self.renderer.load(loadable_source(source))

    def open(self, path: Path) -> None:
        """An avatar's folder, a session's YAML, a screenshot, or an expression sequence: what is
        in it is shown."""
        if path.is_dir():
            self.load(str(path))
            return
        if path.suffix.lower() == SEQUENCE_SUFFIX:
            self.timeline.open(path)
            return
        from avatar_viewer.live.screenshot import session_of

        self._try(lambda: self.open_session(session_of(path)))

    def open_session(self, session: Session) -> None:
        """Return to a session, with its avatar."""
        state = self.state
        if state is not None and lasting_source(state.source) == session.avatar:
            state.session = session.for_avatar(session.avatar, state.info)
            self._compare()
            return
        self.load(loadable_source(session.avatar))
        self._wanted_session = session

    def save_session(self, path: Path) -> None:
        from avatar_viewer.live.session import write_session

        if (state := self.state) is not None:
            self._try(lambda: write_session(state.session, path), f"Saved {path}", path)

    def start(self) -> None:
        """Return to what was on show when the window was last closed, or else to the embedded
        avatar."""
        path, source = self.config_folder / LAST_SESSION_FILE, EMBEDDED
        if path.is_file():
            try:
                # Only a name: whole sessions need torch, and the window is to show itself first.
                source = str(read_yaml(path).get("avatar", EMBEDDED))
            except AvatarError as error:
                self.complain(f"{error}; {set_aside(path)}")
        self.load(source)
        self._starting = True

    def keep_last_session(self) -> None:
        """For the next start; a folder that cannot be written to is no reason not to close."""
        if self.state is not None:
            self._try(lambda: make_folder(self.config_folder))
            self.save_session(self.config_folder / LAST_SESSION_FILE)

    def save_screenshot(self) -> None:
        """Save the picture on show, with the request and the session that made it; a larger one is
        rendered first."""
        frame, state = self.live.frame, self.state
        if frame is None or state is None:
            self.complain("Screenshot: there is no picture yet")
            return
        from avatar_viewer.live.screenshot import save_screenshot, screenshot_work

        path, prefer, session = self.new_path(".png"), self.preferences, state.session
        transparent = prefer.screenshot_transparent
        if (scale := prefer.screenshot_scale) == 1:
            self._try(
                lambda: save_screenshot(frame, path, session.avatar, session, transparent),
                *(f"Saved {path}", path),
            )
            return
        side_px = scale * state.info.resolution_px
        work = screenshot_work(session, (side_px, side_px), path, transparent)
        self.start_task("Screenshot", work, path)

    def start_task(self, label: str, work: Work, link: Path | None = None) -> None:
        """Have the render thread do a long task; its last message will have the link."""
        self._task_link = link
        self._try(lambda: self.renderer.start_task(label, work))

    def new_path(self, suffix: str) -> Path:
        """A file that is not there yet, in the folder and by the pattern of the preferences."""
        from avatar_viewer.live.screenshot import unused

        now, state = datetime.now(), self.state
        name = self.preferences.screenshot_name.format(
            date=f"{now:%Y%m%d}",
            time=f"{now:%H%M%S}",
            name=state.info.name if state else "none",
            layer=state.session.show if state else "none",
        )
        folder = self.preferences.screenshot_folder or Path.cwd()
        return unused(folder / f"{name.replace('/', '-')}{suffix}")

    def writable_path(self, suffix: str) -> Path | None:
        """`new_path` if it can be written; otherwise None, and the person is told."""
        path = self.new_path(suffix)
        try:
            ensure_writable(path)
        except AvatarError as error:
            self.complain(str(error))
            return None
        return path

    # Settings.

    def prefer(self, **fields: Any) -> None:
        """Change preferences, and keep them for the next start."""
        try:
            self.preferences = replace(self.preferences, **fields)
            write_preferences(self.preferences, self.config_folder)
        except AvatarError as error:
            self.complain(str(error))

    def change(self, **fields: Any) -> None:
        """Change fields of the session; what it refuses is said, and nothing changes."""
        if (state := self.state) is not None:
            self._try(lambda: state.change(**fields))
            self._compare()

    def undo(self) -> None:
        if self.state is not None:
            self.state.undo()
            self._compare()

    def redo(self) -> None:
        if self.state is not None:
            self.state.redo()
            self._compare()

    def toggle(self, overlay: str) -> None:
        """Show or hide an overlay."""
        self.opened ^= {overlay}

    def put_away(self) -> None:
        """Hide all messages, and the windows that lie over the others."""
        self.messages.put_away = self.messages.count
        self.opened -= OVERLAYS

    def _adopt(self) -> None:
        live = self.live
        assert live.source is not None and live.info is not None and live.expressions is not None
        state = ViewerState.of(live.source, live.info, live.expressions)
        self.state, self._request, self._submitted, self._corners = state, None, None, []
        self._other_source = None
        self.say(f"{live.info.name}, {live.info.licence}")
        session, self._wanted_session = self._wanted_session, None
        if self._starting:
            session, self._starting = self._last_session(), False
        if session is not None or self.driver is not self.timeline:
            self.stop_driving()
        self.timeline.adopt(live.info)
        if session is not None:
            info, avatar = live.info, state.session.avatar
            self._try(lambda: setattr(state, "session", session.for_avatar(avatar, info)))
        source = state.session.avatar
        others = tuple(r for r in self.preferences.recent if r != source)
        self.prefer(recent=(source, *others)[:MOST_RECENT])
        self._compare()

    def _last_session(self) -> Session | None:
        from avatar_viewer.live.session import read_session

        path = self.config_folder / LAST_SESSION_FILE
        try:
            return read_session(path) if path.is_file() else None
        except AvatarError as error:
            self.complain(f"{error}; {set_aside(path)}")
            return None

    def _compare(self) -> None:
        """Have the avatar of the second picture loaded."""
        if self.state is None:
            return
        other = self.state.session.comparison
        wanted = loadable_source(other.avatar) if other and other.avatar else None
        if wanted != self._other_source:
            self._other_source = wanted
            self.renderer.compare_with(wanted)

    def _other_request(self) -> RenderRequest | None:
        """None while its avatar is being loaded."""
        if self.state is None or self.live.other_source != self._other_source:
            return None
        return self.state.other_request()

    def _ask_for_corners(self, state: ViewerState) -> None:
        corners = state.corner_requests()
        if corners != self._corners:
            self._corners = corners
            self.renderer.submit_thumbnails(corners)

    def _try(self, do: Callable[[], object], done: str = "", link: Path | None = None) -> None:
        try:
            do()
        except AvatarError as error:
            self.complain(str(error))
        else:
            if done:
                self.say(done, link)
