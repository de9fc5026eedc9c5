"""Where synthetic heads are sampled: the same places of MakeHuman's skin on every head.

Fixed triangles and barycentrics of one Catmull-Clark level, denser on the face, on lips and lids
most, and fixed directions from the eyeballs' centres: point i of one head corresponds to point i
of every other. All numbers are in the head's frame and units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import trimesh

from avatar_viewer.data.makehuman import (
    BODY_VERTICES,
    EYES,
    MakeHuman,
    macro_targets,
)
from avatar_viewer.data.subdivision import catmull_clark, triangulated
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights, unit_weights
from avatar_viewer.head.frame import BOX_MAX, BOX_MIN, ORIGIN_FROM_EYES_M, UNITS_PER_METRE

BODY_POINTS, EYE_POINTS = 14000, 600
NEAR_POINTS, BOX_POINTS = 14000, 6000
NEAR_SIGMAS = (0.008, 0.05)
"""Spread of the points beside the surface, units: half of them each."""
OPEN_EYE = 0.6
"""Cosine to the front beyond which an eyeball is open to the air: behind lies its socket."""
CANONICAL_WEIGHTS = unit_weights({"jawOpen": 0.35})
"""[52] the canonical pose: lips apart, so that they are two surfaces."""

MIRRORED_ANCHORS = {
    "inner eye corner": (11486, 4868),
    "outer eye corner": (6810, 26),
    "upper lid": (6929, 151),
    "lower lid": (6826, 42),
    "inner brow": (6983, 208),
    "outer brow": (7005, 232),
    "nostril": (7081, 319),
    "mouth corner": (7301, 560),
    "side of the upper lip": (11953, 5351),
    "side of the lower lip": (7238, 483),
    "cheek": (11765, 5151),
    "jaw angle": (7459, 739),
    "ear": (12037, 5438),
    "temple": (7040, 271),
    "side of the chin": (7618, 916),
    "side of the back": (11987, 5387),
}
"""Skin vertices of the subject's left and right side."""
MIDDLE_ANCHORS = {
    "nose tip": 5054,
    "upper lip": 466,
    "lower lip": 495,
    "chin": 5211,
    "forehead": 244,
    "crown": 881,
    "throat": 803,
}
ANCHOR_VERTICES = np.array(
    [vertex for pair in MIRRORED_ANCHORS.values() for vertex in pair]
    + list(MIDDLE_ANCHORS.values())
)
"""[39]; 2k and 2k+1 mirror each other for k < 16, the rest lie on the plane of symmetry."""

LIP_AND_LID_ANCHORS = (*range(8), *range(14, 20), 33, 34)
"""Corners, lids and lips of eyes and mouth."""
DETAIL_ANCHORS = (*LIP_AND_LID_ANCHORS, 12, 13, 32)
"""Around these a mesh keeps its detail: lips, lids, nostrils and the nose's tip."""


@dataclass(frozen=True)
class HeadScans:
    """One identity in canonical pose and in S expressions; float32, world units."""

    canonical: np.ndarray
    """[N,3] registered points in canonical pose."""
    normals: np.ndarray
    """[N,3] outward unit normals in canonical pose."""
    on_surface: np.ndarray
    """[N] uint8, 1 = on the head's outer surface and in the box (an eye socket is neither)."""
    anchors: np.ndarray
    """[39,3] in canonical pose."""
    posed: np.ndarray
    """[S,N,3] the registered points of every scan."""
    weights: np.ndarray
    """[S,52] ARKit weights of every scan."""
    gaze: np.ndarray
    """[S,4] see `makehuman.gaze_of_weights`."""
    sdf_points: np.ndarray
    """[M,3] near the canonical surface and all over the box."""
    sdf: np.ndarray
    """[M] signed distance of skin and eyeballs, positive outside."""


class HeadSampler:
    """Where heads are sampled: the same places on every head."""

    def __init__(self, makehuman: MakeHuman | None = None) -> None:
        self.makehuman = makehuman or MakeHuman()
        self.subdivide, quads = catmull_clark(self.makehuman.body_quads, BODY_VERTICES)
        self.triangles = triangulated(quads)
        rng = np.random.default_rng(20240)
        mean_head = macro_targets(0.5, 0.5, 0.5, 0.5, (1 / 3, 1 / 3, 1 / 3))
        corners = (self.subdivide @ self._neutral(mean_head)[:BODY_VERTICES])[self.triangles]
        probability = _sampling_density(corners)
        chosen = rng.choice(len(corners), BODY_POINTS, p=probability / probability.sum())
        self._corner_rows = self.triangles[chosen]
        barycentric = rng.dirichlet((1.0, 1.0, 1.0), BODY_POINTS)
        self._corner_weights = barycentric[:, :, None]
        directions = rng.normal(loc=(0, 0, 1), size=(2, EYE_POINTS, 3))
        self._eye_directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        units = self.makehuman.body_units * UNITS_PER_METRE
        self._unit_moves = units
        skin_moves = np.stack([self._skin_points(move) for move in units])
        still = np.zeros((len(ARKIT_UNITS), 2 * EYE_POINTS, 3))
        self.point_moves = np.concatenate([skin_moves, still], axis=1)
        """[52,N,3] how far each ARKit unit moves the registered points; eyeballs stay."""

    def _neutral(self, targets: Mapping[str, float]) -> np.ndarray:
        vertices = self.makehuman.identity(targets)
        eyes = np.mean([vertices[eye].mean(axis=0) for eye in EYES], axis=0)
        return (vertices - eyes - ORIGIN_FROM_EYES_M) * UNITS_PER_METRE

    def _skin_points(self, body: np.ndarray) -> np.ndarray:
        return ((self.subdivide @ body)[self._corner_rows] * self._corner_weights).sum(axis=1)

    def scans(
        self, targets: Mapping[str, float], weights: np.ndarray, rng: np.random.Generator
    ) -> HeadScans:
        """The head of identity `targets` (file: weight) in the expressions `weights` [S,52]."""
        registered, body, eyes = self._canonical(targets)
        near = registered["canonical"][registered["on_surface"] > 0]
        near = near[rng.integers(len(near), size=NEAR_POINTS)]
        sigma = np.repeat(NEAR_SIGMAS, NEAR_POINTS // len(NEAR_SIGMAS))[:, None]
        sdf_points = np.concatenate(
            [
                near + rng.normal(size=near.shape) * sigma,
                rng.uniform(BOX_MIN, BOX_MAX, size=(BOX_POINTS, 3)),
            ]
        )
        offsets = np.tensordot(weights - CANONICAL_WEIGHTS, self.point_moves, axes=1)
        arrays = registered | {
            "posed": registered["canonical"] + offsets,
            "weights": weights,
            "gaze": gaze_of_weights(weights),
            "sdf_points": sdf_points,
            "sdf": self._signed_distance(sdf_points, body, eyes),
        }
        return HeadScans(
            **{
                name: array if array.dtype == np.uint8 else array.astype(np.float32)
                for name, array in arrays.items()
            }
        )

    def registered_points(
        self, targets: Mapping[str, float], weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Canonical points [N,3] on the outer surface and, for weights [S,52], posed [S,N,3]."""
        registered, _, _ = self._canonical(targets)
        kept = registered["on_surface"] > 0
        canonical = registered["canonical"][kept]
        moves = self.point_moves[:, kept].astype(np.float32)
        offsets = np.tensordot(weights - CANONICAL_WEIGHTS, moves, axes=1)
        return canonical.astype(np.float32), (canonical + offsets).astype(np.float32)

    def mesh(self, targets: Mapping[str, float], weights: np.ndarray) -> trimesh.Trimesh:
        """The true mesh of identity `targets` at ARKit weights [52]: skin in the box, eyeballs."""
        _, body, eyes = self._canonical(targets)
        change = np.asarray(weights - CANONICAL_WEIGHTS, dtype=np.float64)
        body = body + self.subdivide @ np.tensordot(change, self._unit_moves, axes=1)
        corners = body[self.triangles]
        inside = ((corners > BOX_MIN) & (corners < BOX_MAX)).all(axis=(1, 2))
        balls = []
        for centre, radius in eyes:
            balls.append(trimesh.creation.icosphere(subdivisions=4, radius=radius))
            balls[-1].apply_translation(centre)
        skin = trimesh.Trimesh(body, self.triangles[inside], process=False)
        skin.remove_unreferenced_vertices()
        whole = trimesh.util.concatenate([skin, *balls])
        assert isinstance(whole, trimesh.Trimesh)
        return whole

    def _canonical(self, targets: Mapping[str, float]) -> tuple[dict, np.ndarray, list]:
        neutral = self._neutral(targets)
        eyes = []
        for eye in EYES:
            centre = (neutral[eye].min(axis=0) + neutral[eye].max(axis=0)) / 2
            eyes.append((centre, np.linalg.norm(neutral[eye] - centre, axis=1).mean()))
        vertices = neutral[:BODY_VERTICES] + np.tensordot(
            CANONICAL_WEIGHTS.astype(np.float64), self._unit_moves, axes=1
        )
        body = self.subdivide @ vertices
        corners = body[self._corner_rows]
        skin = (corners * self._corner_weights).sum(axis=1)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        balls = [
            centre + radius * ray
            for (centre, radius), ray in zip(eyes, self._eye_directions, strict=True)
        ]
        canonical = np.concatenate([skin, *balls])
        outer = np.concatenate(
            [
                ~_in_sockets(skin, normals, eyes),
                (self._signed_distance(np.concatenate(balls), body, []) > -1e-3)
                & (self._eye_directions.reshape(-1, 3)[:, 2] > OPEN_EYE),
            ]
        )
        in_box = np.all((canonical > BOX_MIN) & (canonical < BOX_MAX), axis=1)
        registered = {
            "canonical": canonical,
            "normals": np.concatenate([normals, *self._eye_directions]),
            "on_surface": (outer & in_box).astype(np.uint8),
            "anchors": vertices[ANCHOR_VERTICES],
        }
        return registered, body, eyes

    def _signed_distance(self, points: np.ndarray, body: np.ndarray, eyes: list) -> np.ndarray:
        try:
            import igl
        except ImportError as error:
            raise AvatarError(
                "package igl: expected for signed distances, found none; "
                "pip install avatar-viewer[synthetic]"
            ) from error
        sign = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
        found = igl.signed_distance(points, body, self.triangles, sign_type=sign)
        distance = np.asarray(found[0])
        for centre, radius in eyes:
            distance = np.minimum(distance, np.linalg.norm(points - centre, axis=1) - radius)
        return distance


def _sampling_density(corners: np.ndarray) -> np.ndarray:
    """[T] how many points each triangle [T,3,3] deserves: by area, face and features more."""
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    centre = corners.mean(axis=1)
    x, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    inside = np.all((centre > np.array(BOX_MIN) - 0.03) & (centre < np.array(BOX_MAX)), axis=1)
    face = (z > 0.05) & (y > -0.35) & (y < 0.3)
    lids = (np.hypot((x - 0.115) / 0.08, (y - 0.11) / 0.06) < 1) & (z > 0.2)
    lips = (np.hypot(x / 0.13, (y + 0.14) / 0.09) < 1) & (z > 0.24)
    nose = (x < 0.08) & (y > -0.07) & (y < 0.08) & (z > 0.3)
    ears = (x > 0.24) & (np.abs(y - 0.1) < 0.2) & (np.abs(z + 0.05) < 0.2)
    return area * inside * (1 + 4 * face + 12 * lids + 12 * lips + 4 * nose + 2 * ears)


def _in_sockets(skin: np.ndarray, normals: np.ndarray, eyes: list) -> np.ndarray:
    """[N] whether a skin point lies in an eyeball, or behind one in its socket."""
    hidden = np.zeros(len(skin), dtype=bool)
    for centre, radius in eyes:
        ray = skin - centre
        distance = np.linalg.norm(ray, axis=1)
        faces_eye = (ray * normals).sum(axis=1) < -0.5 * distance
        hidden |= (distance < radius - 1e-3) | ((distance < radius + 0.012) & faces_eye)
    return hidden
