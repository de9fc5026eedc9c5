"""The readable reference rasterizer: vectorised torch, any device with float64.

A pixel's ray r = (x, y, -1) meets the plane of a triangle with camera-space corners p0, p1, p2 at

    depth d = D / (e0 + e1 + e2),    d r = b0 p0 + b1 p1 + b2 p2,    bi = ei / (e0 + e1 + e2),

    with  D = p0 . (p1 x p2)  and the edge functions  e0 = r . (p1 x p2),  e1 = r . (p2 x p0),
    e2 = r . (p0 x p1)

(homogeneous rasterization, Olano and Greer 1997). The b are perspective-correct, and nothing is
divided by a corner's depth, so a corner may lie behind the camera: the near plane is a comparison
per pixel. With D made positive the ray hits where all e >= 0 and their sum is > 0.

A neighbour's edge function is exactly minus this one's, in floating point too, so a shared edge has
no holes; a pixel centre exactly on it goes to the nearer, then to the lower-numbered triangle.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from avatar_viewer.raster.camera import pixel_rays, to_camera
from avatar_viewer.stages import Camera, Hits

CANDIDATES_PER_CHUNK = 2**19
DEGENERATE = 1e-14
"""A triangle is skipped when |D| is below this times the size of its corners: rounding noise."""
MARGIN_PX = 1e-4
"""Bounding boxes are this much larger than needed, so that rounding cannot cut a pixel off."""


def hits(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    """The nearest triangle of every pixel, seen from both sides.

    vertices [V,3] world units, faces [F,3]; triangles that are degenerate or not finite are
    skipped. The answer lies on the vertices' device.
    """
    device = vertices.device
    corners = to_camera(vertices, camera)[faces.long()]
    edges, volume, valid = _edge_functions(corners)
    rays = tuple(torch.as_tensor(ray, device=device) for ray in pixel_rays(camera))

    pixel_count = camera.height * camera.width
    nearest = torch.full((pixel_count,), torch.inf, dtype=torch.float64, device=device)
    nobody = len(faces)
    owner = torch.full((pixel_count,), nobody, dtype=torch.int64, device=device)
    for triangle, pixel in _candidates(corners, valid, camera):
        weights, total = _evaluate(edges[triangle], rays, pixel)
        depth = volume[triangle] * (1 / total)
        hit = (weights >= 0).all(1) & (total > 0) & (depth >= camera.near) & (depth <= camera.far)
        triangle, pixel, depth = triangle[hit], pixel[hit], depth[hit]

        before = nearest.clone()
        nearest.scatter_reduce_(0, pixel, depth, "amin")
        owner[nearest < before] = nobody
        wins = depth == nearest[pixel]
        owner.scatter_reduce_(0, pixel[wins], triangle[wins], "amin")

    return _collect(owner, edges, rays, camera)


def _edge_functions(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """corners [F,3,3] -> normals of the edge functions [F,3,3], D [F] > 0, usable [F] bool."""
    p0, p1, p2 = corners.unbind(1)
    edges = torch.stack([_cross(p1, p2), _cross(p2, p0), _cross(p0, p1)], dim=1)
    volume = _dot(p0, edges[:, 0])
    # The largest coordinates of the three corners, multiplied: what D is compared with.
    size = corners.abs().amax(2).prod(1)
    valid = (volume.abs() > DEGENERATE * size) & torch.isfinite(volume)
    return edges * volume.sign()[:, None, None], volume.abs(), valid


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """a x b, written out so that it is exactly -(b x a)."""
    ax, ay, az = a.unbind(1)
    bx, by, bz = b.unbind(1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _evaluate(edges: Tensor, rays: tuple[Tensor, ...], pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Edge functions [K,3] and their sum [K], of edges [K,3,3] at flat pixel indices [K]."""
    x = rays[0][pixel % len(rays[0])][:, None]
    y = rays[1][pixel // len(rays[0])][:, None]
    weights = edges[..., 0] * x + (edges[..., 1] * y - edges[..., 2])
    return weights, weights[:, 0] + weights[:, 1] + weights[:, 2]


def _candidates(corners: Tensor, valid: Tensor, camera: Camera) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (triangle [K], flat pixel [K]) for all pixels in bounding boxes, in chunks.

    Triangles come in increasing order.
    """
    first, last = _bounding_boxes(corners, camera)
    size = (last - first + 1).clamp(min=0) * valid[:, None]
    width = size[:, 0].clamp(min=1)
    end = (size[:, 0] * size[:, 1]).cumsum(0)
    total = int(end[-1]) if len(end) else 0
    for start in range(0, total, CANDIDATES_PER_CHUNK):
        stop = min(start + CANDIDATES_PER_CHUNK, total)
        candidate = torch.arange(start, stop, device=corners.device)
        triangle = torch.searchsorted(end, candidate, right=True)
        within = candidate - (end - size[:, 0] * size[:, 1])[triangle]
        x = first[triangle, 0] + within % width[triangle]
        y = first[triangle, 1] + within // width[triangle]
        yield triangle, y * camera.width + x


def _bounding_boxes(corners: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """First and last pixel [F,2] (x, y) of each triangle's part beyond the near plane.

    Walking each edge in both directions, a start before the near plane moves on to that plane.
    """
    start = corners[:, [0, 1, 2, 0, 1, 2]]
    end = corners[:, [1, 2, 0, 2, 0, 1]]
    start_depth, end_depth = -start[..., 2], -end[..., 2]
    crosses = (start_depth < camera.near) & (end_depth > camera.near)
    share = torch.where(crosses, (camera.near - start_depth) / (end_depth - start_depth), 0.0)
    point = start + share[..., None] * (end - start)
    depth = torch.where(crosses, camera.near, start_depth)

    flip_y = torch.tensor([1.0, -1.0], dtype=corners.dtype, device=corners.device)
    size = torch.tensor([camera.width, camera.height], device=corners.device)
    index = point[..., :2] * flip_y / depth[..., None] * camera.focal_px + size / 2 - 0.5
    seen = (depth >= camera.near)[..., None]
    low = torch.where(seen, index, torch.inf).amin(1) - MARGIN_PX
    high = torch.where(seen, index, -torch.inf).amax(1) + MARGIN_PX
    # Infinity has no integer, so clamp first. A NaN triangle is not valid: its box is never used.
    first = low.nan_to_num().clamp(min=0).minimum(size.double()).ceil().long()
    last = high.nan_to_num().clamp(min=-1).minimum(size.double() - 1).floor().long()
    return first, last


def _collect(owner: Tensor, edges: Tensor, rays: tuple[Tensor, ...], camera: Camera) -> Hits:
    """Barycentrics of the winners."""
    pixel = (owner < len(edges)).nonzero().squeeze(1)
    weights, total = _evaluate(edges[owner[pixel]], rays, pixel)
    triangle = torch.full_like(owner, -1, dtype=torch.int32)
    triangle[pixel] = owner[pixel].int()
    barycentric = torch.zeros(len(owner), 2, device=owner.device)
    barycentric[pixel] = (weights[:, :2] * (1 / total)[:, None]).float()
    size = (camera.height, camera.width)
    return Hits(triangle.reshape(size), barycentric.reshape(*size, 2))
