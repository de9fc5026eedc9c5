"""The person's registered mesh and what grows on it: places on triangles, normals, rigid parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from avatar_viewer.data.makehuman import (
    BASE_MESH,
    EYES,
    METRES_PER_UNIT,
    MakeHuman,
)
from avatar_viewer.data.subdivision import triangulated

TONGUE = slice(13380, 13606)
LOWER_TEETH, UPPER_TEETH = slice(14992, 15060), slice(15060, 15128)
BUST = 4.6
"""How far below the eyes the body is modelled, decimetres."""

LASH_STRIPS = {
    ("left", "lower"): "helper-l-eyelashes-1",
    ("left", "upper"): "helper-l-eyelashes-2",
    ("right", "lower"): "helper-r-eyelashes-1",
    ("right", "upper"): "helper-r-eyelashes-2",
}


@dataclass(frozen=True)
class Places:
    """Points that ride on triangles."""

    triangles: np.ndarray
    """[N,3] vertices."""
    barycentric: np.ndarray
    """[N,3]"""

    def of(self, values: np.ndarray) -> np.ndarray:
        """[N,3] of vertices' values [V,3]."""
        return (values[self.triangles] * self.barycentric[..., None]).sum(axis=1)

    def __getitem__(self, chosen: np.ndarray) -> Places:
        return Places(self.triangles[chosen], self.barycentric[chosen])


class Body:
    """The neutral person and the motion of its vertices; decimetres, y up, z front."""

    def __init__(self, targets: Mapping[str, float], makehuman: MakeHuman) -> None:
        self._makehuman = makehuman
        self.neutral = makehuman.identity(targets) / METRES_PER_UNIT
        """[19158,3]"""
        self.surfaces, texture_corners, texture = read_surfaces(makehuman.folder / BASE_MESH)
        """Group's name -> quads [Q,4]."""
        eyeballs = [self.neutral[eye] for eye in EYES]
        self.eyes = np.concatenate(eyeballs).mean(axis=0)
        """[3] the middle between the eyes."""
        self.eye_distance = abs(float(eyeballs[0].mean(axis=0)[0] - eyeballs[1].mean(axis=0)[0]))
        quads = self.surfaces["body"]
        kept = self.neutral[quads][..., 1].min(axis=1) > self.eyes[1] - BUST
        self.quads = quads[kept]
        """[Q,4] the skin that is modelled."""
        self.texture = texture[texture_corners[kept]].reshape(-1, 2)
        """[4Q,2] texture coordinates of the corners of `quads`."""
        self.used = np.unique(self.quads)
        """Vertices of `quads`."""
        self.triangles = triangulated(self.quads)

    @cached_property
    def normals(self) -> np.ndarray:
        """[19158,3] of the modelled skin, 0 elsewhere."""
        corners = self.neutral[self.triangles]
        twice_area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(self.neutral)
        for corner in range(3):
            np.add.at(normals, self.triangles[:, corner], twice_area / 2)
        return unit(normals)

    @cached_property
    def nose_tip(self) -> np.ndarray:
        """[3]"""
        skin = self.neutral[self.used]
        below_eyes = (skin[:, 1] < self.eyes[1]) & (skin[:, 1] > self.eyes[1] - 0.9)
        nose = skin[below_eyes & (np.abs(skin[:, 0]) < 0.15)]
        return nose[nose[:, 2].argmax()]

    def posed(self, expression: Mapping[str, float]) -> np.ndarray:
        """[19158,3] in an expression."""
        vertices = self.neutral.copy()
        for name, weight in expression.items():
            indices, offsets = self._makehuman.target(
                f"faceunits01/targets/faceunits/{name}.target"
            )
            np.add.at(vertices, indices, weight * offsets)
        return vertices

    def sampled(self, rng: np.random.Generator, count: int, density: np.ndarray) -> Places:
        """Random places, by area times the density [T] of the triangles."""
        corners = self.neutral[self.triangles]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        chance = np.linalg.norm(normal, axis=1) / 2 * density
        chosen = rng.choice(len(self.triangles), count, p=chance / chance.sum())
        share = rng.random((count, 2))
        folded = share.sum(axis=1) > 1
        share[folded] = 1 - share[folded]
        barycentric = np.column_stack([1 - share.sum(axis=1), share])
        return Places(self.triangles[chosen], barycentric)

    def triangle_normals(self) -> np.ndarray:
        """[T,3]"""
        corners = self.neutral[self.triangles]
        return unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))


def read_surfaces(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Of an OBJ file: quads by group; texture corners [Q,4] of the group "body"; texture [T,2]."""
    quads: dict[str, list[list[int]]] = {}
    texture: list[list[float]] = []
    body_corners: list[list[int]] = []
    group = ""
    for line in path.read_text().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "vt":
            texture.append([float(value) for value in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [[int(index) - 1 for index in field.split("/")[:2]] for field in fields]
            quads.setdefault(group, []).append([corner[0] for corner in corners])
            if group == "body":
                body_corners.append([corner[1] for corner in corners])
    return (
        {name: np.array(rows) for name, rows in quads.items()},
        np.array(body_corners),
        np.array(texture),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1 along the last axis; zeros stay."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def rigid_motion(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3,3] and shift [3] that best bring points [N,3] to where they are after."""
    centre, moved = before.mean(axis=0), after.mean(axis=0)
    u, _, v = np.linalg.svd((before - centre).T @ (after - moved))
    mirror = np.diag([1, 1, np.sign(np.linalg.det(v.T @ u.T))])
    rotation = v.T @ mirror @ u.T
    return rotation, moved - rotation @ centre


def grid_quads(rows: int, columns: int, *, flip: bool = False) -> np.ndarray:
    """[(rows - 1) * columns, 4] of a tube: rows of rings, closed around the columns."""
    ids = np.arange(rows * columns).reshape(rows, columns)
    near, far = ids[:-1], ids[1:]
    order = [near, far, np.roll(far, -1, 1), np.roll(near, -1, 1)]
    return np.stack(order[::-1] if flip else order, axis=-1).reshape(-1, 4)
