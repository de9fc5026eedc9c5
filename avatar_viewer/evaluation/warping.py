"""How steady moving pictures are: each surface point's colour against that of the frame before.

The mesh says exactly where a point that is seen now was in the frame before. What colour it had
there is compared with what it has now. Light and reflections change true pictures too, and
sampling between pixels blurs them, so a rendered sequence's error is told beside the true one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from avatar_viewer.raster.camera import project
from avatar_viewer.raster.gbuffer import BACKENDS, best_backend, interpolate, rasterize
from avatar_viewer.stages import Camera, HeadMesh

DEPTH_TOLERANCE = 0.005
"""How much a point may lie behind what was seen at its place and still count as seen, relative to
its depth: 2 to 4 mm at a portrait's distance."""


@dataclass(frozen=True)
class Motion:
    """Where the points of a picture were in the one before."""

    seen: Tensor
    """[H,W] bool: points of the head that were in view too."""
    before_px: Tensor
    """[H,W,2] x and y in the picture before, pixels; means nothing where not `seen`."""


def motion(now: HeadMesh, camera: Camera, before: HeadMesh, camera_before: Camera) -> Motion:
    """The motion between two meshes with the same faces, each seen by a camera of its own."""
    hits = BACKENDS[best_backend(now.vertices.device)](now.vertices, now.faces, camera)
    points = interpolate(hits, now.faces, before.vertices).flatten(0, 1)
    before_px, depth = project(points, camera_before)
    # Points that are in no picture lie anywhere, also behind the camera.
    before_px = torch.nan_to_num(before_px, nan=-1.0, posinf=-1.0, neginf=-1.0)
    gbuffer = rasterize(before, camera_before)
    layers = torch.stack([gbuffer.mask.float(), gbuffer.depth], dim=2)
    on_head, seen_depth = _sampled(layers, before_px).unbind(1)
    # Bilinear samples are whole only where all four pixels around them are on the head.
    near = (seen_depth - depth).abs() < DEPTH_TOLERANCE * depth
    seen = (hits.triangle.flatten() >= 0) & (depth > 0) & (on_head > 1 - 1e-4) & near
    size = (camera.height, camera.width)
    return Motion(seen.view(size), before_px.view(*size, 2))


def warping_error(now: np.ndarray, before: np.ndarray, moved: Motion) -> float | None:
    """Mean absolute colour difference over all points that were in view before, of 255.

    Pictures uint8 [H,W,3]; None where no point was in view in both.
    """
    seen = moved.seen.cpu()
    if not seen.any():
        return None
    was = _sampled(torch.from_numpy(before).float(), moved.before_px.cpu()[seen])
    return float((torch.from_numpy(now).float()[seen] - was).abs().mean())


def _sampled(picture: Tensor, places_px: Tensor) -> Tensor:
    """Bilinear samples [N,C] of [H,W,C] at x, y [N,2] in pixels; zero outside."""
    height, width = picture.shape[:2]
    grid = 2 * places_px / places_px.new_tensor([width, height]) - 1
    sampled = grid_sample(
        picture.permute(2, 0, 1)[None], grid[None, None].to(picture.dtype), align_corners=False
    )
    return sampled[0, :, 0].T
