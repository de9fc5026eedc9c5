"""The T-shirt: skin below the collarbones pushed outward, cut by a plane, and a ribbed collar."""

from __future__ import annotations

import numpy as np

from avatar_viewer.data.synthesis.body import Body, unit

NECKLINE_SLOPE, NECKLINE_HEIGHT = 0.42, 1.892
"""The neckline's plane: it falls towards the front, so far below the eyes; decimetres."""
SECTIONS, RING = 180, 16
BAND = (0.052, 0.024)
"""Half height and half thickness of the collar."""


class Shirt:
    """The shirt's surface; its edge is cut by the material, along the neckline."""

    def __init__(self, body: Body) -> None:
        self._body = body
        below = body.neutral[:, 1] - body.eyes[1] < -1.0
        quads = body.quads[below[body.quads].all(axis=1)]
        self.used = np.unique(quads)
        self.quads = np.searchsorted(self.used, quads)
        self.rest = body.neutral[self.used]
        """[N,3] where its points lie on the neutral person."""
        self._find_neckline()

    def posed(self, vertices: np.ndarray) -> np.ndarray:
        """[N,3]"""
        return vertices[self.used] + 0.035 * self._body.normals[self.used]

    def _find_neckline(self) -> None:
        """Edges of the skin that cross the neckline, and where."""
        body = self._body
        above = body.neutral - body.eyes
        plane = -NECKLINE_SLOPE * above[:, 2] - (above[:, 1] + NECKLINE_HEIGHT)
        sides = np.stack([body.quads, np.roll(body.quads, -1, axis=1)], axis=-1).reshape(-1, 2)
        start, end = np.unique(np.sort(sides, axis=1), axis=0).T
        crosses = (plane[start] * plane[end] < 0) & (np.abs(body.neutral[start, 0]) < 1.1)
        crosses &= above[start, 1] > -3.2
        self._start, self._end = start[crosses], end[crosses]
        start, end = self._start, self._end
        self._share = (plane[start] / (plane[start] - plane[end]))[:, None]
        crossing = self._mixed(body.neutral)
        from_middle = crossing - crossing.mean(axis=0)
        angle = np.arctan2(from_middle[:, 0], from_middle[:, 2])
        wanted = np.linspace(-np.pi, np.pi, SECTIONS, endpoint=False)[:, None]
        apart = np.angle(np.exp(1j * (wanted - angle)))
        nearness = np.exp(-((apart / 0.07) ** 2)) + 1e-9
        self._smooth = nearness / nearness.sum(axis=1, keepdims=True)

    def _mixed(self, values: np.ndarray) -> np.ndarray:
        return values[self._start] * (1 - self._share) + values[self._end] * self._share

    def collar(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A flattened tube along the neckline: vertices [N,3] and quads."""
        outward = unit(self._mixed(self._body.normals))
        line = self._smooth @ (self._mixed(vertices) + 0.040 * outward)
        normal = unit(self._smooth @ outward)
        along = unit(np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0))
        up = unit(np.cross(normal, along))
        normal = np.cross(along, up)
        around = np.linspace(0, 2 * np.pi, RING, endpoint=False)
        tall, thick = (
            half * np.sign(wave) * np.abs(wave) ** 0.8
            for half, wave in zip(BAND, (np.cos(around), np.sin(around)), strict=True)
        )
        tube = line[:, None] + tall[None, :, None] * up[:, None]
        tube = tube + thick[None, :, None] * normal[:, None]
        ids = np.arange(SECTIONS * RING).reshape(SECTIONS, RING)
        following = np.roll(ids, -1, axis=0)
        quads = np.stack(
            [ids, following, np.roll(following, -1, axis=1), np.roll(ids, -1, axis=1)], axis=-1
        )
        return tube.reshape(-1, 3), quads.reshape(-1, 4)
