"""The canonical head: marching cubes of an identity's signed distance, once per person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.decimation import decimate
from avatar_viewer.head.nphm import NPHM
from avatar_viewer.stages import CanonicalHead

Distance = Callable[[Tensor], Tensor]
"""Points [N,3] -> signed distances [N], positive outside."""

Point = tuple[float, float, float]

BLOCKS = (16, 4)
"""Cells along an edge of the blocks that are looked at first, level by level."""
SAFETY = 1.5
"""How far beyond a block's own radius its centre's distance may be before it is skipped: a
learned distance is only roughly one."""
CHUNK = 1 << 12
"""Points evaluated at once: few enough for the activations to stay in the CPU's cache."""


@dataclass(frozen=True)
class Cut:
    """A plane that cuts the throat: what lies on the side of its normal is taken away."""

    point: Point
    """World units."""
    normal: Point


@dataclass(frozen=True)
class Extraction:
    """How a head is extracted."""

    cells: int = 256
    """Grid cells along the longest edge of the head model's box."""
    triangles: int | None = 30_000
    """About how many are left; None keeps all."""
    detail_radius_mm: float = 10.0
    """Around the head model's `detail_anchors` (lips, lids, nose) no triangle is touched."""
    throat: Cut | None = None
    """Where the throat is cut besides the box; None leaves it to the box."""


def extract_head(
    nphm: NPHM, identity: Tensor, extraction: Extraction | None = None
) -> CanonicalHead:
    """The canonical head of an identity code [D]: its largest piece, cut open at the box."""
    extraction = extraction or Extraction()
    low, high = (np.array(nphm.config[name]) for name in ("box_min", "box_max"))
    cell = (high - low).max() / extraction.cells
    axes = [
        np.linspace(a, b, 1 + max(1, round((b - a) / cell))) for a, b in zip(low, high, strict=True)
    ]
    with torch.no_grad():
        vertices, faces = extract_surface(lambda points: nphm.sdf(points, identity), axes)
        anchors = nphm.anchors(identity).cpu().numpy()
    if extraction.throat is not None:
        vertices, faces = cut_away(vertices, faces, extraction.throat)
    if extraction.triangles is not None:
        details = anchors[list(nphm.config["detail_anchors"])]
        radius = extraction.detail_radius_mm / 1000 * nphm.config["units_per_metre"]
        vertices, faces = decimate(vertices, faces, extraction.triangles, details, radius)
    return CanonicalHead(
        torch.from_numpy(vertices).float(), torch.from_numpy(faces.astype(np.int32))
    )


def extract_surface(
    distance: Distance, axes: list[np.ndarray], blocks: tuple[int, ...] = BLOCKS
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V,3] and faces [F,3] of the surface where `distance` is zero on the grid of `axes`.

    Only its largest piece. Without `blocks` every point of the grid is evaluated.
    """
    volume = _sampled(distance, axes, blocks)
    if not (volume.min() < 0 < volume.max()):
        raise AvatarError("identity code: expected a surface inside the box, found none")
    vertices, faces, _, _ = marching_cubes(
        volume, 0.0, gradient_direction="descent", allow_degenerate=False
    )
    world = [np.interp(vertices[:, k], np.arange(len(axes[k])), axes[k]) for k in range(3)]
    return largest_piece(np.stack(world, axis=1), faces)


def _sampled(distance: Distance, axes: list[np.ndarray], blocks: tuple[int, ...]) -> np.ndarray:
    """[X,Y,Z] distances; far from the surface one value stands for a whole block."""
    cells = [len(axis) - 1 for axis in axes]
    size = max(cells)
    values, near = np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), bool)
    for smaller in blocks:
        values, near = (_refined(array, cells, size, smaller) for array in (values, near))
        size = smaller
        bounds = [np.append(np.arange(0, n, size), n) for n in cells]
        low = _places([axis[b[:-1]] for axis, b in zip(axes, bounds, strict=True)], near)
        high = _places([axis[b[1:]] for axis, b in zip(axes, bounds, strict=True)], near)
        found = _evaluate(distance, (low + high) / 2)
        values[near] = found
        near[near] = np.abs(found) <= SAFETY * np.linalg.norm(high - low, axis=1) / 2
    volume = np.pad(_refined(values, cells, size, 1), (0, 1), mode="edge")
    wanted = np.pad(_refined(near, cells, size, 1), (0, 1))
    for axis in range(3):  # a cell needs the points at both of its ends
        wanted |= np.roll(wanted, 1, axis)
    volume[wanted] = _evaluate(distance, _places(axes, wanted))
    return volume


def _refined(array: np.ndarray, cells: list[int], size: int, smaller: int) -> np.ndarray:
    """What blocks of `size` cells hold, for each of the smaller blocks in them."""
    starts = [np.arange(0, count, smaller) for count in cells]
    return array[np.ix_(*(start // size for start in starts))]


def _places(axes: list[np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """[N,3] coordinates of the wanted places of a grid."""
    return np.stack([axis[i] for axis, i in zip(axes, np.nonzero(wanted), strict=True)], axis=1)


def _evaluate(distance: Distance, points: np.ndarray) -> np.ndarray:
    chunks = torch.from_numpy(points).float().split(CHUNK)
    return torch.cat([distance(chunk) for chunk in chunks]).numpy()


def cut_away(vertices: np.ndarray, faces: np.ndarray, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """The largest piece of a mesh on the inner side of the cut, open along it."""
    inward = -np.asarray(cut.normal, dtype=np.float64)
    kept, kept_faces, _ = trimesh.intersections.slice_faces_plane(
        vertices, faces, inward, np.asarray(cut.point, dtype=np.float64)
    )
    if len(kept_faces) == 0:
        raise AvatarError("throat: expected a plane that leaves a part of the head, found none")
    mesh = trimesh.Trimesh(kept, kept_faces)  # which welds what the cut made twice
    mesh.update_faces(mesh.nondegenerate_faces())
    return largest_piece(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected piece with the most vertices, its faces renumbered."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    links = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2)
    piece = connected_components(links, directed=False)[1]
    kept = piece == np.bincount(piece).argmax()
    number = np.cumsum(kept) - 1
    return vertices[kept], number[faces[kept[faces[:, 0]]]]
