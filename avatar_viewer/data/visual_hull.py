"""What a head model does not know of a person but every picture shows: hair, collar, shoulders.

The silhouettes of calibrated pictures bound a volume, the visual hull (Laurentini 1994). Carved
over all frames of a person it holds what lies inside every silhouette, so it is right for what
keeps still, and too small for what moves: there the head model's mesh is better, and the hull is
cut away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn.functional import grid_sample

from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.decimation import decimate
from avatar_viewer.head.mesh_extraction import largest_piece
from avatar_viewer.raster.camera import project
from avatar_viewer.stages import Camera, CanonicalHead

MOVING_MM = 0.5
"""A vertex whose place spreads by more than this over the expressions is one that moves."""
BAND_CELLS = 3
"""How far outside the hull distances matter: points farther out are no longer looked at."""
FRAMES_BETWEEN_PRUNINGS = 16

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Carving:
    """How a hull is carved; lengths in the head model's frame."""

    low_mm: Point = (-350.0, -300.0, -270.0)
    high_mm: Point = (350.0, 190.0, 190.0)
    cell_mm: float = 3.5
    """Of the grid. Distances to silhouettes tell the surface much finer than that."""
    triangles: int = 16_000
    least_frames: int = 8
    """What fewer pictures show is left out: no silhouette bounds it."""

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip(self.low_mm, self.high_mm, strict=True)):
            raise AvatarError(
                f"hull: expected low_mm below high_mm, found {self.low_mm} and {self.high_mm}"
            )
        for name, least in (("cell_mm", 0.1), ("triangles", 4), ("least_frames", 1)):
            if not getattr(self, name) >= least:
                raise AvatarError(
                    f"hull: {name}: expected {least} or more, found {getattr(self, name)}"
                )


def carve(records: Sequence[FrameRecord], frame: HeadFrame, carving: Carving) -> CanonicalHead:
    """The largest piece of the visual hull of the frames' silhouettes, head units.

    Raises AvatarError where nothing is left, as when pictures have no alpha.
    """
    units = frame.units_per_metre / 1000
    cell = carving.cell_mm * units
    corner = np.array(carving.low_mm) * units
    axes = [
        torch.arange(low * units, high * units, cell)
        for low, high in zip(carving.low_mm, carving.high_mm, strict=True)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    outside = torch.full((len(points),), -torch.inf)
    frames = torch.zeros(len(points), dtype=torch.int32)
    alive = torch.arange(len(points))
    for number, record in enumerate(records, start=1):
        silhouette = silhouette_distance_px(record.alpha())
        camera = frame.camera(record.camera, len(silhouette))
        distance, seen = _outside(points[alive], silhouette, camera)
        outside[alive] = outside[alive].maximum(distance.where(seen, -torch.inf))
        frames[alive] += seen.int()
        if number % FRAMES_BETWEEN_PRUNINGS == 0:
            alive = alive[outside[alive] < BAND_CELLS * cell]
    outside = outside.clamp(-BAND_CELLS * cell, BAND_CELLS * cell)
    outside[frames < carving.least_frames] = cell
    volume = outside.view([len(axis) for axis in axes]).numpy()
    if not (volume < 0).any():
        raise AvatarError("hull: expected silhouettes that share a volume, found none")
    # A shell of empty cells closes the hull where the grid ends.
    vertices, faces, _, _ = marching_cubes(
        np.pad(volume, 1, constant_values=cell), 0.0, gradient_direction="descent"
    )
    vertices, faces = largest_piece((vertices - 1) * cell + corner, faces)
    vertices, faces = decimate(vertices, faces, carving.triangles, np.zeros((0, 3)), 0.0)
    return CanonicalHead(
        torch.from_numpy(vertices.astype(np.float32)), torch.from_numpy(faces.astype(np.int32))
    )


def silhouette_distance_px(alpha: np.ndarray) -> Tensor:
    """[H,W] float32: pixels from each pixel's centre to the outline of alpha [H,W] in 0..1, > 0
    outside."""
    inside = alpha > 0.5
    # A pixel's centre lies half a pixel from the border that it shares with the first one beyond.
    to_outside, to_inside = (np.asarray(distance_transform_edt(m)) for m in (inside, ~inside))
    distance = np.where(inside, 0.5 - to_outside, to_inside - 0.5)
    return torch.from_numpy(distance.astype(np.float32))


def _outside(points: Tensor, silhouette: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """How far [N] points lie outside a silhouette at their depth, and whether [N] they are in the
    picture at all."""
    places_px, depth = project(points, camera)
    size = torch.tensor([camera.width, camera.height])
    seen = (depth > 0) & ((places_px > 0.5) & (places_px < size - 0.5)).all(dim=1)
    grid = (2 * places_px / size - 1).nan_to_num()
    sampled = grid_sample(silhouette[None, None], grid[None, None].float(), align_corners=False)
    return (sampled[0, 0, 0] * depth / camera.focal_px).float(), seen


def cut_moving(
    hull: CanonicalHead, head: CanonicalHead, offsets: Tensor, mm: float
) -> CanonicalHead:
    """The hull without the parts that lie nearest to a moving part of the head.

    offsets [S,V,3] of the head's vertices over expressions, world units; mm: a millimetre in those.
    """
    spread = (offsets - offsets.mean(dim=0)).norm(dim=2).amax(dim=0)
    nearest = KDTree(head.vertices.numpy()).query(hull.vertices.numpy())[1]
    still = (spread <= MOVING_MM * mm)[torch.from_numpy(nearest)]
    faces = hull.faces[still[hull.faces.long()].all(dim=1)]
    used, renumbered = torch.unique(faces, return_inverse=True)
    return CanonicalHead(hull.vertices[used.long()], renumbered.int())
