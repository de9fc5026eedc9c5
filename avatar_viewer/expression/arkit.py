"""Learning the map from ARKit weights to expression codes, in closed form (see `head.arkit`)."""

from __future__ import annotations

import torch
from torch import Tensor

from avatar_viewer.head.arkit import ArkitMap


def learn_arkit_map(
    weights: Tensor, codes: Tensor, ridge: float = 1e-3, prior: ArkitMap | None = None
) -> ArkitMap:
    """The least-squares map from weights [S,52] to the codes [S,E] of the same scans.

    `ridge` holds the columns of units that no scan uses (and of gaze, which moves no vertex) at
    those of `prior`, a map learned from other scans, or at 0.
    """
    if prior is not None:
        change = learn_arkit_map(weights, codes - prior.codes(weights), ridge)
        return ArkitMap(prior.matrix + change.matrix, prior.offset + change.offset)
    mean_weights, mean_codes = weights.mean(dim=0), codes.mean(dim=0)
    x, y = (weights - mean_weights).double(), (codes - mean_codes).double()
    gram = x.T @ x / len(x) + ridge * torch.eye(x.shape[1], dtype=torch.float64)
    matrix = torch.linalg.solve(gram, x.T @ y / len(x)).T.float()
    return ArkitMap(matrix, mean_codes - matrix @ mean_weights)
