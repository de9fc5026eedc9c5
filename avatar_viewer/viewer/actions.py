"""What each key does; the window obeys this table and prints its help from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

PAD_NUDGE = 0.02


class Commands(Protocol):
    """What the window can be told to do by a key."""

    def nudge_pad(self, dx: float, dy: float) -> None: ...
    def centre_pad(self) -> None: ...
    def reset_view(self) -> None: ...
    def next_layer(self) -> None: ...
    def save_screenshot(self) -> None: ...
    def choose_checkpoint(self) -> None: ...


@dataclass(frozen=True)
class Action:
    """One row of the table."""

    key: str
    """As in Dear PyGui's mvKey_ constants."""
    does: str
    run: Callable[[Commands], None]
    repeats: bool = False
    """Whether a held key runs it again and again."""


ACTIONS = (
    Action("Left", "pad to the left", lambda window: window.nudge_pad(-PAD_NUDGE, 0), True),
    Action("Right", "pad to the right", lambda window: window.nudge_pad(PAD_NUDGE, 0), True),
    Action("Up", "pad up", lambda window: window.nudge_pad(0, -PAD_NUDGE), True),
    Action("Down", "pad down", lambda window: window.nudge_pad(0, PAD_NUDGE), True),
    Action("C", "pad to its centre", lambda window: window.centre_pad()),
    Action("R", "reset the view", lambda window: window.reset_view()),
    Action("L", "next layer", lambda window: window.next_layer()),
    Action("S", "save a screenshot", lambda window: window.save_screenshot()),
    Action("O", "open a checkpoint", lambda window: window.choose_checkpoint()),
)
MOUSE = (
    ("Left drag", "turn the head"),
    ("Middle or right drag", "move it"),
    ("Wheel", "zoom"),
)


def help_lines() -> list[tuple[str, str]]:
    """Input and what it does, for people."""
    return [*MOUSE, *((action.key, action.does) for action in ACTIONS)]
