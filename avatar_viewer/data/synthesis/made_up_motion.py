"""Made-up talk in ARKit weights: its blinks and closures of the mouth are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_viewer.data.synthesis.expressions import Expression, random_gaze, scaled
from avatar_viewer.head.arkit_units import ARKIT_UNITS

BLINK = (0.5, 1.0, 0.85, 0.5, 0.2)
"""Weights of successive frames; the second is its middle."""
GAZE_FRAMES = (14, 30)
"""How long eyes look at one place."""


@dataclass(frozen=True)
class MadeUpMotion:
    """ARKit weights of a few seconds of talking, with the frames of its events."""

    weights: np.ndarray
    """[T,52], the first ones at rest."""
    blinks: tuple[int, ...]
    closures: tuple[int, ...]
    """Of the mouth, between open ones."""


def make_up_motion(rng: np.random.Generator, frames: int = 96) -> MadeUpMotion:
    """Smooth motion of brows, jaw and mouth, with blinks and closures that take a few frames."""
    weights = np.zeros((frames, len(ARKIT_UNITS)))
    time = np.arange(frames)

    def add(units: tuple[str, ...], course: np.ndarray) -> None:
        for unit in units:
            weights[:, ARKIT_UNITS.index(unit)] += course

    def bump(middle: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((time - middle) / width) ** 2)

    slow = (("browInnerUp",), ("browDownLeft", "browDownRight"), ("mouthPucker",))
    slow += (("browOuterUpLeft", "browOuterUpRight"), ("mouthSmileLeft", "mouthSmileRight"))
    slow += (("mouthFunnel",), ("cheekSquintLeft", "cheekSquintRight"), ("mouthLeft",))
    for units in slow:
        add(units, rng.uniform(0.2, 0.7) * bump(rng.uniform(20, frames - 10), rng.uniform(6, 12)))
    closures = np.arange(24, frames - 10, 18) + rng.integers(-3, 4)
    talking = rng.uniform(0.3, 0.5) / (1 + np.exp((12 - time) / 1.5))
    for closure in closures:
        talking = talking * (1 - bump(closure, 1.8))
        add(("mouthPressLeft", "mouthPressRight"), 0.4 * bump(closure, 1.5))
    add(("jawOpen",), talking)
    blinks = np.arange(14, frames - 8, 22) + rng.integers(-3, 4)
    for blink in blinks:
        course = np.zeros(frames)
        course[blink - 1 : blink - 1 + len(BLINK)] = BLINK
        add(("eyeBlinkLeft", "eyeBlinkRight"), course)
    return MadeUpMotion(np.clip(weights, 0, 1), tuple(blinks.tolist()), tuple(closures.tolist()))


def made_up_gaze(rng: np.random.Generator, frames: int) -> list[Expression]:
    """Of each frame: eyes that look ahead at first, then jump from place to place."""
    gazes: list[Expression] = []
    place: Expression = {}
    while len(gazes) < frames:
        gazes += [place] * int(rng.integers(*GAZE_FRAMES))
        place = scaled(random_gaze(rng), 0.7)
    return gazes[:frames]
