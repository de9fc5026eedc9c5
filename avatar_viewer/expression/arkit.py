"""From the 52 ARKit weights, as phones and face trackers give them, to an expression code.

The map is linear, ``z = matrix @ weights + offset``, and is learned in closed form from the codes
of a head model's training scans; gaze follows from the eight eyeLook weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.data.makehuman import ARKIT_UNITS, gaze_of_weights
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.weights import load_tensors, save_tensors

ARKIT_MAP_FILE = "arkit_map.safetensors"
"""Its name in the folder of a head model."""


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


def learn_arkit_map(weights: Tensor, codes: Tensor, ridge: float = 1e-3) -> ArkitMap:
    """The least-squares map from weights [S,52] to the codes [S,E] of the same scans.

    `ridge` holds the columns of units that no scan uses (and of gaze, which moves no vertex) at 0.
    """
    mean_weights, mean_codes = weights.mean(dim=0), codes.mean(dim=0)
    x, y = (weights - mean_weights).double(), (codes - mean_codes).double()
    gram = x.T @ x / len(x) + ridge * torch.eye(x.shape[1], dtype=torch.float64)
    matrix = torch.linalg.solve(gram, x.T @ y / len(x)).T.float()
    return ArkitMap(matrix, mean_codes - matrix @ mean_weights)


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
