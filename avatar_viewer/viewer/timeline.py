"""An expression sequence that is played in the window; it knows no widgets, and outlives them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer.driver import Driven

# The window shows itself before torch is imported; what needs it is imported where it is used.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.expression.sequence import ExpressionSequence
    from avatar_viewer.viewer.app import ViewerApp

SEQUENCE_SUFFIX = ".npz"
SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Times as fast as the sequence's own."""
NONE_OPEN = "sequence: expected one, found none open; open its .npz file"


class Timeline:
    """A sequence, the place in it, and how it is played: a `Driver`.

    While it plays, the place follows the clock and expressions are taken between frames too, so a
    slow renderer leaves out and a fast one fills in; otherwise it is exactly that of a frame.
    """

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self.sequence: ExpressionSequence | None = None
        self.file = ""
        """Where it came from."""
        self.time_s = 0.0
        self.speed = 1.0
        self.loops = True
        self.turns_head = False
        """Whether the head follows the sequence's head pose."""
        self.is_playing = False
        self._advanced_s: float | None = None
        self._shown: tuple[float, bool] | None = None

    @property
    def is_followed(self) -> bool:
        """Whether the window shows its expression, and not the pad's."""
        return self._app.driver is self

    @property
    def is_moving(self) -> bool:
        return self.is_playing

    @property
    def count(self) -> int:
        """Of frames."""
        return 0 if self.sequence is None else len(self.sequence.codes)

    @property
    def frame(self) -> int:
        """The nearest one, from 0."""
        fps = 1.0 if self.sequence is None else self.sequence.header.fps
        return max(0, min(round(self.time_s * fps), self.count - 1))

    # The file.

    def open(self, path: Path) -> None:
        """Show the first frame of a file; the sequence before it stays if that cannot be."""
        if (state := self._app.state) is None:
            self._app.complain(f"{path}: expected an avatar to show it, found none yet")
            return
        from avatar_viewer.expression.sequence import load_sequence

        try:
            sequence = load_sequence(path)
            sequence.expect_dim(state.info.expression_dim, state.info.name)
        except AvatarError as error:
            found = str(error)
            self._app.complain(found if str(path) in found else f"{path}: {found}")
            return
        self.sequence, self.file = sequence, str(path)
        self.go(0)

    def close(self) -> None:
        """Back to the pad, without a sequence."""
        if self.is_followed:
            self._app.stop_driving()
        self.sequence, self.file, self.time_s = None, "", 0.0

    def adopt(self, info: AvatarInfo) -> None:
        """Go on with another avatar, or close where its expressions are others."""
        self._shown = None
        if self.sequence is None:
            return
        try:
            self.sequence.expect_dim(info.expression_dim, info.name)
        except AvatarError as error:
            self._app.complain(f"{self.file}: {error}; closed")
            self.close()

    # The place.

    def play_or_pause(self, now_s: float) -> None:
        """`now_s` is on the clock of `advance`."""
        if self.is_playing:
            self.go(self.frame)
        elif self._is_open():
            if self.frame == self.count - 1:
                self.time_s = 0.0
            self.is_playing, self._advanced_s = True, now_s
            self._follow()

    def go(self, frame: int) -> None:
        """Stop at a frame, or the nearest that there is, and show it."""
        if self._is_open():
            assert self.sequence is not None
            self.is_playing = False
            self.time_s = min(max(frame, 0), self.count - 1) / self.sequence.header.fps
            self._follow()

    def step(self, frames: int) -> None:
        """Stop so many frames further."""
        self.go(self.frame + frames)

    def change_speed(self, by: int) -> None:
        """To a faster one of `SPEEDS`, or to a slower one."""
        place = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(place, 0), len(SPEEDS) - 1)]

    def advance(self, now_s: float) -> Driven | None:
        if (sequence := self.sequence) is None:
            return None
        if self.is_playing:
            self._run(now_s, sequence.duration_s)
        wanted = (self.time_s, self.turns_head)
        if wanted == self._shown:
            return None
        self._shown = wanted
        pose = sequence.head_pose_at(self.time_s) if self.turns_head else None
        return Driven(sequence.at(self.time_s), pose)

    def stop(self) -> None:
        self.is_playing = False

    # The expression at the place.

    @property
    def name(self) -> str:
        """Of the present frame, for people; frames are counted from 1."""
        return f"{Path(self.file).stem} {self.frame + 1}"

    def set_corner(self, corner: int) -> None:
        """Give a corner of the pad the frame's expression; sliders move that as they move this."""
        if self._is_open() and (state := self._app.state) is not None:
            from avatar_viewer.avatar_info import Corner

            assert self.sequence is not None
            self.go(self.frame)
            corners = list(state.session.corners)
            corners[corner] = Corner(self.name, self.sequence.at(self.time_s))
            self._app.change(corners=tuple(corners))

    def save(self) -> None:
        """Keep the frame's expression in the library, with sliders, as it is shown."""
        if self._is_open() and (state := self._app.state) is not None:
            from avatar_viewer.expression.library import SavedExpression

            assert self.sequence is not None
            self.go(self.frame)
            session = replace(state.session, driven=self.sequence.at(self.time_s))
            saved = SavedExpression(self.name, session.expression(state.space), state.info.name)
            if self._app.library.change(lambda library: library.added(saved)):
                self._app.say(f"Saved the expression {self.name}")

    def _run(self, now_s: float, duration_s: float) -> None:
        """As far as the clock has."""
        since_s = 0.0 if self._advanced_s is None else now_s - self._advanced_s
        self._advanced_s = now_s
        self.time_s += since_s * self.speed
        if self.time_s >= duration_s:
            if self.loops:
                self.time_s %= duration_s
            else:
                self.go(self.count - 1)

    def _follow(self) -> None:
        """Have the window show it."""
        if not self.is_followed:
            self._shown = None
            self._app.drive_by(self)

    def _is_open(self) -> bool:
        """Otherwise the person is told."""
        if self.sequence is None:
            self._app.complain(NONE_OPEN)
        return self.sequence is not None
