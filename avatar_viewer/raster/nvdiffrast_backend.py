"""The rasterizer for CUDA where nvdiffrast (0.3.3 or newer) is installed.

nvdiffrast's licence allows research only and it is not on PyPI, so nothing else depends on it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import to_clip
from avatar_viewer.stages import Camera, Hits


def hits(vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    """As `torch_backend.hits`, but in float32 and with nvdiffrast's rule for shared edges.

    Raises AvatarError when nvdiffrast is missing or the vertices are not on CUDA.
    """
    dr = _nvdiffrast()
    if vertices.device.type != "cuda":
        raise AvatarError(
            f"rasterizer nvdiffrast: expected a mesh on CUDA, found {vertices.device}"
        )
    # Its first row is the bottom one, so y points down here and the picture comes out upright.
    flip_y = torch.tensor([1.0, -1.0, 1.0, 1.0], device=vertices.device)
    points = (to_clip(vertices, camera).float() * flip_y)[None].contiguous()
    raster, _ = dr.rasterize(
        _context(vertices.device),
        points,
        faces.int().contiguous(),
        resolution=[camera.height, camera.width],
        grad_db=False,
    )
    return Hits(raster[0, ..., 3].int() - 1, raster[0, ..., :2].contiguous())


def _nvdiffrast():
    try:
        import nvdiffrast.torch
    except ImportError as error:
        raise AvatarError(
            "rasterizer nvdiffrast: the package nvdiffrast is not installed; it comes from "
            "https://github.com/NVlabs/nvdiffrast, see the section GPU of the README"
        ) from error
    return nvdiffrast.torch


@lru_cache(maxsize=4)
def _context(device: torch.device):
    """nvdiffrast's scratch memory, too slow to make per frame; it carries nothing over."""
    return _nvdiffrast().RasterizeCudaContext(device=device)
