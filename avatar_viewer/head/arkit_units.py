"""The 52 ARKit face units, as phones and face trackers give their weights; NumPy only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avatar_viewer.errors import AvatarError

ARKIT_UNITS: tuple[str, ...] = (
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight"),
    *("eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight"),
    *("eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""The 52 face units, in the order of every weight vector."""


def unit_weights(expression: Mapping[str, float]) -> np.ndarray:
    """[52] float32 of ``{unit: weight}``; absent units are 0."""
    unknown = sorted(set(expression) - set(ARKIT_UNITS))
    if unknown:
        raise AvatarError(f"expression: expected ARKit units, found {', '.join(unknown)}")
    return np.array([expression.get(unit, 0.0) for unit in ARKIT_UNITS], dtype=np.float32)


def gaze_of_weights(weights: np.ndarray) -> np.ndarray:
    """[...,4] gaze (left yaw, left pitch, right yaw, right pitch) of [...,52] unit weights.

    Each lies in -1..1; yaw > 0 looks to the subject's left, pitch > 0 looks up.
    """

    def unit(name: str) -> np.ndarray:
        return weights[..., ARKIT_UNITS.index(name)]

    return np.stack(
        [
            unit("eyeLookOutLeft") - unit("eyeLookInLeft"),
            unit("eyeLookUpLeft") - unit("eyeLookDownLeft"),
            unit("eyeLookInRight") - unit("eyeLookOutRight"),
            unit("eyeLookUpRight") - unit("eyeLookDownRight"),
        ],
        axis=-1,
    )
