"""HeadMesh + Camera -> GBuffer: choose a backend, then interpolate what the mesh carries.

A backend answers only which triangle each pixel sees and where on it; all the rest is here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import normalize

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import to_camera
from avatar_viewer.stages import Camera, GBuffer, HeadMesh, Hits


def _numba(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    from avatar_viewer.raster import numba_backend

    return numba_backend.hits(vertices, faces, camera)


def _torch(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    from avatar_viewer.raster import torch_backend

    return torch_backend.hits(vertices, faces, camera)


def _nvdiffrast(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    from avatar_viewer.raster import nvdiffrast_backend

    return nvdiffrast_backend.hits(vertices, faces, camera)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Camera], Hits]] = {
    "numba": _numba,
    "torch": _torch,
    "nvdiffrast": _nvdiffrast,
}
"""`hits` functions by name; each imports its package when it is called."""


def best_backend(device: torch.device) -> str:
    """The fastest backend that can work on this device here."""
    if device.type == "cpu":
        return "numba"
    return "nvdiffrast" if device.type == "cuda" and find_spec("nvdiffrast") else "torch"


def rasterize(mesh: HeadMesh, camera: Camera, backend: str | None = None) -> GBuffer:
    """The head as the camera sees it, both sides of its surface, on the mesh's device.

    backend: a name in BACKENDS; None takes the best one for the device. Raises AvatarError for an
    unknown or missing backend and for faces that name no vertex.
    """
    return best_filled(find_hits(mesh, camera, backend), mesh, camera)


def find_hits(mesh: HeadMesh, camera: Camera, backend: str | None = None) -> Hits:
    """What each pixel hits of the mesh; arguments and errors as of `rasterize`."""
    name = backend or best_backend(mesh.vertices.device)
    if name not in BACKENDS:
        raise AvatarError(f"rasterizer backend: expected {' | '.join(BACKENDS)}, found {name!r}")
    _check_faces(mesh)
    return BACKENDS[name](mesh.vertices, mesh.faces, camera)


def best_filled(hits: Hits, mesh: HeadMesh, camera: Camera) -> GBuffer:
    """`filled` in the fastest way for the mesh."""
    fill = _filled_by_numba if _fits_numba(mesh.vertices) else filled
    return fill(hits, mesh, camera)


def _filled_by_numba(hits: Hits, mesh: HeadMesh, camera: Camera) -> GBuffer:
    from avatar_viewer.raster import numba_backend

    return numba_backend.filled(hits, mesh, camera)


def filled(hits: Hits, mesh: HeadMesh, camera: Camera) -> GBuffer:
    """What the hit pixels see of the mesh, in plain torch: any device, differentiable."""
    camera_from_world = torch.as_tensor(camera.matrix[:3, :3]).to(mesh.normals)
    normals = mesh.normals @ camera_from_world.T
    depths = -to_camera(mesh.vertices, camera)[:, 2:].float()
    return GBuffer(
        mask=hits.triangle >= 0,
        depth=interpolate(hits, mesh.faces, depths).squeeze(2),
        normal=normalize(interpolate(hits, mesh.faces, normals), dim=2),
        canonical=interpolate(hits, mesh.faces, mesh.canonical),
    )


def interpolate(hits: Hits, faces: Tensor, attributes: Tensor) -> Tensor:
    """Vertex attributes [V,C] at every pixel, perspective-correct: [H,W,C], zero off the mesh."""
    pixel = (hits.triangle.flatten() >= 0).nonzero().squeeze(1)
    corner = faces[hits.triangle.flatten()[pixel].long()].long()
    weight = hits.barycentric.flatten(0, 1)[pixel].to(attributes.dtype)
    a, b, c = (attributes[corner[:, i]] for i in range(3))
    u, v = weight[:, :1], weight[:, 1:]
    picture = attributes.new_zeros(hits.triangle.numel(), attributes.shape[1])
    picture[pixel] = c + u * (a - c) + v * (b - c)
    return picture.reshape(*hits.triangle.shape, -1)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V,3] float32, the area-weighted mean of the faces around each vertex.

    vertices [V,3], faces [F,3] counter-clockwise seen from outside. A vertex without a face, or
    with only degenerate ones, gets zero.
    """
    if _fits_numba(vertices):
        from avatar_viewer.raster import numba_backend

        return numba_backend.vertex_normals(vertices, faces)
    return torch_vertex_normals(vertices, faces)


def torch_vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """`vertex_normals` in plain torch: any device, differentiable."""
    faces = faces.long()
    a, b, c = vertices.float()[faces].unbind(1)
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices, dtype=torch.float32)
    normals = normals.index_add(0, faces.T.flatten(), face_normals.repeat(3, 1))
    length = normals.norm(dim=1, keepdim=True)
    return normals / torch.where(length > 0, length, 1.0)


def _fits_numba(values: Tensor) -> bool:
    return values.device.type == "cpu" and not values.requires_grad


def _check_faces(mesh: HeadMesh) -> None:
    if mesh.faces.numel() == 0:
        return
    low, high = (int(bound) for bound in mesh.faces.aminmax())
    if low < 0 or high >= len(mesh.vertices):
        raise AvatarError(
            f"faces: expected vertex numbers 0 to {len(mesh.vertices) - 1}, found {low} to {high}"
        )
