"""What can be done by keyboard: the window obeys this table, the palette searches it, and help and
docs/viewer.md are printed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avatar_viewer.viewer.app import ViewerApp

PAD_NUDGE = 0.02
MODIFIERS = ("Ctrl", "Shift", "Alt")


@dataclass(frozen=True)
class Action:
    """One row of the table."""

    keys: str
    """Such as "Ctrl+Shift+Z"; the last word as in Dear PyGui's mvKey_ constants. Empty: only in
    the palette."""
    does: str
    run: Callable[[ViewerApp], None]
    repeats: bool = False
    """Whether a held key runs it again and again."""

    @property
    def key(self) -> str:
        """Without modifiers."""
        return self.keys.rpartition("+")[2]

    @property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.keys.split("+")[:-1])


def _nudge(dx: float, dy: float) -> Callable[[ViewerApp], None]:
    def run(app: ViewerApp) -> None:
        if app.state is not None:
            app.state.nudge_pad(dx * PAD_NUDGE, dy * PAD_NUDGE)

    return run


def _pad_to(x: float, y: float) -> Callable[[ViewerApp], None]:
    def run(app: ViewerApp) -> None:
        if app.state is not None:
            app.state.move_pad(x, y)

    return run


def _next_layer(app: ViewerApp) -> None:
    from avatar_viewer.stages import LAYERS

    if app.state is not None:
        now = LAYERS.index(app.state.session.show)
        app.change(show=LAYERS[(now + 1) % len(LAYERS)])


def _reset_view(app: ViewerApp) -> None:
    if app.state is not None:
        app.state.reset_view()


GROUPS: dict[str, tuple[Action, ...]] = {
    "Expression": (
        Action("Left", "pad to the left", _nudge(-1, 0), True),
        Action("Right", "pad to the right", _nudge(1, 0), True),
        Action("Up", "pad up", _nudge(0, -1), True),
        Action("Down", "pad down", _nudge(0, 1), True),
        Action("C", "pad to its centre", _pad_to(0.5, 0.5)),
        Action("1", "pad to the top-left corner", _pad_to(0, 0)),
        Action("2", "pad to the top-right corner", _pad_to(1, 0)),
        Action("3", "pad to the bottom-left corner", _pad_to(0, 1)),
        Action("4", "pad to the bottom-right corner", _pad_to(1, 1)),
    ),
    "View": (
        Action("R", "reset the view", _reset_view),
        Action("L", "next layer", _next_layer),
    ),
    "Files": (
        Action("S", "save a screenshot", lambda app: app.save_screenshot()),
        Action("O", "open an avatar, a session or a screenshot", lambda app: app.toggle("open")),
    ),
    "Edit": (
        Action("Ctrl+Z", "undo", lambda app: app.undo(), True),
        Action("Ctrl+Y", "redo", lambda app: app.redo(), True),
    ),
    "Window": (),
}
"""Actions by what they concern, in the order of the help."""
MOUSE = (
    ("Left drag", "turn the head"),
    ("Middle or right drag", "move it"),
    ("Wheel", "zoom"),
)


def all_actions() -> tuple[Action, ...]:
    return tuple(action for group in GROUPS.values() for action in group)


def help_lines() -> list[tuple[str, str]]:
    """Input and what it does, for people."""
    return [*MOUSE, *((action.keys, action.does) for action in all_actions() if action.keys)]
