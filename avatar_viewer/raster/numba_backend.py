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

from avatar_viewer.raster.bands import in_bands
from avatar_viewer.raster.camera import pixel_rays
from avatar_viewer.stages import Camera, GBuffer, HeadMesh, Hits

# As in the reference; not imported, because kept compiled code would not notice a change there.
DEGENERATE = 1e-14
MARGIN_PX = 1e-4
SHORTEST = np.float32(1e-12)
"""As `normalize` has it: what is shorter is no direction."""


def hits(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    """As `torch_backend.hits`; tensors of another device are worked on in a copy."""
    vertices_np = vertices.detach().cpu().contiguous().numpy()
    points = _moved(vertices_np, camera.matrix)
    corners, rays = _indices(faces), pixel_rays(camera)
    lens = (camera.focal_px, camera.near, camera.far)
    size = (camera.height, camera.width)
    boxes = np.empty((len(corners), 4), np.int32)
    in_bands(lambda *band: _find_boxes(boxes, points, corners, (size, lens), band), len(corners))
    triangle, barycentric = np.empty(size, np.int32), np.empty((*size, 2), np.float32)
    found, mesh = (triangle, barycentric), (points, corners, boxes)
    in_bands(lambda *band: _rasterize(found, mesh, rays, lens, band), camera.height)
    device = vertices.device
    return Hits(torch.from_numpy(triangle).to(device), torch.from_numpy(barycentric).to(device))


def filled(hits: Hits, mesh: HeadMesh, camera: Camera) -> GBuffer:
    """As `gbuffer.filled`, in one pass, for tensors on the CPU."""
    size = tuple(hits.triangle.shape)
    seen = (hits.triangle.contiguous().numpy(), _floats(hits.barycentric))
    vertices, normals, places = map(_floats, (mesh.vertices, mesh.normals, mesh.canonical))
    surface = (_indices(mesh.faces), _packed(vertices, normals, places, camera.matrix))
    mask, depth = np.empty(size, np.bool_), np.empty(size, np.float32)
    normal, canonical = (np.empty((*size, 3), np.float32) for _ in range(2))
    channels = (mask, depth, normal, canonical)
    in_bands(lambda *band: _fill(channels, seen, surface, band), size[0])
    return GBuffer(*(torch.from_numpy(channel) for channel in channels))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """As `gbuffer.vertex_normals`, for tensors on the CPU."""
    return torch.from_numpy(_vertex_normals(_floats(vertices), _indices(faces)))


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
            if a[2] <= -near:
                break  # nothing was cut off: the other edge gives the same corner
    return low_x, high_x, low_y, high_y


@_compiled
def _pixel_range(low, high, size):
    """First pixel and one past the last whose centres lie between two picture coordinates."""
    first = math.ceil(min(max(low - 0.5 - MARGIN_PX, 0.0), float(size)))
    last = math.floor(max(min(high - 0.5 + MARGIN_PX, size - 1.0), -1.0))
    return int(first), int(last) + 1


@_compiled
def _moved(vertices, matrix):
    """To camera axes, by the formula of `to_camera`."""
    points = np.empty(vertices.shape)
    for i in range(np.uintp(len(vertices))):
        x, y, z = _at(vertices, i)
        x, y, z = np.float64(x), np.float64(y), np.float64(z)
        for axis in range(np.uintp(3)):
            points[i, axis] = (
                x * matrix[axis, 0] + y * matrix[axis, 1] + z * matrix[axis, 2] + matrix[axis, 3]
            )
    return points


@_compiled
def _corners(points, faces, face):
    i, j, k = _vertices_of(faces, face)
    return _at(points, i), _at(points, j), _at(points, k)


@_compiled
def _find_boxes(boxes, points, faces, view, band):
    """The pixels around each of a band of triangles: first and end row, first and end column."""
    (height, width), (focal_px, near, _) = view
    for face in range(np.uintp(band[0]), np.uintp(band[1])):
        low_x, high_x, low_y, high_y = _ray_bounds(_corners(points, faces, face), near)
        boxes[face, 0], boxes[face, 1] = _pixel_range(
            height / 2 - high_y * focal_px, height / 2 - low_y * focal_px, height
        )
        boxes[face, 2], boxes[face, 3] = _pixel_range(
            low_x * focal_px + width / 2, high_x * focal_px + width / 2, width
        )


@_compiled
def _edge_functions(corners):
    """D > 0 and the normals of the edge functions; D is 0 for a triangle that is skipped."""
    p0, p1, p2 = corners
    n0, n1, n2 = _cross(p1, p2), _cross(p2, p0), _cross(p0, p1)
    volume = p0[0] * n0[0] + p0[1] * n0[1] + p0[2] * n0[2]
    size = _largest(p0) * _largest(p1) * _largest(p2)
    if not DEGENERATE * size < abs(volume) < np.inf:
        return 0.0, n0, n1, n2
    if volume < 0:
        return -volume, _negated(n0), _negated(n1), _negated(n2)
    return volume, n0, n1, n2


@_compiled
def _cut(span, slope, root):
    """A span of columns without the side of the root on which an edge function is negative."""
    first, last = span
    # Selections, not branches, which would be unpredictable; and a root may be NaN.
    from_root, to_root = (slope > 0) & (root > first), (slope < 0) & (root < last)
    return (root if from_root else first), (root if to_root else last)


@_compiled
def _rasterize(found, mesh, rays, lens, band):
    """A band of rows, of all triangles."""
    triangle, barycentric = found
    points, faces, boxes = mesh
    ray_x, ray_y = rays
    focal_px, near, far = lens
    middle = len(ray_x) / 2 - 0.5
    top_row, end_row = np.uintp(band[0]), np.uintp(band[1])
    nearest = np.full((end_row - top_row, np.uintp(len(ray_x))), np.inf)
    triangle[band[0] : band[1]], barycentric[band[0] : band[1]] = -1, 0
    for face in range(np.uintp(len(faces))):
        top, bottom = max(boxes[face, 0], band[0]), min(boxes[face, 1], band[1])
        left, right = boxes[face, 2], boxes[face, 3]
        if top >= bottom or left >= right:
            continue
        volume, n0, n1, n2 = _edge_functions(_corners(points, faces, face))
        if volume == 0:
            continue
        step0, step1, step2 = -focal_px / n0[0], -focal_px / n1[0], -focal_px / n2[0]
        for row in range(np.uintp(top), np.uintp(bottom)):
            y = ray_y[row]
            row0 = n0[1] * y - n0[2]
            row1 = n1[1] * y - n1[2]
            row2 = n2[1] * y - n2[2]
            # Where rays may hit, to the margin; that they do is asked by the reference's formulas.
            span = (float(left), right - 1.0)
            span = _cut(span, n0[0], row0 * step0 + middle)
            span = _cut(span, n1[0], row1 * step1 + middle)
            span = _cut(span, n2[0], row2 * step2 + middle)
            first = np.int32(math.ceil(min(span[0] - MARGIN_PX, float(right))))
            end = np.int32(math.floor(max(span[1] + MARGIN_PX, left - 1.0))) + np.int32(1)
            if first >= end:
                continue
            for column in range(np.uintp(first), np.uintp(end)):
                x = ray_x[column]
                e0 = n0[0] * x + row0
                e1 = n1[0] * x + row1
                e2 = n2[0] * x + row2
                total = e0 + e1 + e2
                if not ((e0 >= 0) & (e1 >= 0) & (e2 >= 0) & (total > 0)):
                    continue
                scale = 1 / total
                depth = volume * scale
                if near <= depth <= far and depth < nearest[row - top_row, column]:
                    nearest[row - top_row, column] = depth
                    triangle[row, column] = face
                    barycentric[row, column, np.uintp(0)] = e0 * scale
                    barycentric[row, column, np.uintp(1)] = e1 * scale


@_compiled
def _packed(vertices, normals, places, matrix):
    """[V,8]: all that a pixel sees of a vertex together: depth, normal in camera axes, and
    canonical place."""
    packed = np.zeros((len(vertices), 8), np.float32)
    for i in range(np.uintp(len(vertices))):
        position, normal = _at(vertices, i), _at(normals, i)
        _, _, z = _turned(matrix, position)
        packed[i, 0] = -(z + matrix[2, 3])
        packed[i, 1], packed[i, 2], packed[i, 3] = _turned(matrix, normal)
        packed[i, 4], packed[i, 5], packed[i, 6] = _at(places, i)
    return packed


@_compiled
def _fill(channels, seen, surface, band):
    """A band of rows."""
    mask, depth, normal, canonical = channels
    triangle, barycentric = seen
    faces, packed = surface
    mixed = np.empty(8, np.float32)
    first, end = band
    mask[first:end], depth[first:end], normal[first:end], canonical[first:end] = False, 0, 0, 0
    for row in range(np.uintp(band[0]), np.uintp(band[1])):
        for column in range(np.uintp(triangle.shape[1])):
            if triangle[row, column] < 0:
                continue
            i, j, k = _vertices_of(faces, np.uintp(triangle[row, column]))
            u = barycentric[row, column, np.uintp(0)]
            v = barycentric[row, column, np.uintp(1)]
            for n in range(np.uintp(8)):
                c = packed[k, n]
                mixed[n] = c + u * (packed[i, n] - c) + v * (packed[j, n] - c)
            x, y, z = mixed[1], mixed[2], mixed[3]
            length = max(math.sqrt(x * x + y * y + z * z), SHORTEST)
            mask[row, column] = True
            depth[row, column] = mixed[0]
            for axis in range(np.uintp(3)):
                normal[row, column, axis] = mixed[np.uintp(1) + axis] / length
                canonical[row, column, axis] = mixed[np.uintp(4) + axis]


# Numbers of pixels, triangles and vertices are unsigned, so that no index is asked whether it
# counts from the end, which would take as long as what is done there.


@_compiled
def _vertices_of(faces, face):
    return (
        np.uintp(faces[face, np.uintp(0)]),
        np.uintp(faces[face, np.uintp(1)]),
        np.uintp(faces[face, np.uintp(2)]),
    )


@_compiled
def _at(attributes, vertex):
    return (
        attributes[vertex, np.uintp(0)],
        attributes[vertex, np.uintp(1)],
        attributes[vertex, np.uintp(2)],
    )


@_compiled
def _turned(matrix, a):
    return (
        matrix[0, 0] * a[0] + matrix[0, 1] * a[1] + matrix[0, 2] * a[2],
        matrix[1, 0] * a[0] + matrix[1, 1] * a[1] + matrix[1, 2] * a[2],
        matrix[2, 0] * a[0] + matrix[2, 1] * a[1] + matrix[2, 2] * a[2],
    )


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
