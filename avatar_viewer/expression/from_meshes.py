"""Expressions of another person's tracked meshes: who it is comes away, the expression stays.

The identity is fitted once, to a frame in which the face rests; then every frame gets the code
that moves this identity's surface to where the mesh is. Vertices correspond between frames, and
need not to those of any template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.head_motion import pose_deg, stabilized
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.head.fit import fit_expressions
from avatar_viewer.head.fit_scan import (
    CodePrior,
    carried,
    carried_back,
    fit_scan,
    landmark_alignment,
)
from avatar_viewer.head.nphm import GAZE_DIM, NPHM
from avatar_viewer.head.scan import Scan

CANDIDATES, PLACES = 8000, 4000
"""Vertices in the head model's box that are looked at, and those of them that are compared."""
FEWEST_PLACES = 100
EVEN_SHARE = 0.2
"""Places are drawn by how much they tell of expressions, with so much of the mean for all."""
RIDGE_MM2 = 30.0
"""Weight of squared standard deviations of codes beside squared millimetres, where codes start."""
STEPS = 120
CHUNK = 256
"""Frames that are fitted together."""
STILL_MM = 0.5
"""What expressions move less counts as the skull, which shows how the head turns."""
DOUBTFUL_MM = 2.0
"""At this distance of the mesh from the fit the confidence is a half."""


@dataclass(frozen=True, eq=False)
class MeshFit:
    """What was found of T frames."""

    codes: Tensor
    """[T,E] z_exp."""
    error_mm: np.ndarray
    """[T] mean distance of the vertices from where the code puts them."""
    head_pose_deg: np.ndarray
    """[T,3] float32: how the head is turned since the frame at rest, see `pose_deg`."""

    def sequence(self, fps: float, source: str) -> ExpressionSequence:
        """Looking straight ahead: meshes do not tell gaze."""
        gaze = torch.zeros(len(self.codes), GAZE_DIM)
        sure = 1 / (1 + (self.error_mm / DOUBTFUL_MM) ** 2)
        return ExpressionSequence(
            Header(fps, source),
            torch.cat([self.codes, gaze], dim=1).numpy(),
            sure.astype(np.float32),
            self.head_pose_deg,
        )


@dataclass(frozen=True, eq=False)
class TrackedPerson:
    """Somebody's identity, and which vertices of its meshes lie where on it."""

    nphm: NPHM
    identity: Tensor
    """[D]."""
    at_rest: Tensor
    """[E] z_exp of the frame that the identity was fitted to."""
    places: np.ndarray
    """[P] which vertices are compared."""
    canonical: Tensor
    """[P,3] where they are in canonical pose, head units."""
    rest: np.ndarray
    """[P,3] where they are at rest, in the head model's frame."""
    influence: Tensor
    """[P,3,R] millimetres by which standard deviations of expressions move them."""
    axes: Tensor
    """[R,E] these deviations."""
    head_from_scan: np.ndarray
    """[3,3] rotation of the meshes' frame to the head model's."""

    def fit(self, frames: np.ndarray) -> MeshFit:
        """Codes of frames [T,N,3] in head units."""
        reach_mm = self.influence.square().sum(dim=(1, 2)).sqrt().numpy()
        stillness = 1 / (reach_mm + STILL_MM) ** 2
        moved, turned = stabilized(self.rest, frames[:, self.places], stillness)
        found = [
            fit_expressions(
                self.nphm,
                self.identity,
                self.canonical,
                posed,
                initial=self._linear(posed),
                steps=STEPS,
            )
            for posed in torch.from_numpy(moved).split(CHUNK)
        ]
        codes, errors_mm = zip(*found, strict=True)
        pose = pose_deg(self.head_from_scan @ turned)
        return MeshFit(torch.cat(codes), torch.cat(errors_mm).numpy(), pose)

    def _linear(self, posed: Tensor) -> Tensor:
        """Codes [T,E] near those of stabilized frames [T,P,3], as if points moved along lines."""
        to_mm = 1000 / self.nphm.config["units_per_metre"]
        influence = self.influence.flatten(0, 1)
        moves_mm = (posed - torch.from_numpy(self.rest)).flatten(1) * to_mm
        gram = influence.T @ influence + RIDGE_MM2 * torch.eye(len(self.axes))
        deviations = torch.linalg.solve(gram, (moves_mm @ influence).T).T
        return self.at_rest + deviations @ self.axes


def fit_person(
    nphm: NPHM,
    priors: tuple[CodePrior, CodePrior],
    at_rest: Tensor | None,
    scan: Scan,
    vertices: np.ndarray,
) -> TrackedPerson:
    """From a mesh of a face at rest: its surface and its vertices [N,3], both in head units.

    `priors` are of identities and expressions, `at_rest` the code of a face at rest; without one it
    is searched for. Where the scan has landmarks the mesh may lie anywhere.
    """
    align = bool(scan.landmarks)
    start = torch.eye(4)
    if align:
        start = landmark_alignment(nphm.anchors(priors[0].mean).detach(), scan)
    points = torch.from_numpy(vertices)
    places = _places(nphm, points, start)
    expression = priors[1] if at_rest is None else at_rest
    person = fit_scan(nphm, _in_box(nphm, scan, start), priors[0], expression, align=align)
    z, identity = person.expression, person.identity
    assert z is not None
    rest = carried(Scan(points[places]), person.head_from_scan).points
    with torch.no_grad():
        canonical, lost = carried_back(nphm, rest, identity, z)
        canonical, rest, places = canonical[~lost], rest[~lost], places[~lost.numpy()]
        if len(canonical) < FEWEST_PLACES:
            expected = f"a face at rest, of which {FEWEST_PLACES} vertices fit the head model"
            raise AvatarError(f"neutral mesh: expected {expected}, found {len(canonical)}")
        influence = influence_mm(nphm, identity, canonical, z, priors[1].axes)
    chosen = telling(influence)
    return TrackedPerson(
        nphm,
        identity,
        z,
        places[chosen],
        canonical[chosen],
        rest.numpy()[chosen],
        influence[chosen],
        priors[1].axes,
        person.head_from_scan[:3, :3].double().numpy(),
    )


def influence_mm(
    nphm: NPHM, identity: Tensor, canonical: Tensor, z: Tensor, axes: Tensor
) -> Tensor:
    """[N,3,R] millimetres by which each of the axes [R,E], added to a code, moves points [N,3]."""
    before = nphm.deform(canonical, identity, z)
    moves = [nphm.deform(canonical, identity, z + axis) - before for axis in axes]
    return torch.stack(moves, dim=-1) * 1000 / nphm.config["units_per_metre"]


def telling(influence: Tensor) -> np.ndarray:
    """At most PLACES of the points of `influence` [N,3,R], drawn by their leverage on codes: how
    much each tells that others do not, however little it moves."""
    gram = torch.einsum("nir,nis->rs", influence, influence)
    gram = gram + RIDGE_MM2 * torch.eye(len(gram))
    leverage = torch.einsum("nir,rs,nis->n", influence, torch.linalg.inv(gram), influence)
    share = leverage.double().clamp(min=0).numpy()
    share = share + EVEN_SHARE * share.mean() + 1e-12
    count = min(PLACES, len(share))
    return np.random.default_rng(0).choice(len(share), count, replace=False, p=share / share.sum())


def _inside(nphm: NPHM, points: Tensor, motion: Tensor) -> Tensor:
    """[N] bool: which points lie in the head model's box after a rigid motion."""
    low, high = (torch.tensor(nphm.config[name]) for name in ("box_min", "box_max"))
    moved = carried(Scan(points), motion).points
    return ((moved > low) & (moved < high)).all(dim=1)


def _places(nphm: NPHM, points: Tensor, motion: Tensor) -> np.ndarray:
    """Which of the points [N,3] are looked at."""
    inside = np.flatnonzero(_inside(nphm, points, motion).numpy())
    if len(inside) < FEWEST_PLACES:
        expected = f"at least {FEWEST_PLACES} vertices in the head model's box"
        raise AvatarError(f"meshes: expected {expected}, found {len(inside)}; see --landmarks")
    return np.random.default_rng(0).permutation(inside)[:CANDIDATES]


def _in_box(nphm: NPHM, scan: Scan, motion: Tensor) -> Scan:
    inside = _inside(nphm, scan.points, motion)
    normals = None if scan.normals is None else scan.normals[inside]
    return Scan(scan.points[inside], normals, scan.landmarks)
