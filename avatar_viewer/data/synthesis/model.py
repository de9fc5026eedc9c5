"""The person as a list of meshes and hairs, ready to be drawn; NumPy and SciPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from avatar_viewer.data.makehuman import MakeHuman
from avatar_viewer.data.synthesis.body import TONGUE, Body
from avatar_viewer.data.synthesis.clothes import RING, SECTIONS, Shirt
from avatar_viewer.data.synthesis.eyes import LASH_RADII, Lashes, eye_grid, eyeballs
from avatar_viewer.data.synthesis.hair import BUN_RADIUS, Groom
from avatar_viewer.data.synthesis.mouth import LOWER, UPPER, Teeth

SUPPLIED_LOOK, LATEST_LOOK = 1, 2
"""Looks are kept as they are, so that a data set can be extended; 2 adds pores, lines that the
expression draws, shaded teeth and tongue, smoother hair with a soft hairline, finer lashes and a
ribbed collar."""


@dataclass(frozen=True)
class Mesh:
    """A surface; y up, decimetres."""

    material: str
    vertices: np.ndarray
    """[N,3]"""
    faces: np.ndarray | list[list[int]]
    levels: int = 0
    """Of subdivision."""
    texture: np.ndarray | None = None
    """[corners,2]"""
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """[N] numbers or [N,3] points by name."""
    casts_shadow: bool = True


@dataclass(frozen=True)
class Hairs:
    """Polylines that are drawn as hair; y up, decimetres."""

    material: str
    points: np.ndarray
    """[N,K,3]"""
    radii: np.ndarray
    """What broadcasts to [N,K]."""


class PersonModel:
    """One identity; `parts` poses it."""

    def __init__(self, targets: Mapping[str, float], makehuman: MakeHuman, look: int) -> None:
        self.look = look
        self.body = body = Body(targets, makehuman)
        self._groom = groom = Groom(body)
        self._hair = groom.hair if look < 2 else groom.hair.combed_out()
        self._lashes = Lashes(body) if look < 2 else Lashes(body, upper=120, lower=46)
        self._jaws = tuple(Teeth(body, jaw, outward=look >= 2) for jaw in (UPPER, LOWER))
        self._shirt = Shirt(body)
        self._skin_attributes = {
            "rest": body.neutral[body.used],
            "scalp": self._groom.scalp_shade()[body.used],
            "brow": self._groom.brow_shade()[body.used],
        }
        self._skin_quads = np.searchsorted(body.used, body.quads)

    @property
    def front_teeth(self) -> float:
        """z of the foremost tooth."""
        return float(self._jaws[0].teeth[:, 2].max())

    def parts(self, expression: Mapping[str, float]) -> list[Mesh | Hairs]:
        """All of the person in an expression."""
        posed = self.body.posed(expression)
        return [
            *(self._skin(posed), *self._eyes(posed), *self._mouth(posed)),
            *(*self._hairs(posed), *self._clothes(posed)),
        ]

    def _skin(self, posed: np.ndarray) -> Mesh:
        return Mesh(
            "skin",
            posed[self.body.used],
            self._skin_quads,
            levels=2,
            texture=self.body.texture,
            attributes=self._skin_attributes,
        )

    def _eyes(self, posed: np.ndarray) -> list[Mesh]:
        directions, quads = eye_grid()
        return [
            mesh
            for ball, cornea in eyeballs(self.body, posed)
            for mesh in (
                Mesh("eye", ball, quads, attributes={"eye": directions}),
                Mesh("cornea", cornea, quads, casts_shadow=False),
            )
        ]

    def _mouth(self, posed: np.ndarray) -> list[Mesh]:
        quads = self.body.surfaces["helper-tongue"] - TONGUE.start
        parts = [Mesh("tongue", posed[TONGUE], quads, levels=2)]
        for jaw in self._jaws:
            rotation, shift = jaw.motion(posed)
            shades = {"gap": jaw.gap, "height": jaw.height}
            teeth = jaw.teeth @ rotation.T + shift
            parts.append(Mesh("teeth", teeth, jaw.faces, levels=1, attributes=shades))
            parts.append(Mesh("gum", jaw.gum @ rotation.T + shift, jaw.gum_quads, levels=1))
        return parts

    def _hairs(self, posed: np.ndarray) -> list[Hairs]:
        groom, body = self._groom, self.body
        thin = 1.0 if self.look < 2 else 0.75
        parts = [
            Hairs("hair", self._hair.posed(body, posed), self._hair.radii),
            Hairs("hair", groom.bun, np.array(BUN_RADIUS)),
            Hairs("brow", groom.brows.posed(body, posed), groom.brows.radii),
            Hairs("lash", self._lashes.posed(posed), LASH_RADII * thin),
        ]
        if self.look >= 2:
            parts.append(Hairs("hair", groom.fringe.posed(body, posed), groom.fringe.radii))
        return parts

    def _clothes(self, posed: np.ndarray) -> list[Mesh]:
        rest = {"rest": self._shirt.rest}
        tube, quads = self._shirt.collar(posed)
        around = {"around": np.repeat(np.linspace(0, 1, SECTIONS), RING)}
        return [
            Mesh("shirt", self._shirt.posed(posed), self._shirt.quads, levels=2, attributes=rest),
            Mesh("collar", tube, quads, levels=1, attributes=around),
        ]
