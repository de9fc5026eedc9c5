"""`conditioning.folded_control` for the CPU, in one pass over the pixels.

It answers what the plain version does, to the rounding of a few sums; that one gathers the pixels
of the mask, samples, concatenates, scatters and reorders, and spends most of its time on memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.stages import GBuffer

if TYPE_CHECKING:
    from avatar_viewer.diffusion.conditioning import Patch

GEOMETRY = 8
"""Channels before the features, as in `conditioning`; compiled code keeps no imported constant."""


def folded_control(
    gbuffer: GBuffer, texels: Tensor, box: Box, factor: int, extra: Sequence[Patch]
) -> Tensor:
    """[H/factor,W/factor,factor²*C].

    texels [3,R,R,channels] of planes (xy, xz, yz) that span the box; `extra` goes to the pixels'
    last channels. Tensors on the CPU.
    """
    low, high = (np.array(corner, np.float32) for corner in box)
    surface = (gbuffer.depth, gbuffer.canonical, gbuffer.normal)
    known = GEOMETRY + 3 * texels.shape[3]
    count = known + sum(patch.features.shape[1] for patch in extra)
    height, width = gbuffer.mask.shape
    filled = np.zeros((height // factor, width // factor, factor**2 * count), np.float32)
    mask = gbuffer.mask.contiguous().numpy()
    depth, canonical, normal = (_floats(channels) for channels in surface)
    seen = (mask, depth, canonical, normal, _mean(depth, mask))
    planes = (_floats(texels), low, 1 / (high - low))
    threads = torch.get_num_threads()
    bands = np.linspace(0, len(filled), threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        for done in [
            pool.submit(_fill, filled, seen, planes, (factor, count), rows)
            for rows in pairwise(bands)
        ]:
            done.result()
    for patch in extra:
        features = _floats(patch.features)
        _put(filled, patch.pixels.numpy(), features, (factor, count, known))
        known += features.shape[1]
    return torch.from_numpy(filled)


def pixels_near(gbuffer: GBuffer, centre: Tensor, reach: float) -> Tensor:
    """`moving_planes.plain_pixels_near` in one pass."""
    mask, canonical = gbuffer.mask.contiguous().numpy(), _floats(gbuffer.canonical)
    return torch.from_numpy(_near(mask, canonical, _floats(centre), np.float32(reach)))


def _floats(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _fill(out, seen, planes, layout, rows):
    """The given rows of blocks."""
    mask, depth, canonical, normal, mean = seen
    texels, low, inverse = planes
    factor, count = layout
    for y in range(rows[0] * factor, rows[1] * factor):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                start = ((y % factor) * factor + x % factor) * count
                pixel = out[y // factor, x // factor, start : start + count]
                pixel[0] = 1
                pixel[1] = depth[y, x] - mean
                pixel[2:5] = canonical[y, x]
                pixel[5:8] = normal[y, x]
                _sample(texels, (low, inverse), canonical[y, x], pixel[GEOMETRY:])


@_compiled
def _put(out, pixels, features, layout):
    """Features of some pixels behind the channels that they have."""
    factor, count, known = layout
    width = out.shape[1] * factor
    for number in range(len(pixels)):
        y, x = pixels[number] // width, pixels[number] % width
        start = ((y % factor) * factor + x % factor) * count + known
        for channel in range(features.shape[1]):
            out[y // factor, x // factor, start + channel] = features[number, channel]


@_compiled
def _near(mask, canonical, centre, reach):
    height, width = mask.shape
    found = np.empty(height * width, np.int64)
    count = 0
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                place = canonical[y, x]
                if (
                    abs(place[0] - centre[0]) < reach
                    and abs(place[1] - centre[1]) < reach
                    and abs(place[2] - centre[2]) < reach
                ):
                    found[count] = y * width + x
                    count += 1
    return found[:count].copy()


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
