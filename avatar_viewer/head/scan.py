"""Scans of real or synthetic heads, read from mesh and point files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from avatar_viewer.errors import AvatarError, one_line

POINTS = 20_000
UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}
"""Metres in a unit of length."""
HEAD_M = (0.15, 0.7)
"""How long the longest edge of a head's bounding box is, with hair or a piece of the neck."""


@dataclass(frozen=True)
class Scan:
    """A head's surface as points, in the frame and units of a head model."""

    points: Tensor
    """[N,3] float32."""
    normals: Tensor | None = None
    """[N,3] float32, outward unit normals."""
    landmarks: dict[int, Tensor] = field(default_factory=dict)
    """Number of an anchor -> where it is, [3]."""


def read_scan(path: Path, units_per_metre: float, unit: str = "m") -> Scan:
    """A mesh (sampled evenly, with normals) or a point cloud as a Scan without landmarks.

    The file's axes are the head model's; `unit` is its unit of length. AvatarError names the file:
    unreadable, empty, NaN, or of a size that no head has.
    """
    try:
        content = trimesh.load_scene(path, process=False).to_geometry()
    except Exception as error:  # each format's reader has its own
        raise AvatarError(
            f"{path}: expected a mesh or point cloud, found: {one_line(error)}"
        ) from error
    vertices = np.asarray(getattr(content, "vertices", ()), dtype=np.float64).reshape(-1, 3)
    if len(vertices) == 0:
        raise AvatarError(f"{path}: expected points of a head, found none")
    if not np.isfinite(vertices).all():
        raise AvatarError(f"{path}: expected finite coordinates, found NaN or inf")
    _check_size(path, vertices, unit)
    scale = UNITS[unit] * units_per_metre
    if not isinstance(content, trimesh.Trimesh):
        every = np.random.default_rng(0).permutation(len(vertices))[:POINTS]
        return Scan(torch.from_numpy(vertices[every] * scale).float())
    if len(content.faces) == 0 or content.area == 0:
        raise AvatarError(f"{path}: expected a mesh with faces, found none")
    points, chosen = trimesh.sample.sample_surface(content, POINTS, seed=0)[:2]
    normals = content.face_normals[chosen]
    return Scan(torch.from_numpy(points * scale).float(), torch.from_numpy(normals).float())


def _check_size(path: Path, vertices: np.ndarray, unit: str) -> None:
    """Raise where the longest edge of the bounding box is not that of a head."""
    if unit not in UNITS:
        raise AvatarError(f"unit: expected {' | '.join(UNITS)}, found {unit}")
    length = float(np.ptp(vertices, axis=0).max())
    if HEAD_M[0] <= length * UNITS[unit] <= HEAD_M[1]:
        return
    fitting = [name for name, metres in UNITS.items() if HEAD_M[0] <= length * metres <= HEAD_M[1]]
    hint = f"; it would be one in {fitting[0]}" if fitting else ""
    size = f"{HEAD_M[0]:g} to {HEAD_M[1]:g} m"
    raise AvatarError(f"{path}: expected a head of {size}, found {length:g} {unit}{hint}")
