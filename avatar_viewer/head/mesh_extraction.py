"""The canonical head: marching cubes of an identity's signed distance, once per person."""

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
from avatar_viewer.head.decimation import decimate
from avatar_viewer.head.frame import subject_from_head
from avatar_viewer.head.nphm import NPHM
from avatar_viewer.stages import CanonicalHead

Distance = Callable[[Tensor], Tensor]
"""Points [N,3] -> signed distances [N], positive outside."""

Point = tuple[float, float, float]

BLOCKS = (16, 4)
"""Cells along an edge of the blocks that are looked at first, level by level."""
SAFETY = 1.5
"""A block is skipped where its centre's distance is beyond so many of its own radii. Learned
distances are only roughly ones; what is skipped wrongly is found by following the surface."""
CHUNK = 1 << 12
"""Points evaluated at once: few enough for the activations to stay in the CPU's cache."""


@dataclass(frozen=True)
class Cut:
    """A plane that cuts the throat: what lies on the side of its normal is taken away.

    In the frame of exported meshes, whatever the head model's own: metres, x = subject's left,
    y = up, z = front.
    """

    point_m: Point
    normal: Point

    def __post_init__(self) -> None:
        if not any(self.normal):
            raise AvatarError("throat: expected a normal that is not zero, found 0 0 0")


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

    def __post_init__(self) -> None:
        for name, least, found in (
            ("cells", 2, self.cells),
            ("triangles", 4, self.triangles),
            ("detail_radius_mm", 0, self.detail_radius_mm),
        ):
            if found is not None and not found >= least:
                raise AvatarError(f"{name}: expected {least} or more, found {found}")


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
        turn = subject_from_head(nphm.config["axes"])  # rows times it turn the other way
        point = extraction.throat.point_m @ turn * nphm.config["units_per_metre"]
        vertices, faces = cut_away(vertices, faces, point, extraction.throat.normal @ turn)
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
    """[X,Y,Z] distances; far from the surface one value stands for a whole block.

    Every cell that the surface crosses has its own eight: the surface is followed out of the
    blocks in which it was found.
    """
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
    wanted = _corners(_refined(near, cells, size, 1) | _crossed(volume < 0))
    known = np.zeros_like(wanted)
    while wanted.any():
        volume[wanted] = _evaluate(distance, _places(axes, wanted))
        known |= wanted
        wanted = _corners(_crossed(volume < 0)) & ~known
    return volume


def _corners(cells: np.ndarray) -> np.ndarray:
    """[X,Y,Z] which points of the grid are corners of these cells [X-1,Y-1,Z-1]."""
    points = np.pad(cells, (0, 1))
    for axis in range(3):
        points |= np.roll(points, 1, axis)
    return points


def _crossed(inside: np.ndarray) -> np.ndarray:
    """[X-1,Y-1,Z-1] which cells have corners on both sides of the surface."""
    some = every = inside
    for _ in range(3):  # the next axis comes to the front each time
        some = (some[1:] | some[:-1]).transpose(1, 2, 0)
        every = (every[1:] & every[:-1]).transpose(1, 2, 0)
    return some & ~every


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


def cut_away(
    vertices: np.ndarray, faces: np.ndarray, point: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The largest piece of a mesh on the inner side of a plane, open along it.

    An edge that crosses the plane gets one vertex there, which its faces share: no cracks.
    """
    height = (vertices - point) @ normal
    away = height > 0
    corners_away = away[faces].sum(axis=1)
    if (corners_away > 0).all():
        raise AvatarError("throat: expected a plane that leaves a part of the head, found none")
    # Crossing faces are turned such that `a` is the corner that is alone on its side.
    crossing = faces[np.isin(corners_away, (1, 2))]
    alone = away[crossing] == (away[crossing].sum(axis=1) == 1)[:, None]
    turn = (alone.argmax(axis=1)[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(crossing, turn, axis=1).T
    sides = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    edges, names = np.unique(sides, axis=0, return_inverse=True)
    p, q = edges.T
    share = (height[p] / (height[p] - height[q]))[:, None]
    on_plane = vertices[p] + share * (vertices[q] - vertices[p])
    ab, ac = (len(vertices) + names.ravel()).reshape(2, -1)
    tips = np.stack([a, ab, ac], axis=1)[~away[a]]
    stumps = np.stack([ab, b, c, ab, c, ac], axis=1)[away[a]].reshape(-1, 3)
    every = np.concatenate([faces[corners_away == 0], tips, stumps])
    return largest_piece(np.concatenate([vertices, on_plane]), every)


def largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected piece with the most vertices, its faces renumbered."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    links = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2)
    piece = connected_components(links, directed=False)[1]
    kept = piece == np.bincount(piece).argmax()
    number = np.cumsum(kept) - 1
    return vertices[kept], number[faces[kept[faces[:, 0]]]]
