"""What two pictures that are compared differ in, in words and in pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from avatar_viewer.live.session import Comparison, Session
    from avatar_viewer.viewer.state import ViewerState

AMPLIFIED = 4
"""Differences are shown so many times as large."""
_WORDS: dict[str, Callable[[Any], str]] = {
    "avatar": lambda avatar: Path(avatar).name,
    "show": str,
    "steps": lambda steps: f"{steps} step{'s' if steps > 1 else ''}",
    "seed": lambda seed: f"seed {seed}",
    "teacher": lambda teacher: "teacher" if teacher else "student",
}


def differences(session: Session) -> tuple[str, str]:
    """What is the first picture's alone, and what the second's; both empty where nothing is."""
    if (other := session.compared()) is None:
        return "", ""
    names = [name for name in _WORDS if getattr(session, name) != getattr(other, name)]
    first, second = (
        ", ".join(_WORDS[name](getattr(each, name)) for name in names) for each in (session, other)
    )
    return first, second


def quick_comparison(state: ViewerState) -> Comparison:
    """With what is drawn while dragging."""
    from avatar_viewer.live.session import Comparison

    return Comparison(steps=state.info.quick_steps)


def layer_comparison(state: ViewerState) -> Comparison:
    """Of the picture with the layer on show, or with the mesh."""
    from avatar_viewer.live.session import Comparison

    return Comparison(show="mesh" if state.session.show == "image" else "image")


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The absolute difference of two pictures of one size, amplified: uint8 [H,W,3]."""
    levels = np.abs(first.astype(np.int16) - second) * AMPLIFIED
    return levels.clip(max=255).astype(np.uint8)
