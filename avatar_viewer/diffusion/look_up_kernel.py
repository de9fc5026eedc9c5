"""`conditioning.folded_control` for the CPU, in one pass over the pixels.

It answers what the plain version does, to the rounding of a few sums; that one gathers the pixels
of the mask, samples, concatenates, scatters and reorders, and spends most of its time on memory.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.stages import GBuffer

GEOMETRY = 8
"""Channels before the features, as in `conditioning`; compiled code keeps no imported constant."""


def folded_control(
    gbuffer: GBuffer, texels: Tensor, box: Box, factor: int, extra: Tensor
) -> Tensor:
    """[H/factor,W/factor,factor²*C].

    texels [3,R,R,channels] of planes (xy, xz, yz) that span the box; extra [H,W,E] goes to each
    pixel's last channels. Tensors on the CPU.
    """
    low, high = (np.array(corner, np.float32) for corner in box)
    surface = (gbuffer.depth, gbuffer.canonical, gbuffer.normal, extra)
    return torch.from_numpy(
        _filled(
            gbuffer.mask.contiguous().numpy(),
            tuple(_floats(channels) for channels in surface),
            _floats(texels),
            (low, 1 / (high - low)),
            factor,
        )
    )


def _floats(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _filled(mask, surface, texels, box, factor):
    depth, canonical, normal, extra = surface
    height, width = mask.shape
    count = GEOMETRY + 3 * texels.shape[3] + extra.shape[2]
    mean = _mean(depth, mask)
    out = np.zeros((height // factor, width // factor, factor * factor * count), np.float32)
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                start = ((y % factor) * factor + x % factor) * count
                pixel = out[y // factor, x // factor, start : start + count]
                pixel[0] = 1
                pixel[1] = depth[y, x] - mean
                pixel[2:5] = canonical[y, x]
                pixel[5:8] = normal[y, x]
                _sample(texels, box, canonical[y, x], pixel[GEOMETRY:])
                pixel[count - extra.shape[2] :] = extra[y, x]
    return out


@_compiled
def _mean(depth, mask):
    total, seen = 0.0, 0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                total += depth[y, x]
                seen += 1
    return np.float32(total / max(seen, 1))


@_compiled
def _sample(texels, box, point, features):
    """Bilinear samples of the three planes, one after the other."""
    low, inverse = box
    last, channels = texels.shape[1] - 1, texels.shape[3]
    for plane in range(3):
        first, second = (1 if plane == 2 else 0), (1 if plane == 0 else 2)
        # In texels, held to the plane's border.
        u = (point[first] - low[first]) * inverse[first] * last
        v = (point[second] - low[second]) * inverse[second] * last
        u = min(max(u, np.float32(0)), np.float32(last))
        v = min(max(v, np.float32(0)), np.float32(last))
        left, top = max(min(int(u), last - 1), 0), max(min(int(v), last - 1), 0)
        right, bottom = min(left + 1, last), min(top + 1, last)
        to_right, down = u - np.float32(left), v - np.float32(top)
        for channel in range(channels):
            a = texels[plane, top, left, channel]
            b = texels[plane, top, right, channel]
            c = texels[plane, bottom, left, channel]
            d = texels[plane, bottom, right, channel]
            above, below = a + (b - a) * to_right, c + (d - c) * to_right
            features[plane * channels + channel] = above + (below - above) * down
