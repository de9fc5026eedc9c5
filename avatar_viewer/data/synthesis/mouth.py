"""Teeth and gums along the arches of MakeHuman's helper teeth; they move as rigid parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_viewer.data.synthesis.body import (
    LOWER_TEETH,
    UPPER_TEETH,
    Body,
    grid_quads,
    rigid_motion,
    unit,
)

RING, RINGS, GUM_RINGS = 12, 9, 90


@dataclass(frozen=True)
class Jaw:
    """Sizes of one side's teeth from the middle outward, and of the gum; decimetres."""

    part: slice
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    edge: float
    """Biting edge, from the lowest (upper jaw) or highest (lower jaw) helper vertex."""
    gum_size: tuple[float, float]
    """Half thickness and half height."""
    gum_shift: tuple[float, float]
    """Outward, and away from the biting edge beyond the tooth."""
    up: int
    """Where the roots are: 1 up, -1 down."""


UPPER = Jaw(
    part=UPPER_TEETH,
    widths=(0.085, 0.066, 0.076, 0.070, 0.068, 0.10),
    heights=(0.105, 0.092, 0.105, 0.085, 0.080, 0.075),
    edge=-0.045,
    gum_size=(0.050, 0.085),
    gum_shift=(0.0, 0.045),
    up=1,
)
LOWER = Jaw(
    part=LOWER_TEETH,
    widths=(0.054, 0.058, 0.067, 0.070, 0.070, 0.105),
    heights=(0.088, 0.088, 0.100, 0.085, 0.080, 0.075),
    edge=-0.038,
    gum_size=(0.036, 0.062),
    gum_shift=(-0.012, 0.025),
    up=-1,
)


class Teeth:
    """One jaw's teeth and gum on the neutral person."""

    def __init__(self, body: Body, jaw: Jaw, *, outward: bool) -> None:
        """outward: every tooth is turned right side out; in the first look half of them are not."""
        self._helper, self._part = body.neutral[jaw.part], jaw.part
        low, high = self._helper.min(axis=0), self._helper.max(axis=0)
        half_width, self._depth = np.abs(self._helper[:, 0]).max() * 0.98, (high[2] - low[2]) * 0.98
        self._half_width, self._back = half_width, low[2]
        turn = np.linspace(0, np.pi / 2 * 0.98, 400)
        self._arch = np.stack(
            [half_width * np.sin(turn), low[2] + self._depth * np.cos(turn) ** 0.9], axis=1
        )
        steps = np.linalg.norm(np.diff(self._arch, axis=0), axis=1)
        self._along = np.concatenate([[0], np.cumsum(steps)])
        self._bite = low[1] + jaw.edge if jaw.up > 0 else high[1] + jaw.edge
        self._widths = np.array(jaw.widths) * min(1.0, self._along[-1] / sum(jaw.widths))
        self.teeth, self.faces, self.gap, self.height = self._row(jaw, outward)
        """[N,3]; faces; [N] 0 in a tooth's middle to 1 where it meets the next; [N] 0 at the
        biting edge to 1 at the root."""
        self.gum, self.gum_quads = self._gum(jaw)

    def motion(self, posed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotation and shift in an expression."""
        return rigid_motion(self._helper, posed[self._part])

    def _at(self, along: float | np.ndarray) -> np.ndarray:
        """[...,2] x and z of the arch, so far from its middle."""
        return np.stack(
            [np.interp(along, self._along, self._arch[:, axis]) for axis in (0, 1)], axis=-1
        )

    def _row(
        self, jaw: Jaw, outward: bool
    ) -> tuple[np.ndarray, list[list[int]], np.ndarray, np.ndarray]:
        vertices, faces, gaps, heights = [], [], [], []
        tube = grid_quads(RINGS, RING, flip=True)
        cap = [[RINGS * RING, (k + 1) % RING, k] for k in range(RING)]
        tooth_faces = tube.tolist() + cap
        size = RINGS * RING + 1
        for number, start in enumerate(np.cumsum(self._widths) - self._widths):
            right, gap, height = self._tooth(jaw, number, start)
            for side in (1, -1):
                offset = len(vertices) * size
                turn = -1 if outward and side == jaw.up else 1
                faces += [[corner + offset for corner in face[::turn]] for face in tooth_faces]
                vertices.append(right * (side, 1, 1))
                gaps.append(gap)
                heights.append(height)
        return np.concatenate(vertices), faces, np.concatenate(gaps), np.concatenate(heights)

    def _tooth(
        self, jaw: Jaw, number: int, start: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rings from the biting edge to the root, then the middle of the edge."""
        width, height = self._widths[number], jaw.heights[number]
        middle = start + width / 2
        centre = self._at(middle)
        before = self._at(middle - 0.01) if middle > 0.01 else centre
        after = self._at(min(middle + 0.01, self._along[-1]))
        along = unit(after - before)
        outward = np.array([-along[1], along[0]])
        around = np.linspace(0, 2 * np.pi, RING, endpoint=False)
        cut = number < 3  # incisors and canines taper to an edge
        rings = []
        for y in np.linspace(0, 1, RINGS):
            rounded = 1 - 0.55 * (1 - min(1, y / 0.12)) ** 2
            waist = 0.80 + 0.20 * np.sin(min(1, (1 - y) * 1.3) * np.pi / 2)
            wide = width * waist * (0.96 if y < 0.06 else 1) * 1.12 * (1 if y > 0 else 0.97)
            thick = (0.065 * (0.45 + 0.55 * y) if cut else 0.095 * 0.9) * rounded
            side = wide / 2 * _power(np.cos(around), 0.55)
            front = thick / 2 * _power(np.sin(around), 0.75) + 0.010 * np.sin(y * np.pi)
            flat = centre + side[:, None] * along + front[:, None] * outward
            level = np.full(RING, self._bite + jaw.up * (y * height + 0.004 * (number % 3)))
            rings.append(np.stack([flat[:, 0], level, flat[:, 1]], axis=1))
        points = np.concatenate([*rings, rings[0].mean(axis=0, keepdims=True)])
        gap = np.append(np.tile(np.abs(np.cos(around)) ** 4, RINGS), 0.0)
        rise = np.append(np.repeat(np.linspace(0, 1, RINGS), RING), 0.0)
        return points, gap, rise

    def _gum(self, jaw: Jaw) -> tuple[np.ndarray, np.ndarray]:
        """A tube along the arch that arches over every tooth."""
        places = np.linspace(-self._along[-1] * 0.97, self._along[-1] * 0.97, GUM_RINGS)
        ends = np.concatenate([[0], np.cumsum(self._widths)])
        around = np.linspace(0, 2 * np.pi, RING, endpoint=False)
        (thick, tall), (outward, beyond) = jaw.gum_size, jaw.gum_shift
        rings = []
        for place in places:
            number = min(
                len(self._widths) - 1, int(np.searchsorted(ends, abs(place), side="right")) - 1
            )
            share = (abs(place) - ends[number]) / self._widths[number]
            scallop = 0.012 * (1 - abs(2 * share - 1) ** 2)
            x, z = self._at(abs(place)) * (np.sign(place), 1)
            slope = (x / self._half_width**2, (z - self._back) / self._depth**2)
            normal = unit(np.array(slope))
            level = self._bite + jaw.up * (jaw.heights[number] + beyond + scallop)
            reach = thick * np.cos(around) + outward
            rings.append(
                np.stack(
                    [x + normal[0] * reach, level + tall * np.sin(around), z + normal[1] * reach],
                    axis=1,
                )
            )
        return np.concatenate(rings), grid_quads(GUM_RINGS, RING)


def _power(values: np.ndarray, exponent: float) -> np.ndarray:
    """Of the size, with the sign kept: rounds a circle towards a square."""
    return np.sign(values) * np.abs(values) ** exponent
