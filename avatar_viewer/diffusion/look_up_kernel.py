"""Look-ups at the pixels of a G-buffer for the CPU, in few passes over them.

They answer what the plain versions in `conditioning` do, to the rounding of a few sums; those
gather the pixels of the mask, sample, concatenate, scatter and reorder, and spend most of their
time on memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.diffusion.conditioning import Patch, folded_patch
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.raster.bands import in_bands
from avatar_viewer.stages import GBuffer

GEOMETRY = 8
"""Channels before the features, as in `conditioning`; compiled code keeps no imported constant."""


def folded_control(gbuffers: Sequence[GBuffer], triplane: TriPlane, factor: int) -> Tensor:
    """As `conditioning.folded_control`, of tensors on the CPU."""
    height, width = (size // factor for size in gbuffers[0].mask.shape)
    blocks = np.arange(height * width)
    channels = factor**2 * (GEOMETRY + triplane.features)
    folded = torch.empty(len(gbuffers), len(blocks), channels)
    for rows, gbuffer in zip(folded, gbuffers, strict=True):
        _fill(rows, blocks, gbuffer, triplane, factor)
    return folded.unflatten(1, (height, width)).permute(0, 3, 1, 2)


Projection = tuple[Tensor, Sequence[Tensor], Sequence[int]]
"""A linear function of a block's channels, with several answers: its bias [out]; of the pixels'
channels, a matrix [factor²*E,out] for those of the surface and one for each of a picture's patches;
and how many of the `out` each answer has. The surface adds nothing to the last one."""


def projected(
    gbuffers: Sequence[GBuffer],
    extra: Sequence[Sequence[Patch]],
    triplane: TriPlane,
    factor: int,
    projection: Projection,
) -> list[Tensor]:
    """[B,out,H/factor,W/factor] of each answer: a linear function of
    `conditioning.plain_folded_control`, without its products of zeros. Tensors on the CPU."""
    bias, (of_surface, *of_patches), widths = projection
    height, width = (size // factor for size in gbuffers[0].mask.shape)
    found = [part.repeat(len(gbuffers), height * width, 1) for part in bias.split(list(widths))]
    outputs, channels = of_surface.shape[1], factor**2 * (GEOMETRY + triplane.features)
    for index, (gbuffer, patches) in enumerate(zip(gbuffers, extra, strict=True)):
        images = [answer[index] for answer in found]
        blocks = _covered(gbuffer.mask, factor)
        rows = torch.empty(len(blocks), channels, dtype=bias.dtype)
        _fill(rows, blocks, gbuffer, triplane, factor)
        of_blocks = torch.addmm(bias[:outputs], rows, of_surface)
        for patch, of_patch in zip(patches, of_patches, strict=True):
            touched, features = folded_patch(patch, gbuffer.mask.shape[1], factor)
            answers = features.to(bias) @ of_patch
            # Each block once, so that no sum over indices is needed, which is slow.
            number = torch.from_numpy(np.searchsorted(blocks, touched.numpy()))
            of_blocks[number] += answers[:, :outputs]
            images[-1][touched] += answers[:, outputs:]
        places = torch.from_numpy(blocks)
        for image, answer in zip(images, of_blocks.split(list(widths[:-1]), 1), strict=False):
            image.index_copy_(0, places, answer)
    return [answer.unflatten(1, (height, width)).permute(0, 3, 1, 2) for answer in found]


def _covered(mask: Tensor, factor: int) -> np.ndarray:
    """Numbers [N], row by row, of the blocks that show the head."""
    height, width = (size // factor for size in mask.shape)
    rows = mask.numpy().reshape(height, factor, -1).any(axis=1)
    return np.flatnonzero(rows.reshape(height, width, factor).any(axis=2))


def _fill(
    rows: Tensor, blocks: np.ndarray, gbuffer: GBuffer, triplane: TriPlane, factor: int
) -> None:
    """Fill rows [N,factor²*C], float32 or bfloat16, with the channels of blocks [N]."""
    low, high = (np.array(corner, np.float32) for corner in triplane.box)
    resolution, channels = triplane.config["resolution"], triplane.config["channels"]
    lookup = (
        _floats(triplane.texels).reshape(-1),
        low,
        np.float32(resolution - 1) / (high - low),
        resolution,
        # The compiler knows the length of a tuple, so that a loop over it becomes a vector.
        (0,) * channels,
    )
    mask, depth = _bools(gbuffer.mask), _floats(gbuffer.depth)
    # Depth is zero off the head.
    mean_depth = np.float32(depth.sum(dtype=np.float64) / max(np.count_nonzero(mask), 1))
    surface = (mask, depth, _floats(gbuffer.canonical), _floats(gbuffer.normal), mean_depth)
    # NumPy has no bfloat16: its bits, then.
    filled = rows.view(torch.uint16 if rows.dtype == torch.bfloat16 else rows.dtype).numpy()
    in_bands(lambda *band: _fill_rows(filled, blocks, surface, lookup, (factor, band)), len(blocks))


def _floats(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _bools(mask: Tensor) -> np.ndarray:
    return mask.contiguous().numpy()


_compiled = njit(cache=True, nogil=True, error_model="numpy")


# All that is counted below is unsigned, so that no index is asked whether it counts from the end,
# which would take as long as all the rest.


@_compiled
def _fill_rows(rows, blocks, surface, lookup, part):
    """A band of blocks."""
    mask, depth, canonical, normal, mean_depth = surface
    texels, low, scale, resolution, lanes = lookup
    factor, (first, end) = part
    side, channels, size = np.uintp(factor), np.uintp(len(lanes)), np.uintp(resolution)
    width = np.uintp(mask.shape[1]) // side
    count = np.uintp(GEOMETRY) + np.uintp(3) * channels
    steps = (channels if resolution > 1 else np.uintp(0), channels * size)
    last = np.float32(resolution - 1)
    low_x, low_y, low_z = low[0], low[1], low[2]
    scale_x, scale_y, scale_z = scale[0], scale[1], scale[2]
    row = np.empty(side * side * count, np.float32)
    for number in range(np.uintp(first), np.uintp(end)):
        block = np.uintp(blocks[number])
        top, left = block // width * side, block % width * side
        start = np.uintp(0)
        for y in range(top, top + side):
            for x in range(left, left + side):
                if mask[y, x]:
                    row[start] = 1
                    row[start + np.uintp(1)] = depth[y, x] - mean_depth
                    for axis in range(np.uintp(3)):
                        row[start + np.uintp(2) + axis] = canonical[y, x, axis]
                        row[start + np.uintp(5) + axis] = normal[y, x, axis]
                    i, u = _texel(canonical[y, x, np.uintp(0)], low_x, scale_x, last)
                    j, v = _texel(canonical[y, x, np.uintp(1)], low_y, scale_y, last)
                    k, w = _texel(canonical[y, x, np.uintp(2)], low_z, scale_z, last)
                    at = start + np.uintp(GEOMETRY)
                    xy = (j * size + i) * channels
                    xz = ((size + k) * size + i) * channels
                    yz = ((size + size + k) * size + j) * channels
                    _blend(row, at, texels, xy, steps, (u, v), lanes)
                    _blend(row, at + channels, texels, xz, steps, (u, w), lanes)
                    _blend(row, at + channels + channels, texels, yz, steps, (v, w), lanes)
                else:
                    for channel in range(start, start + count):
                        row[channel] = 0
                start += count
        _store(rows, number, row)


@_compiled
def _store(rows, number, row):
    """Put numbers into a row, as bfloat16 where rows hold bits: rounded, ties to even."""
    if rows.itemsize == 4:
        for i in range(np.uintp(len(row))):
            rows[number, i] = row[i]
    else:
        bits = row.view(np.uint32)
        for i in range(np.uintp(len(row))):
            last = bits[i] >> np.uint32(16) & np.uint32(1)
            rows[number, i] = (bits[i] + np.uint32(0x7FFF) + last) >> np.uint32(16)


@_compiled
def _texel(value, low, scale, last):
    """On an axis of the planes, held to their border: the texel before a place, and the share of
    the one after it."""
    place = min(max((value - low) * scale, np.float32(0)), last)
    before = np.uint32(max(min(place, last - np.float32(1)), np.float32(0)))
    return np.uintp(before), place - np.float32(before)


@_compiled
def _blend(row, start, texels, corner, steps, shares, lanes):
    """Put bilinear samples of a plane into a row: means of four texels, by the shares of the right
    and the lower ones."""
    right, lower = shares
    both = right * lower
    right_only, lower_only = right - both, lower - both
    neither = np.float32(1) - right - lower_only
    b, c, d = corner + steps[0], corner + steps[1], corner + steps[0] + steps[1]
    for channel in range(np.uintp(len(lanes))):
        row[start + channel] = (
            neither * texels[corner + channel]
            + right_only * texels[b + channel]
            + lower_only * texels[c + channel]
            + both * texels[d + channel]
        )
