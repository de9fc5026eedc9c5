"""The canonical head: marching cubes of an identity's signed distance, once per person.

Face and ears keep the cells of the grid; elsewhere vertices are merged into larger cells, so an
expression moves few of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM
from avatar_viewer.stages import CanonicalHead

Distance = Callable[[Tensor], Tensor]
"""Points [N,3] -> signed distances [N], positive outside."""

Point = tuple[float, float, float]

BLOCK = 4
"""Cells along an edge of the blocks that are looked at first."""
SAFETY = 1.5
"""How far beyond a block's own radius its centre's distance may be before it is skipped: a
learned distance is only roughly one."""
CHUNK = 1 << 12
"""Points evaluated at once: few enough for the activations to stay in the CPU's cache."""


@dataclass(frozen=True)
class Resolution:
    """How finely a head is extracted, in world units."""

    fine: float = 0.0095
    """Edge of a grid cell."""
    coarse: float = 0.034
    """Edge of the cells in which vertices are merged outside `details`."""
    details: tuple[tuple[Point, Point], ...] = (
        ((-0.24, -0.27, 0.14), (0.24, 0.24, 0.50)),  # the face
        ((0.24, -0.10, -0.20), (0.42, 0.32, 0.12)),  # the ears
        ((-0.42, -0.10, -0.20), (-0.24, 0.32, 0.12)),
    )
    """Boxes (lower, upper corner) that stay fine."""


def extract_head(
    nphm: NPHM, identity: Tensor, resolution: Resolution | None = None
) -> CanonicalHead:
    """The canonical head of an identity code [D]: its largest piece, cut open at the box."""
    resolution = resolution or Resolution()
    axes = [
        np.linspace(low, high, 1 + max(1, round((high - low) / resolution.fine)))
        for low, high in zip(nphm.config["box_min"], nphm.config["box_max"], strict=True)
    ]
    with torch.no_grad():
        head = extract_surface(lambda points: nphm.sdf(points, identity), axes)
    return thinned(head, resolution)


def extract_surface(
    distance: Distance, axes: list[np.ndarray], coarse_to_fine: bool = True
) -> CanonicalHead:
    """The largest piece of the surface where `distance` is zero, on the grid of `axes`."""
    volume = _sampled(distance, axes, coarse_to_fine)
    if not (volume.min() < 0 < volume.max()):
        raise AvatarError("identity code: expected a surface inside the box, found none")
    vertices, faces, _, _ = marching_cubes(volume, 0.0, gradient_direction="descent")
    world = [np.interp(vertices[:, k], np.arange(len(axes[k])), axes[k]) for k in range(3)]
    vertices, faces = largest_piece(np.stack(world, axis=1), faces)
    return CanonicalHead(
        torch.from_numpy(vertices).float(), torch.from_numpy(faces.astype(np.int32))
    )


def _sampled(distance: Distance, axes: list[np.ndarray], coarse_to_fine: bool) -> np.ndarray:
    """[X,Y,Z] distances; far from the surface one value stands for a whole block."""
    shape = tuple(len(axis) for axis in axes)
    if not coarse_to_fine:
        every = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return _evaluate(distance, every.reshape(-1, 3)).reshape(shape)
    bounds = [np.append(np.arange(0, n - 1, BLOCK), n - 1) for n in shape]
    lows = [axis[b[:-1]] for axis, b in zip(axes, bounds, strict=True)]
    highs = [axis[b[1:]] for axis, b in zip(axes, bounds, strict=True)]
    low = np.stack(np.meshgrid(*lows, indexing="ij"), axis=-1)
    high = np.stack(np.meshgrid(*highs, indexing="ij"), axis=-1)
    centre = _evaluate(distance, ((low + high) / 2).reshape(-1, 3)).reshape(low.shape[:3])
    near = np.abs(centre) <= SAFETY * np.linalg.norm(high - low, axis=-1) / 2

    block_of_point = [
        np.minimum(np.arange(n) // BLOCK, len(b) - 2) for n, b in zip(shape, bounds, strict=True)
    ]
    volume = centre[np.ix_(*block_of_point)]
    wanted = np.zeros(shape, dtype=bool)
    for x, y, z in np.argwhere(near):
        (x0, x1), (y0, y1), (z0, z1) = (
            bounds[k][i : i + 2] for k, i in zip(range(3), (x, y, z), strict=True)
        )
        wanted[x0 : x1 + 1, y0 : y1 + 1, z0 : z1 + 1] = True
    index = np.argwhere(wanted)
    points = np.stack([axes[k][index[:, k]] for k in range(3)], axis=1)
    volume[wanted] = _evaluate(distance, points)
    return volume


def _evaluate(distance: Distance, points: np.ndarray) -> np.ndarray:
    chunks = torch.from_numpy(points).float().split(CHUNK)
    return torch.cat([distance(chunk) for chunk in chunks]).numpy()


def largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected piece with the most vertices, its faces renumbered."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    links = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2)
    piece = connected_components(links, directed=False)[1]
    kept = piece == np.bincount(piece).argmax()
    number = np.cumsum(kept) - 1
    return vertices[kept], number[faces[kept[faces[:, 0]]]]


def thinned(head: CanonicalHead, resolution: Resolution) -> CanonicalHead:
    """Merges the vertices outside the detailed boxes: one, their mean, in each coarse cell."""
    vertices, faces = head.vertices.numpy(), head.faces.numpy()
    cells = np.floor(vertices / resolution.coarse).astype(np.int64)
    cells = np.concatenate([cells, np.zeros((len(cells), 1), np.int64)], axis=1)
    for low, high in resolution.details:
        inside = ((vertices >= low) & (vertices <= high)).all(axis=1)
        cells[inside, 3] = 1 + np.flatnonzero(inside)  # a cell of its own
    _, merged = np.unique(cells, axis=0, return_inverse=True)
    merged = merged.reshape(-1)
    sums = np.stack([np.bincount(merged, vertices[:, k]) for k in range(3)], axis=1)
    means = sums / np.bincount(merged)[:, None]
    faces = merged[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, faces = np.unique(faces, return_inverse=True)
    return CanonicalHead(
        torch.from_numpy(means[used]).float(),
        torch.from_numpy(faces.reshape(-1, 3).astype(np.int32)),
    )
