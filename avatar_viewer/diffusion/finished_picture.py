"""From what a decoder answers to the bytes of a picture."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from avatar_viewer.diffusion.autoencoder import to_uint8
from avatar_viewer.errors import AvatarError


def finished(picture: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """[3 or 4,H,W], -1..1 but for overshoots -> uint8 [H,W,3], and where there is a fourth channel
    opacity [H,W].

    Raises AvatarError for colours that are NaN or infinite.
    """
    if picture.device.type == "cpu":
        from avatar_viewer.diffusion import picture_kernel

        rgb, opacity, finite = picture_kernel.finished(picture)
    else:
        rgb, opacity, finite = plain_finished(picture)
    if not finite:
        raise AvatarError("picture: expected finite colours, found NaN or inf")
    return rgb, opacity


def plain_finished(picture: Tensor) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """`finished` in plain torch, on any device, and whether all colours are finite."""
    finite = bool(picture.sum().isfinite())
    channels = to_uint8(picture).cpu().numpy()
    opacity = np.ascontiguousarray(channels[..., 3]) if channels.shape[2] == 4 else None
    return np.ascontiguousarray(channels[..., :3]), opacity, finite
