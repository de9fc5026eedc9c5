"""The rasterizer for the CPU: the formulas of `torch_backend`, one triangle after the other.

It answers the same as the reference, to the last bit: the same operations in the same order, no
fast-math. Compiled code is kept beside this file (or in numba's own cache folder), so only the very
first call on a machine compiles.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.raster.camera import pixel_rays, to_camera
from avatar_viewer.stages import Camera, Hits

# As in the reference; not imported, because kept compiled code would not notice a change there.
DEGENERATE = 1e-14
MARGIN_PX = 1e-4


def hits(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    """As `torch_backend.hits`; tensors of another device are worked on in a copy."""
    points = to_camera(vertices.detach().cpu(), camera).numpy()
    ray_x, ray_y = pixel_rays(camera)
    triangle, barycentric = _rasterize(
        points, _indices(faces), ray_x, ray_y, camera.focal_px, camera.near, camera.far
    )
    device = vertices.device
    return Hits(torch.from_numpy(triangle).to(device), torch.from_numpy(barycentric).to(device))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """As `gbuffer.vertex_normals`, for tensors on the CPU."""
    return torch.from_numpy(_vertex_normals(_floats(vertices), _indices(faces)))


def interpolate(hits: Hits, faces: Tensor, attributes: Tensor) -> Tensor:
    """As `gbuffer.interpolate`, for tensors on the CPU; float32."""
    triangle, barycentric = hits.triangle.contiguous().numpy(), _floats(hits.barycentric)
    return torch.from_numpy(
        _interpolate(triangle, barycentric, _indices(faces), _floats(attributes))
    )


# One dtype and layout, so that each kernel is compiled once.
def _indices(faces: Tensor) -> np.ndarray:
    return faces.to("cpu", torch.int32).contiguous().numpy()


def _floats(values: Tensor) -> np.ndarray:
    return values.to(torch.float32).contiguous().numpy()


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _cross(a, b):
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


@_compiled
def _negated(a):
    return -a[0], -a[1], -a[2]


@_compiled
def _largest(a):
    return max(abs(a[0]), abs(a[1]), abs(a[2]))


@_compiled
def _ray_bounds(corners, near):
    """Bounds (x, x, y, y) of the rays to the part of a triangle beyond the near plane."""
    low_x = low_y = math.inf
    high_x = high_y = -math.inf
    for i in range(3):
        a = corners[i]
        for step in range(1, 3):
            x, y, depth = a[0], a[1], -a[2]
            if depth < near:
                b = corners[(i + step) % 3]
                if -b[2] <= near:
                    continue
                share = (near - depth) / (-b[2] - depth)
                x += share * (b[0] - x)
                y += share * (b[1] - y)
                depth = near
            low_x = min(low_x, x / depth)
            high_x = max(high_x, x / depth)
            low_y = min(low_y, y / depth)
            high_y = max(high_y, y / depth)
    return low_x, high_x, low_y, high_y


@_compiled
def _pixel_range(low, high, size):
    """First pixel and one past the last whose centres lie between two picture coordinates."""
    first = math.ceil(min(max(low - 0.5 - MARGIN_PX, 0.0), float(size)))
    last = math.floor(max(min(high - 0.5 + MARGIN_PX, size - 1.0), -1.0))
    return int(first), int(last) + 1


@_compiled
def _rasterize(points, faces, ray_x, ray_y, focal_px, near, far):
    height, width = len(ray_y), len(ray_x)
    nearest = np.full((height, width), np.inf)
    triangle = np.full((height, width), np.int32(-1))
    barycentric = np.zeros((height, width, 2), np.float32)
    for face in range(len(faces)):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        p0 = (points[i, 0], points[i, 1], points[i, 2])
        p1 = (points[j, 0], points[j, 1], points[j, 2])
        p2 = (points[k, 0], points[k, 1], points[k, 2])
        n0, n1, n2 = _cross(p1, p2), _cross(p2, p0), _cross(p0, p1)
        volume = p0[0] * n0[0] + p0[1] * n0[1] + p0[2] * n0[2]
        size = _largest(p0) * _largest(p1) * _largest(p2)
        if not DEGENERATE * size < abs(volume) < np.inf:
            continue
        if volume < 0:
            volume, n0, n1, n2 = -volume, _negated(n0), _negated(n1), _negated(n2)

        low_x, high_x, low_y, high_y = _ray_bounds((p0, p1, p2), near)
        left, right = _pixel_range(
            low_x * focal_px + width / 2, high_x * focal_px + width / 2, width
        )
        top, bottom = _pixel_range(
            height / 2 - high_y * focal_px, height / 2 - low_y * focal_px, height
        )
        for row in range(top, bottom):
            y = ray_y[row]
            row0 = n0[1] * y - n0[2]
            row1 = n1[1] * y - n1[2]
            row2 = n2[1] * y - n2[2]
            for column in range(left, right):
                x = ray_x[column]
                e0 = n0[0] * x + row0
                e1 = n1[0] * x + row1
                e2 = n2[0] * x + row2
                total = e0 + e1 + e2
                # `&`, not `and`: one unpredictable branch for four, a quarter faster at 512².
                if not ((e0 >= 0) & (e1 >= 0) & (e2 >= 0) & (total > 0)):
                    continue
                scale = 1 / total
                depth = volume * scale
                if near <= depth <= far and depth < nearest[row, column]:
                    nearest[row, column] = depth
                    triangle[row, column] = face
                    barycentric[row, column, 0] = e0 * scale
                    barycentric[row, column, 1] = e1 * scale
    return triangle, barycentric


@_compiled
def _interpolate(triangle, barycentric, faces, attributes):
    height, width = triangle.shape
    channels = attributes.shape[1]
    picture = np.zeros((height, width, channels), np.float32)
    for row in range(height):
        for column in range(width):
            face = triangle[row, column]
            if face < 0:
                continue
            u, v = barycentric[row, column, 0], barycentric[row, column, 1]
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            for channel in range(channels):
                c = attributes[k, channel]
                picture[row, column, channel] = (
                    c + u * (attributes[i, channel] - c) + v * (attributes[j, channel] - c)
                )
    return picture


@_compiled
def _vertex_normals(vertices, faces):
    normals = np.zeros_like(vertices)
    for face in range(len(faces)):  # by scalars: views of rows take 2.6 times as long
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        u = (vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az)
        v = (vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az)
        x, y, z = _cross(u, v)
        for corner in (i, j, k):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for i in range(len(normals)):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[i, 0], normals[i, 1], normals[i, 2] = x / length, y / length, z / length
    return normals
