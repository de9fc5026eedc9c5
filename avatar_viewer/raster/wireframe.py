"""The edges of the mesh's triangles, as a picture for people."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from avatar_viewer.raster.camera import project, scaled_camera
from avatar_viewer.raster.gbuffer import best_filled, find_hits
from avatar_viewer.stages import MAX_SIZE_PX, Camera, HeadMesh, Hits

FINER = 2
"""Drawn so many times as large and then reduced: heads have triangles of a few pixels."""
LINE_PX = 0.6
LINE_LEVEL = 0.1


def wireframe(mesh: HeadMesh, camera: Camera) -> np.ndarray:
    """Dark edges over a light grey, matt surface, uint8 [H,W,3] on white; what lies behind the
    surface is hidden."""
    finer = min(FINER, max(1, MAX_SIZE_PX // max(camera.width, camera.height)))
    fine = scaled_camera(camera, finer)
    hits = find_hits(mesh, fine)
    seen = best_filled(hits, mesh, fine)
    surface = torch.where(seen.mask, 0.6 + 0.35 * seen.normal[..., 2].abs(), 1.0)
    # A pixel at the line's border is covered in part.
    line = (0.5 + LINE_PX * finer / 2 - edge_distance(hits, mesh, fine)).clamp(0, 1)
    levels = surface + line * (LINE_LEVEL - surface)
    grey = avg_pool2d(levels[None, None], finer)[0, 0].mul(255).round().to(torch.uint8)
    return grey[..., None].expand(-1, -1, 3).contiguous().cpu().numpy()


def edge_distance(hits: Hits, mesh: HeadMesh, camera: Camera) -> Tensor:
    """[H,W] float32, pixels from each pixel's centre to the nearest edge of the triangle that it
    hits; infinite off the mesh, and where the triangle reaches behind the camera."""
    triangle = hits.triangle.flatten()
    pixel = (triangle >= 0).nonzero().squeeze(1)
    corners, depth = project(mesh.vertices.float(), camera)
    face = mesh.faces[triangle[pixel].long()].long()
    start = corners[face]
    along = start.roll(-1, dims=1) - start
    centre = torch.stack([pixel % camera.width, pixel // camera.width], dim=1) + 0.5
    to = centre[:, None] - start
    area = along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]
    nearest = (area.abs() / along.norm(dim=2).clamp(min=1e-6)).amin(1)
    nearest[(depth[face] <= 0).any(1)] = torch.inf
    distance = torch.full((len(triangle),), torch.inf, device=nearest.device)
    distance[pixel] = nearest
    return distance.reshape(hits.triangle.shape)
