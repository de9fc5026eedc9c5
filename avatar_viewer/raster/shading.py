"""The G-buffer's layers as pictures for people."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Point
from avatar_viewer.stages import GBuffer

Box = tuple[Point, Point]
UNIT_BOX: Box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
SHADED_LAYERS = ("normal", "depth", "canonical", "mesh")


def shade(gbuffer: GBuffer, layer: str, canonical_box: Box = UNIT_BOX) -> np.ndarray:
    """One layer as uint8 [H,W,3] on white.

    * normal: camera axes, -1..1 to 0..255 as red, green, blue;
    * depth: grey, nearer is lighter, spread over the depths in this picture;
    * canonical: canonical_box (lower corner, upper corner; world units) to black..white;
    * mesh: grey, matt, lit from the camera, the same on both sides.

    Raises AvatarError for another layer.
    """
    mask = gbuffer.mask
    if layer == "normal":
        rgb = (gbuffer.normal + 1) / 2
    elif layer == "depth":
        rgb = _grey(_nearness(gbuffer))
    elif layer == "canonical":
        low, high = torch.tensor(canonical_box).to(gbuffer.canonical)
        rgb = (gbuffer.canonical - low) / (high - low)
    elif layer == "mesh":
        rgb = _grey(0.15 + 0.7 * gbuffer.normal[..., 2].abs())
    else:
        raise AvatarError(f"layer: expected {' | '.join(SHADED_LAYERS)}, found {layer!r}")
    levels = torch.where(mask[..., None], rgb, 1.0).clamp(0, 1) * 255
    return levels.round().to(torch.uint8).cpu().numpy()


def _grey(value: Tensor) -> Tensor:
    return value[..., None].expand(*value.shape, 3)


def _nearness(gbuffer: GBuffer) -> Tensor:
    """[H,W] 0.9 at the nearest pixel to 0.1 at the farthest, so that neither is white."""
    depths = gbuffer.depth[gbuffer.mask]
    if len(depths) == 0:
        return gbuffer.depth
    near, far = depths.aminmax()
    return 0.9 - 0.8 * (gbuffer.depth - near) / (far - near).clamp(min=1e-12)
