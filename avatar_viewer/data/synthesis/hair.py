"""Hair that is combed back to a bun, and brows: strands as polylines that ride on the skin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.spatial import KDTree

from avatar_viewer.data.synthesis.body import Body, Places, unit

HAIR_SEED = 3
STRANDS, STRAND_POINTS, LOCKS = 42000, 16, 900
BUN_STRANDS, BUN_POINTS = 8000, 24
HAIR_RADIUS, BUN_RADIUS = 0.0022, 0.0025
BROW_ROOTS, BROW_HAIRS = 36000, 900
BROW_RADII = np.array([0.0014, 0.0014, 0.0013, 0.0011, 0.0008, 0.0002])
FRINGE_STRANDS, FRINGE_POINTS = 5200, 10

# From the middle of the eyes, (front, up): the hairline as the side view shows it.
HAIRLINE = np.array(
    [
        *((0.6, 0.66), (0.06, 0.65), (-0.06, 0.56), (-0.15, 0.40), (-0.24, 0.26), (-0.36, 0.16)),
        *((-0.42, 0.04), (-0.45, -0.12), (-0.53, -0.12), (-0.56, 0.07), (-0.70, 0.15)),
        *((-0.86, 0.08), (-0.94, -0.22), (-0.98, -0.48), (-1.06, -0.64), (-1.6, -0.68)),
        (-2.2, -0.68),
    ]
)


@dataclass(frozen=True)
class Strands:
    """Polylines whose roots ride on the skin."""

    roots: Places
    points: np.ndarray
    """[N,K,3] on the neutral person, decimetres."""
    radii: np.ndarray
    """[N,K] or what broadcasts to it."""
    tips_stay: bool
    """Whether only the roots follow the skin."""

    def combed_out(self) -> Strands:
        """The same without the small kinks that growing step by step leaves."""
        points = self.points.copy()
        for _ in range(3):
            points[:, 1:-1] = (points[:, :-2] + 2 * points[:, 1:-1] + points[:, 2:]) / 4
        return replace(self, points=points)

    def posed(self, body: Body, vertices: np.ndarray) -> np.ndarray:
        """[N,K,3] on the vertices [19158,3] of an expression."""
        moved = self.roots.of(vertices - body.neutral)[:, None]
        follow = np.linspace(1, 0, self.points.shape[1]) if self.tips_stay else np.ones(1)
        return self.points + moved * follow[None, :, None]


def inside_hairline(body: Body, points: np.ndarray) -> np.ndarray:
    """[...] of points [...,3]: how far within the hair, decimetres; negative on bare skin."""
    x, up, front = np.moveaxis(points - body.eyes, -1, 0)
    x = np.abs(points[..., 0])
    flat = np.stack([front, up], axis=-1).reshape(-1, 2)
    distance = np.full(len(flat), 9.0)
    for start, end in pairwise(HAIRLINE):
        along = end - start
        share = np.clip(((flat - start) @ along) / (along @ along), 0, 1)[:, None]
        distance = np.minimum(distance, np.linalg.norm(flat - start - share * along, axis=1))
    outline = np.concatenate([HAIRLINE, [(-2.2, 3), (0.6, 3)]])
    inside = np.zeros(len(flat), dtype=bool)
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        crosses = (start[1] > flat[:, 1]) != (end[1] > flat[:, 1])
        height = (flat[:, 1] - start[1]) / (end[1] - start[1] + 1e-12)
        inside ^= crosses & (flat[:, 0] < (end[0] - start[0]) * height + start[0])
    signed = np.where(inside, distance, -distance).reshape(up.shape)
    on_ear = (x > 0.715) & (up < 0.12)
    return np.where(on_ear, -1.0, signed)


class Groom:
    """All strands of the neutral person.

    The generator's draws stand in one fixed order: data sets made earlier show the same strands.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        scalp = body.neutral[body.used]
        scalp = body.used[scalp[:, 1] > body.eyes[1] - 1.6]
        self._scalp, self._scalp_normals = body.neutral[scalp], body.normals[scalp]
        self._tree = KDTree(self._scalp)
        back = self._scalp[:, 2].min()
        self._bun_centre = np.array([0, body.eyes[1] + 0.28, back + 0.02])
        rng = np.random.default_rng(HAIR_SEED)
        self.hair = self._combed(rng)
        self.bun = self._bun(rng)
        """[N,K,3]; it does not move."""
        self.brows = self._brows(rng)
        self.fringe = self._fringe(np.random.default_rng(HAIR_SEED + 1))
        """Fine short hair that softens the hairline."""

    def _combed(self, rng: np.random.Generator) -> Strands:
        body = self._body
        centres = body.neutral[body.triangles].mean(axis=1)
        density = np.clip((inside_hairline(body, centres) + 0.06) / 0.12, 0, 1)
        roots = body.sampled(rng, STRANDS, density)
        start = roots.of(body.neutral)
        x, y, z = start.T
        ragged = 0.035 * np.sin(9 * x + 1) * np.cos(11 * y) + 0.02 * np.sin(31 * x + 23 * z)
        within = inside_hairline(body, start) + ragged
        kept = rng.random(STRANDS) < np.clip((within + 0.05) / 0.21, 0, 1) ** 1.4
        roots, start, within = roots[kept], start[kept], within[kept]
        count = len(start)
        lift = 0.20 * np.clip(within / 0.8, 0, 1) ** 0.6 * rng.random(count) ** 0.6 + 0.03
        flies = rng.random(count) < 0.001
        lift = lift + flies * rng.uniform(0.02, 0.06, count)
        rng.normal(size=start.shape)  # drawn for the order of draws only
        lock_roots = start[rng.choice(count, LOCKS, replace=False)]
        lock = KDTree(lock_roots).query(start)[1]
        lock_turn = rng.normal(0, 1, (LOCKS, 3))[lock] * 0.17
        turn = rng.normal(0, 0.22, start.shape) * flies[:, None]
        phase = rng.random(count) * 6.3
        points = self._grown(rng, start, lift, lock_turn, (turn, phase))
        at_ear = (np.abs(points[..., 0]) > 0.78) & (points[..., 1] < body.eyes[1] + 0.25)
        free = ~at_ear.any(axis=1)
        thick = np.clip(0.42 + 0.58 * (within + 0.02) / 0.16, 0.42, 1) * np.where(flies, 0.6, 1)
        taper = HAIR_RADIUS * (1 - 0.4 * np.linspace(0, 1, STRAND_POINTS))
        return Strands(roots[free], points[free], thick[free, None] * taper, tips_stay=True)

    def _grown(
        self,
        rng: np.random.Generator,
        start: np.ndarray,
        lift: np.ndarray,
        lock_turn: np.ndarray,
        waves: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """[N,K,3] strands from roots [N,3] along the scalp to the bun, `lift` [N] above it."""
        turn, phase = waves
        point = start.copy()
        points = np.zeros((len(start), STRAND_POINTS, 3))
        points[:, 0] = point
        length = np.linalg.norm(self._bun_centre - start, axis=1) * 1.18
        stride = length[:, None] / (STRAND_POINTS - 1)
        for k in range(1, STRAND_POINTS):
            time = k / (STRAND_POINTS - 1)
            to_bun = self._bun_centre - point
            distance = np.linalg.norm(to_bun, axis=1, keepdims=True) + 1e-9
            to_bun = to_bun / distance
            _, normal = self._surface(point)
            tangent = unit(to_bun - (to_bun * normal).sum(axis=1, keepdims=True) * normal)
            wave = 0.5 * turn * np.sin(2.5 * time + phase)[:, None]
            jitter = rng.normal(0, 0.04, point.shape)
            direction = tangent + lock_turn * (1 - time) * 0.8 + jitter + wave
            far = np.clip(distance / 0.35, 0, 1)
            direction = unit(direction * far + to_bun * (1 - far))
            point = point + direction * np.minimum(stride, distance)
            surface, normal = self._surface(point)
            height = ((point - surface) * normal).sum(axis=1)
            wanted = lift * min(1, 5 * time) * (1 - 0.35 * time) + 0.012
            point = point + normal * ((wanted - height) * 0.7)[:, None]
            points[:, k] = point
        return points

    def _surface(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The scalp's nearest place and normal, each [N,3]."""
        _, nearest = self._tree.query(points, k=3)
        normal = unit(self._scalp_normals[nearest].mean(axis=1))
        return self._scalp[nearest].mean(axis=1), normal

    def _bun(self, rng: np.random.Generator) -> np.ndarray:
        around = rng.random(BUN_STRANDS) * 2 * np.pi
        down = np.arccos(rng.uniform(-1, 1, BUN_STRANDS))
        radius = 0.34 * (0.80 + 0.2 * rng.random(BUN_STRANDS) ** 0.4)
        time = np.linspace(0, 1, BUN_POINTS)
        around = around[:, None] + time * rng.normal(2.2, 0.35, BUN_STRANDS)[:, None]
        down = down[:, None] + np.sin(3 * time) * rng.normal(0, 0.18, BUN_STRANDS)[:, None]
        ball = np.stack(
            [np.cos(around) * np.sin(down), np.sin(around) * np.sin(down), 0.72 * np.cos(down)],
            axis=-1,
        )
        centre = self._bun_centre + np.array((0, 0, -0.16))
        shift = rng.normal(0, 0.006, (BUN_STRANDS, 1, 3))
        return centre + radius[:, None, None] * ball + shift

    def _brows(self, rng: np.random.Generator) -> Strands:
        body = self._body
        centres, normals = body.neutral[body.triangles].mean(axis=1), body.triangle_normals()
        above = centres - body.eyes
        near = (above[:, 2] > -0.6) & (np.abs(above[:, 0]) < 0.85) & (normals[:, 2] > 0.1)
        near &= np.abs(above[:, 1] - 0.25) < 0.35
        roots = body.sampled(rng, BROW_ROOTS, near.astype(float))
        start = roots.of(body.neutral)
        x = np.abs(start[:, 0])
        beside = (start[:, 1] - self._brow_height(x)) / _brow_half_width(x)
        dense = np.exp(-1.3 * beside**2) * np.clip((x - 0.10) / 0.11, 0.12, 1)
        kept = (x > 0.118) & (x < 0.565) & (rng.random(len(x)) < dense)
        kept = np.flatnonzero(kept)[:BROW_HAIRS]
        roots, start, x, beside = roots[kept], start[kept], x[kept], beside[kept]
        normal, side = roots.of(body.normals), np.sign(start[:, 0])
        outer = np.clip((x - 0.10) / 0.25, 0, 1)
        rise = (1 - outer) - 0.45 * beside * outer + 0.10 - 0.25 * np.clip((x - 0.45) / 0.2, 0, 1)
        direction = np.stack([side * (0.25 + 0.9 * outer), rise, 0 * side], axis=1)
        direction = direction + rng.normal(0, 0.16, start.shape)
        direction -= (direction * normal).sum(axis=1, keepdims=True) * normal
        direction = unit(direction)
        length = rng.uniform(0.045, 0.085, len(x)) * (1 - 0.35 * (1 - outer))
        time = np.linspace(0, 1, len(BROW_RADII))
        arch = (0.30 * time - 0.34 * time**2)[None, :, None] * normal[:, None]
        hair = length[:, None, None] * (time[None, :, None] * direction[:, None] + arch)
        points = start[:, None] + hair + 0.002 * normal[:, None]
        return Strands(roots, points, BROW_RADII, tips_stay=False)

    def _brow_height(self, x: np.ndarray) -> np.ndarray:
        arch = 0.078 * np.sin(np.clip((x - 0.10) / 0.33, 0, 1) * 1.57)
        tail = 0.090 * np.clip((x - 0.40) / 0.18, 0, 1) ** 1.4
        return self._body.eyes[1] + 0.192 + arch - tail

    def brow_shade(self) -> np.ndarray:
        """[19158] in 0..1: how much brow lies over the skin."""
        body = self._body
        x = np.abs(body.neutral[:, 0])
        beside = np.abs(body.neutral[:, 1] - self._brow_height(x)) / (1.3 * _brow_half_width(x))
        front = (body.normals[:, 2] > 0.15) & (x > 0.14) & (x < 0.55)
        return np.where(front, np.clip(1.4 - beside, 0, 1), 0)

    def scalp_shade(self) -> np.ndarray:
        """[19158] in 0..1: how much hair lies over the skin."""
        return np.clip((inside_hairline(self._body, self._body.neutral) - 0.015) / 0.17, 0, 1)

    def _fringe(self, rng: np.random.Generator) -> Strands:
        body = self._body
        centres = body.neutral[body.triangles].mean(axis=1)
        within = inside_hairline(body, centres)
        density = np.exp(-(((within - 0.03) / 0.06) ** 2)) * (within > -0.03)
        roots = body.sampled(rng, FRINGE_STRANDS, density)
        start, normal = roots.of(body.neutral), roots.of(body.normals)
        direction = unit(self._bun_centre - start) + rng.normal(0, 0.22, start.shape)
        direction = unit(direction - (direction * normal).sum(axis=1, keepdims=True) * normal)
        time = np.linspace(0, 1, FRINGE_POINTS)[None, :, None]
        length = rng.uniform(0.07, 0.26, (len(start), 1, 1))
        height = rng.uniform(0.004, 0.016, (len(start), 1, 1)) * np.sin(np.pi * time)
        points = start[:, None] + length * time * direction[:, None] + height * normal[:, None]
        surface, up = self._surface(points.reshape(-1, 3))
        above = ((points.reshape(-1, 3) - surface) * up).sum(axis=1)
        lifted = points.reshape(-1, 3) + up * (np.clip(above, 0.006, 0.02) - above)[:, None]
        points = np.where(time > 0, lifted.reshape(points.shape), points)
        radii = 0.0011 * (1 - 0.75 * np.linspace(0, 1, FRINGE_POINTS))
        at_ear = (np.abs(points[..., 0]) > 0.68) & (points[..., 1] < body.eyes[1] + 0.28)
        free = ~at_ear.any(axis=1)
        return Strands(roots[free], points[free], radii, tips_stay=False)


def _brow_half_width(x: np.ndarray) -> np.ndarray:
    inner = np.clip((x - 0.08) / 0.05, 0, 1) ** 0.5
    return 0.020 * inner * (1 - 0.85 * np.clip((x - 0.30) / 0.28, 0, 1)) + 0.004
