"""Eyeballs with a recessed iris, their corneas, and lashes."""

from __future__ import annotations

import numpy as np

from avatar_viewer.data.makehuman import EYES
from avatar_viewer.data.synthesis.body import LASH_STRIPS, Body, grid_quads, rigid_motion

IRIS_RADIUS = 0.475
"""Of the eyeball's radius."""
SECTORS = 48
LASH_SEED = 5
LASH_RADII = np.array([0.0013, 0.0012, 0.0008, 0.0002])


def eye_grid() -> tuple[np.ndarray, np.ndarray]:
    """Directions [N,3] over an eyeball that looks along z, finer at the iris, and quads."""
    polar = np.concatenate([np.linspace(0, 0.62, 26), np.linspace(0.66, np.pi, 20)])[:, None]
    around = np.linspace(0, 2 * np.pi, SECTORS, endpoint=False)
    rings = np.stack(
        [
            np.sin(polar) * np.cos(around),
            np.sin(polar) * np.sin(around),
            np.broadcast_to(np.cos(polar), (len(polar), SECTORS)),
        ],
        axis=-1,
    )
    return rings.reshape(-1, 3), grid_quads(len(polar), SECTORS)


def eyeballs(body: Body, posed: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each eye the vertices [N,3] of its ball and of its cornea, on `eye_grid`."""
    grid, _ = eye_grid()
    off_axis, front = np.hypot(grid[:, 0], grid[:, 1]), grid[:, 2] > 0
    on_iris = front & (off_axis < IRIS_RADIUS)
    depth = 0.94 - 0.04 * np.clip(1 - off_axis / IRIS_RADIUS, 0, 1)
    rim = 1 - 0.06 * np.clip(1 - (off_axis - IRIS_RADIUS) / 0.06, 0, 1) * front
    ball = grid * np.where(on_iris, depth, rim)[:, None]
    bulge = 0.085 * np.clip(1 - (off_axis / (IRIS_RADIUS * 1.12)) ** 2, 0, 1) * front
    cornea = grid * (1.004 + bulge)[:, None]
    found = []
    for eye in EYES:
        still = body.neutral[eye]
        rotation, shift = rigid_motion(still, posed[eye])
        centre = (still.min(axis=0) + still.max(axis=0)) / 2
        radius = np.linalg.norm(still - centre, axis=1).mean()
        place = rotation @ centre + shift
        found.append(tuple((shape * radius) @ rotation.T + place for shape in (ball, cornea)))
    return found


class Lashes:
    """Single hairs between the columns of MakeHuman's lash strips."""

    def __init__(self, body: Body, upper: int = 64, lower: int = 30) -> None:
        """So many hairs on each lid."""
        self._columns = []
        for (side, lid), group in LASH_STRIPS.items():
            eye = EYES[0] if side == "left" else EYES[1]
            columns = _lash_columns(body, body.surfaces[group], body.neutral[eye].mean(axis=0))
            count = upper if lid == "upper" else lower
            self._columns.append((side, lid, columns, count))

    def posed(self, vertices: np.ndarray) -> np.ndarray:
        """[N,4,3] on the vertices of an expression."""
        rng = np.random.default_rng(LASH_SEED)
        hairs = []
        for side, lid, columns, count in self._columns:
            last = len(columns) - 1.001
            at = rng.random(count)
            at = np.sort(0.12 + 0.88 * at if side == "left" else 0.88 * at) * last
            strip = vertices[columns[:, 1:]]
            roots = _between(strip, at)[:, :1]
            shapes = _between(strip, np.clip(at + rng.normal(0, 0.35, count), 0, last))
            length = rng.uniform(0.75, 1.1, (count, 1, 1)) * (0.95 if lid == "upper" else 0.55)
            hairs.append(roots + (shapes - shapes[:, :1]) * length)
        return np.concatenate(hairs)


def _between(strip: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Columns [N,4,3] of a strip [C,4,3] at the fractional places [N]."""
    column = at.astype(int)
    share = (at - column)[:, None, None]
    return strip[column] * (1 - share) + strip[column + 1] * share


def _lash_columns(body: Body, quads: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """[C,5] vertices of a strip from the lid outward, in the order of x."""
    reach = np.linalg.norm(body.neutral - eye, axis=1)
    neighbours: dict[int, set[int]] = {}
    for quad in quads.tolist():
        for one, other in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    columns = []
    for vertex, around in neighbours.items():
        rises = [reach[other] - reach[vertex] for other in around]
        if len(around) > 3 or min(rises) <= -0.012 or max(rises) <= 0.006:
            continue  # not at the lid
        column = [vertex]
        while len(column) < 5:
            free = [other for other in neighbours[column[-1]] if other not in column]
            if not free or max(reach[free]) - reach[column[-1]] < 0.004:
                break
            column.append(free[int(reach[free].argmax())])
        if len(column) == 5:
            columns.append(column)
    return np.array(sorted(columns, key=lambda column: body.neutral[column[1], 0]))
