"""Look-ups at the pixels of a G-buffer for the CPU, in few passes over them.

They answer what the plain versions in `conditioning` and `moving_planes` do, to the rounding of a
few sums; those gather the pixels of the mask, sample, concatenate, scatter and reorder, and spend
most of their time on memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.diffusion.conditioning import Patch, folded_patch
from avatar_viewer.diffusion.moving_planes import PlacedSheet, Surroundings
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.raster.bands import in_bands
from avatar_viewer.stages import GBuffer, Rays

GEOMETRY = 8
"""Channels before the features, as in `conditioning`; compiled code keeps no imported constant."""
SLACK = 0.01
"""How far from a sheet, in radii, a ray may pass and still count as one that may meet it."""


def folded_control(gbuffers: Sequence[GBuffer], triplane: TriPlane, factor: int) -> Tensor:
    """As `conditioning.folded_control`, of tensors on the CPU."""
    height, width = (size // factor for size in gbuffers[0].mask.shape)
    blocks = np.arange(height * width)
    channels = factor**2 * (GEOMETRY + triplane.features)
    folded = torch.empty(len(gbuffers), len(blocks), channels)
    for rows, gbuffer in zip(folded, gbuffers, strict=True):
        _, mean_depth = _surveyed(gbuffer, factor)
        _fill(rows, blocks, gbuffer, mean_depth, triplane, factor)
    return folded.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def projected(
    gbuffers: Sequence[GBuffer],
    extra: Sequence[Sequence[Patch]],
    triplane: TriPlane,
    factor: int,
    projection: tuple[Tensor, Sequence[Tensor]],
) -> Tensor:
    """[B,out,H/factor,W/factor]: a linear function of `conditioning.plain_folded_control`, without
    its products of zeros.

    It is given by its bias [out] and, of a pixel's channels, by a matrix [factor²*E,out] for those
    of the surface and one for each of a picture's patches. Tensors on the CPU.
    """
    bias, (of_surface, *of_patches) = projection
    height, width = (size // factor for size in gbuffers[0].mask.shape)
    found = bias.repeat(len(gbuffers), height * width, 1)
    for image, gbuffer, patches in zip(found, gbuffers, extra, strict=True):
        blocks, mean_depth = _surveyed(gbuffer, factor)
        rows = torch.empty(len(blocks), factor**2 * (GEOMETRY + triplane.features))
        _fill(rows, blocks, gbuffer, mean_depth, triplane, factor)
        outputs = of_surface.shape[1]
        of_blocks = torch.addmm(bias[:outputs], rows.to(bias), of_surface)
        image[:, :outputs].index_copy_(0, torch.from_numpy(blocks), of_blocks)
        for patch, of_patch in zip(patches, of_patches, strict=True):
            touched, features = folded_patch(patch, gbuffer.mask.shape[1], factor)
            image.index_add_(0, touched, features.to(bias) @ of_patch)
    return found.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def pixels_near(
    gbuffer: GBuffer, rays: Rays, around: Surroundings, sheets: Sequence[PlacedSheet]
) -> Tensor:
    """As `moving_planes.pixels_near`, of which it leaves out most that see none of the sheets."""
    seen = (_bools(gbuffer.mask), *map(_floats, (gbuffer.depth, gbuffer.canonical)))
    centre, radius, reach, behind = around
    limits = (np.array(centre, np.float32), np.float32(reach * radius), radius, behind + SLACK)
    sights = np.stack([_sight(rays, around, sheet) for sheet in sheets])
    directions = _floats(rays.direction)
    found = np.zeros(gbuffer.mask.shape, np.bool_)
    in_bands(lambda *band: _find(found, seen, directions, limits, sights, band), len(found))
    return torch.from_numpy(np.flatnonzero(found))


def _sight(rays: Rays, around: Surroundings, placed: PlacedSheet) -> np.ndarray:
    """[16]: a sheet's front, bend and aspect, and in its frame the rays' origin and the turn of
    directions."""
    sheet, (origin, turn) = placed
    start = (rays.origin - rays.origin.new_tensor(around.centre)) / around.radius
    parts = (sheet.front[None], sheet.bend, (start - origin) @ turn, turn.flatten())
    return np.append(torch.cat(parts).detach().double().numpy(), sheet.aspect)


def _surveyed(gbuffer: GBuffer, factor: int) -> tuple[np.ndarray, np.float32]:
    """Numbers [N], row by row, of the blocks that show the head, and its mean depth."""
    mask, depth = _bools(gbuffer.mask), _floats(gbuffer.depth)
    height, width = (size // factor for size in mask.shape)
    covered, sums = np.zeros((height, width), np.bool_), np.zeros((height, 2))
    in_bands(lambda *band: _survey_rows(covered, sums, (mask, depth), factor, band), height)
    total, count = sums.sum(axis=0)
    return np.flatnonzero(covered), np.float32(total / max(count, 1))


def _fill(
    rows: Tensor,
    blocks: np.ndarray,
    gbuffer: GBuffer,
    mean_depth: np.float32,
    triplane: TriPlane,
    factor: int,
) -> None:
    """Fill rows [N,factor²*C] with the channels of blocks [N]."""
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
    parts = (gbuffer.depth, gbuffer.canonical, gbuffer.normal)
    surface = (_bools(gbuffer.mask), *map(_floats, parts), mean_depth)
    filled = rows.numpy()
    in_bands(lambda *band: _fill_rows(filled, blocks, surface, lookup, (factor, band)), len(blocks))


def _floats(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _bools(mask: Tensor) -> np.ndarray:
    return mask.contiguous().numpy()


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _survey_rows(covered, sums, seen, factor, band):
    """A band of rows of blocks; sums are those of depth and of pixels in each row."""
    mask, depth = seen
    for row in range(band[0], band[1]):
        for y in range(row * factor, (row + 1) * factor):
            for column in range(covered.shape[1]):
                for x in range(column * factor, (column + 1) * factor):
                    if mask[y, x]:
                        covered[row, column] = True
                        sums[row, 0] += depth[y, x]
                        sums[row, 1] += 1


@_compiled
def _fill_rows(rows, blocks, surface, lookup, part):
    """A band of blocks."""
    mask, depth, canonical, normal, mean_depth = surface
    factor, (first, end) = part
    count = GEOMETRY + 3 * len(lookup[-1])
    width = mask.shape[1] // factor
    for number in range(first, end):
        top, left = blocks[number] // width * factor, blocks[number] % width * factor
        start = 0
        for y in range(top, top + factor):
            for x in range(left, left + factor):
                if mask[y, x]:
                    rows[number, start] = 1
                    rows[number, start + 1] = depth[y, x] - mean_depth
                    for axis in range(3):
                        rows[number, start + 2 + axis] = canonical[y, x, axis]
                        rows[number, start + 5 + axis] = normal[y, x, axis]
                    place = (canonical[y, x, 0], canonical[y, x, 1], canonical[y, x, 2])
                    _sample(rows, (number, start + GEOMETRY), place, lookup)
                else:
                    for channel in range(start, start + count):
                        rows[number, channel] = 0
                start += count


@_compiled
def _sample(rows, at, place, lookup):
    """Put bilinear samples of the three planes at a place into a row, one after the other."""
    texels, low, scale, resolution, lanes = lookup
    row, start = at
    channels = len(lanes)
    i, x = _texel(place[0], low[0], scale[0], resolution)
    j, y = _texel(place[1], low[1], scale[1], resolution)
    k, z = _texel(place[2], low[2], scale[2], resolution)
    right = channels if resolution > 1 else 0
    planes = (texels, (right, right * resolution), lanes)
    xy = j * resolution + i
    xz = (resolution + k) * resolution + i
    yz = (2 * resolution + k) * resolution + j
    _blend(rows, (row, start), planes, xy * channels, (x, y))
    _blend(rows, (row, start + channels), planes, xz * channels, (x, z))
    _blend(rows, (row, start + 2 * channels), planes, yz * channels, (y, z))


@_compiled
def _texel(value, low, scale, resolution):
    """On an axis of the planes, held to their border: the texel before a place, and the share of
    the one after it."""
    place = min(max((value - low) * scale, np.float32(0)), np.float32(resolution - 1))
    before = max(min(int(place), resolution - 2), 0)
    return before, place - np.float32(before)


@_compiled
def _blend(rows, at, planes, corner, shares):
    """Put the mean of four texels into a row, by the shares of the right and the lower ones."""
    texels, steps, lanes = planes
    right, lower = shares
    both = right * lower
    right_only, lower_only = right - both, lower - both
    neither = np.float32(1) - right - lower_only
    # Unsigned, so that no index is asked whether it counts from the end.
    row, start = np.uintp(at[0]), np.uintp(at[1])
    a, b, c = np.uintp(corner), np.uintp(corner + steps[0]), np.uintp(corner + steps[1])
    d = np.uintp(corner + steps[0] + steps[1])
    for channel in range(np.uintp(len(lanes))):
        rows[row, start + channel] = (
            neither * texels[a + channel]
            + right_only * texels[b + channel]
            + lower_only * texels[c + channel]
            + both * texels[d + channel]
        )


@_compiled
def _find(found, seen, directions, limits, sights, band):
    """Pixels in a band of rows that are near the centre and may see one of the sheets."""
    mask, depth, canonical = seen
    centre, reach, radius, behind = limits
    for y in range(band[0], band[1]):
        for x in range(mask.shape[1]):
            if (
                mask[y, x]
                and abs(canonical[y, x, 0] - centre[0]) < reach
                and abs(canonical[y, x, 1] - centre[1]) < reach
                and abs(canonical[y, x, 2] - centre[2]) < reach
            ):
                ray = (directions[y, x, 0], directions[y, x, 1], directions[y, x, 2])
                farthest = depth[y, x] / radius + behind
                for number in range(len(sights)):
                    if _may_meet(sights, number, ray, farthest):
                        found[y, x] = True


@_compiled
def _may_meet(sights, n, ray, farthest):
    """Whether a ray could meet a sheet before `farthest`: as `moving_planes.Sheet`, with slack."""
    front, bend_x, bend_y = sights[n, 0], sights[n, 1], sights[n, 2]
    x, y, z = sights[n, 3], sights[n, 4], sights[n, 5]
    across = ray[0] * sights[n, 6] + ray[1] * sights[n, 9] + ray[2] * sights[n, 12]
    upward = ray[0] * sights[n, 7] + ray[1] * sights[n, 10] + ray[2] * sights[n, 13]
    toward = ray[0] * sights[n, 8] + ray[1] * sights[n, 11] + ray[2] * sights[n, 14]
    square = across * across * bend_x + upward * upward * bend_y
    linear = toward + 2 * (across * x * bend_x + upward * y * bend_y)
    constant = z - front + x * x * bend_x + y * y * bend_y
    root = math.sqrt(max(linear * linear - 4 * square * constant, 0))
    meet = 2 * constant / max(root - linear, 1e-6)
    return (
        (meet < farthest)
        & (abs(x + meet * across) < sights[n, 15] * (1 + SLACK))
        & (abs(y + meet * upward) < 1 + SLACK)
    )
