"""From the 52 ARKit weights to an expression code.

The map is linear, ``z = matrix @ weights + offset``; gaze follows from the eight eyeLook weights.
It lies in the folder of a head model, and in that of an avatar's head.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.weights import load_tensors, save_tensors

ARKIT_MAP_FILE = "arkit_map.safetensors"
"""Its name in a folder."""


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
