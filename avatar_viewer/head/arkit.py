"""The 52 ARKit weights, as phones and face trackers give them, and their map to expression codes.

The map is linear, ``z = matrix @ weights + offset``; gaze follows from the eight eyeLook weights.
It lies in the folder of a head model, and in that of an avatar's head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.weights import load_tensors, save_tensors

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

ARKIT_MAP_FILE = "arkit_map.safetensors"
"""Its name in a folder."""


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


@dataclass(frozen=True)
class ArkitMap:
    """ARKit weights -> z_exp of one head model."""

    matrix: Tensor
    """[E,52], columns in the order of `ARKIT_UNITS`."""
    offset: Tensor
    """[E], the code of the neutral face."""

    def codes(self, weights: Tensor) -> Tensor:
        """[...,52] -> z_exp [...,E]."""
        return weights @ self.matrix.T + self.offset

    def expression(self, weights: np.ndarray) -> ExpressionCode:
        """One frame's weights [52] -> z_exp and gaze."""
        if weights.shape != (len(ARKIT_UNITS),) or not np.isfinite(weights).all():
            raise AvatarError(
                f"ARKit weights: expected {len(ARKIT_UNITS)} finite numbers, found "
                f"shape {weights.shape}{'' if np.isfinite(weights).all() else ' with NaN or inf'}"
            )
        z = self.codes(torch.from_numpy(weights).float()).numpy()
        return ExpressionCode.from_array(np.concatenate([z, gaze_of_weights(weights)]))


def save_arkit_map(arkit_map: ArkitMap, folder: Path) -> None:
    """Into the folder of a head model or of an avatar's head."""
    save_tensors({"matrix": arkit_map.matrix, "offset": arkit_map.offset}, folder / ARKIT_MAP_FILE)


def load_arkit_map(folder: Path) -> ArkitMap:
    """Raises AvatarError in one line, also where the head model has none."""
    path = folder / ARKIT_MAP_FILE
    tensors = load_tensors(path)
    matrix, offset = tensors.get("matrix"), tensors.get("offset")
    if matrix is None or offset is None or matrix.shape != (len(offset), len(ARKIT_UNITS)):
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise AvatarError(f"{path}: expected matrix [E,52] and offset [E], found {found}")
    return ArkitMap(matrix, offset)
