"""Rigged features as colours, to look at them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import GBuffer


def feature_picture(gbuffer: GBuffer, triplane: TriPlane, vertices: Tensor) -> np.ndarray:
    """[H,W,3] uint8, white off the mesh: the features' first three principal components over the
    head's canonical vertices [V,3] as red, green and blue. AvatarError without planes."""
    if triplane.features == 0:
        raise AvatarError("features: expected an avatar with planes, found one without")
    basis, mean, spread = _basis(triplane(vertices))
    rgb = torch.ones((*gbuffer.mask.shape, 3), device=gbuffer.mask.device)
    features = triplane(gbuffer.canonical[gbuffer.mask])
    rgb[gbuffer.mask] = 0.5 + (features - mean) @ basis / (4 * spread)
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _basis(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three directions [C,3] of features [N,C], their mean, and the spread along each."""
    mean = features.mean(0)
    values, vectors = torch.linalg.eigh((features - mean).T @ (features - mean))
    basis = vectors[:, -3:].flip(1)
    # An eigenvector's sign is arbitrary; fix it so that colours never flip.
    basis = basis * basis.sum(0).sign()
    # Rounding makes the variance of a constant feature a little less than zero.
    return basis, mean, (values[-3:].flip(0) / len(features)).clamp(min=1e-12).sqrt()
