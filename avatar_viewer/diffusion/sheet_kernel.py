"""What pixels see of sheets of features, for the CPU, in one pass over a picture and few more over
the pixels that are found.

It answers what the plain version in `sheets` does, to rounding; that one takes the pixels
of each part of the head from the picture anew, and spends most of its time on calls of torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.diffusion.sheets import Part, PlacedSheet, Sheet, Sighting, Surroundings
from avatar_viewer.raster.bands import in_bands
from avatar_viewer.stages import GBuffer, Rays

SLACK = 0.01
"""How far from a sheet, in radii, a ray may pass and still count as one that may meet it."""


def see(gbuffer: GBuffer, rays: Rays, parts: Sequence[Part]) -> list[Sighting]:
    """As `sheets.plain_see`, without most of the pixels that see no sheet."""
    if not parts:
        return []
    mask = gbuffer.mask.contiguous().numpy()
    depth, canonical, normals, directions = (
        tensor.to(torch.float32).contiguous().numpy()
        for tensor in (gbuffer.depth, gbuffer.canonical, gbuffer.normal, rays.direction)
    )
    origin = rays.origin.numpy().astype(np.float64)
    limits = np.array([_limits(part) for part in parts])
    sights = np.array([_sight(origin, part.around, each) for part in parts for each in part.sheets])
    ends = np.cumsum([len(part.sheets) for part in parts])
    rays_and_parts = (directions, origin, limits, sights, ends)
    # Room for all pixels: what is not written to costs nothing.
    found, bits = np.empty(mask.size, np.int64), np.empty(mask.size, np.uint8)
    counts = np.zeros(len(mask), np.int64)
    answers, seen = (found, bits, counts), (mask, depth, canonical, normals)
    in_bands(lambda *band: _find(answers, seen, rays_and_parts, band), len(mask))
    rows = [(row * mask.shape[1], counts[row]) for row in np.flatnonzero(counts)]
    near, bits = (
        np.concatenate([each[:0], *(each[start : start + count] for start, count in rows)])
        for each in (found, bits)
    )
    of_pixels = directions.reshape(-1, 3), depth.reshape(-1)
    sightings = []
    for number, (part, end) in enumerate(zip(parts, ends, strict=True)):
        pixels = near[bits & (1 << number) != 0]
        own = [(limits[number], sight) for sight in sights[end - len(part.sheets) : end]]
        features, depths = zip(
            *(
                _sampled(placed.sheet, pixels, of_pixels, place)
                for placed, place in zip(part.sheets, own, strict=True)
            ),
            strict=True,
        )
        sightings.append(Sighting(torch.from_numpy(pixels), features, depths))
    return sightings


def _sampled(
    sheet: Sheet,
    pixels: np.ndarray,
    of_pixels: tuple[np.ndarray, np.ndarray],
    place: tuple[np.ndarray, np.ndarray],
) -> tuple[Tensor, Tensor]:
    """What pixels [N] see of a sheet: features [N,C], and at what depth in radii."""
    plane = sheet.plane.detach().to(torch.float32).contiguous().numpy()
    features = np.zeros((len(pixels), len(plane)), np.float32)
    depths = np.full(len(pixels), np.inf, np.float32)
    _sample((features, depths), pixels, of_pixels, place, plane)
    return torch.from_numpy(features), torch.from_numpy(depths)


def _limits(part: Part) -> list[float]:
    """[10]: the middle and how far from there a place may be in each coordinate, world units; the
    radius, and how far in radii from the centre a ray may pass that meets a sheet; whether walls
    alone count, and the centre."""
    centre, radius, reach, middle, walls = part.around
    middle = [at + radius * along for at, along in zip(centre, middle, strict=True)]
    extent = max(map(_extent, part.sheets))
    return [*middle, reach * radius, radius, extent, float(walls), *centre]


def _extent(placed: PlacedSheet) -> float:
    """The distance of a sheet's farthest place from the centre of its surroundings, in radii."""
    sheet, origin = placed.sheet, placed.frame.origin
    front, (bend_x, bend_y) = sheet.front.item(), sheet.bend.tolist()
    x, y = (half * (1 + SLACK) for half in sheet.half_size)
    # Depth along the sheet's axis is largest in size at one of these four.
    z = max(abs(front - bend_x * x**2 * i - bend_y * y**2 * j) for i in (0, 1) for j in (0, 1))
    return float(origin.norm()) + math.hypot(x, y, z) + SLACK


def _sight(origin: np.ndarray, around: Surroundings, placed: PlacedSheet) -> list[float]:
    """[18]: a sheet's front and bend, in its frame the rays' origin and the turn of directions, its
    half size, and how far in radii behind the surface it is seen."""
    sheet, (of_sheet, head_from_sheet), behind = placed
    turn = head_from_sheet.detach().double().numpy()
    start = ((origin - around.centre) / around.radius - of_sheet.detach().double().numpy()) @ turn
    curve = [sheet.front.item(), *sheet.bend.detach().tolist()]
    return [*curve, *start.tolist(), *turn.ravel().tolist(), *sheet.half_size, behind]


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _find(answers, seen, rays_and_parts, band):
    """In a band of rows, the pixels that are near a part and may see one of its sheets, from each
    row's first number on, and for each the parts as bits."""
    found, bits, counts = answers
    mask, depth, canonical, normals = seen
    directions, origin, limits, sights, ends = rays_and_parts
    width = np.uintp(mask.shape[1])
    # Unsigned, so that no index is asked whether it counts from the end.
    for y in range(np.uintp(band[0]), np.uintp(band[1])):
        end = y * width
        for x in range(width):
            if not mask[y, x]:
                continue
            of_pixel, first = np.uint8(0), np.int64(0)
            for part in range(np.uintp(len(limits))):
                if _is_near(canonical, normals, y, x, limits, part):
                    ray = _vector(directions, y, x)
                    surface = depth[y, x] / limits[part, 4] + SLACK
                    if _passes(origin, ray, limits, part):
                        for number in range(first, ends[part]):
                            at, across, up = _met(sights[number], ray)
                            on_sheet = (abs(across) < 1 + SLACK) & (abs(up) < 1 + SLACK)
                            if on_sheet & (at < surface + sights[number, 17]):
                                of_pixel |= np.uint8(1 << part)
                first = ends[part]
            if of_pixel:
                found[end], bits[end] = y * width + x, of_pixel
                end += np.uintp(1)
        counts[y] = end - y * width


@_compiled
def _vector(picture, y, x):
    return picture[y, x, np.uintp(0)], picture[y, x, np.uintp(1)], picture[y, x, np.uintp(2)]


@_compiled
def _is_near(canonical, normals, y, x, limits, part):
    """Whether a pixel's place is within reach of a part, and faces its middle if it must."""
    place, reach = _vector(canonical, y, x), limits[part, 3]
    # Most pixels end at the first comparison.
    if not (
        abs(place[0] - limits[part, 0]) < reach
        and abs(place[1] - limits[part, 1]) < reach
        and abs(place[2] - limits[part, 2]) < reach
    ):
        return False
    if limits[part, 6] == 0:
        return True
    normal = _vector(normals, y, x)
    return (
        normal[0] * (limits[part, 0] - place[0])
        + normal[1] * (limits[part, 1] - place[1])
        + normal[2] * (limits[part, 2] - place[2])
        > 0
    )


@_compiled
def _passes(origin, ray, limits, part):
    """Whether a ray passes near enough to the centre of a part to meet one of its sheets."""
    x, y, z = origin[0] - limits[part, 7], origin[1] - limits[part, 8], origin[2] - limits[part, 9]
    along = x * ray[0] + y * ray[1] + z * ray[2]
    square = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    reach = limits[part, 5] * limits[part, 4]
    return (x * x + y * y + z * z - reach * reach) * square < along * along


@_compiled
def _met(sight, ray):
    """Where a ray meets a sheet's surface, as `sheets.nearest_hit` has it: its depth in
    radii, infinite if it does not, and the place in x and y, from -1 to 1 on the sheet."""
    front, bend_x, bend_y = sight[0], sight[1], sight[2]
    x, y, z = sight[3], sight[4], sight[5]
    across = ray[0] * sight[6] + ray[1] * sight[9] + ray[2] * sight[12]
    upward = ray[0] * sight[7] + ray[1] * sight[10] + ray[2] * sight[13]
    toward = ray[0] * sight[8] + ray[1] * sight[11] + ray[2] * sight[14]
    square = across * across * bend_x + upward * upward * bend_y
    linear = toward + 2 * (across * x * bend_x + upward * y * bend_y)
    constant = z - front + x * x * bend_x + y * y * bend_y
    discriminant = linear * linear - 4 * square * constant
    if not (discriminant > 0 and linear < 0):
        return np.inf, np.inf, np.inf
    at = 2 * constant / max(math.sqrt(discriminant) - linear, 1e-6)
    if not at > 0:
        return np.inf, np.inf, np.inf
    return at, (x + at * across) / sight[15], (y + at * upward) / sight[16]


@_compiled
def _sample(answers, pixels, of_pixels, place, plane):
    """What pixels see of one sheet: bilinear samples of its plane, and its depth in radii."""
    features, depths = answers
    directions, depth = of_pixels
    limits, sight = place
    height, width = plane.shape[1:]
    for n in range(len(pixels)):
        pixel = pixels[n]
        ray = (directions[pixel, 0], directions[pixel, 1], directions[pixel, 2])
        at, across, up = _met(sight, ray)
        if not (at < depth[pixel] / limits[4] + sight[17] and abs(across) < 1 and abs(up) < 1):
            continue
        depths[n] = at
        column, row = ((across + 1) * width - 1) / 2, ((up + 1) * height - 1) / 2
        left, top = math.floor(column), math.floor(row)
        for i in range(max(top, 0), min(top + 2, height)):
            for j in range(max(left, 0), min(left + 2, width)):
                share = (1 - abs(row - i)) * (1 - abs(column - j))
                for channel in range(len(plane)):
                    features[n, channel] += share * plane[channel, i, j]
