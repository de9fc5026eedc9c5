"""A tracker that is made here looks at a head of which everything is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Z_DIM, tiny_avatar

from avatar_viewer.avatar import Avatar
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression import landmark_model as module
from avatar_viewer.expression.face_tracker import TrackedFace
from avatar_viewer.expression.landmark_model import (
    Sighting,
    landmark_model,
    learn,
    linear_moves,
    nearest_vertices,
    shown_motion,
    sightings,
)
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights
from avatar_viewer.raster.camera import project
from avatar_viewer.stages import ExpressionCode

UNIT_MM = 250.0
RNG = np.random.default_rng(5)
TRUST = np.zeros(len(ARKIT_UNITS))
TRUST[[3, 8, 24]] = 0.5, 1.0, 0.25


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    avatar = tiny_avatar()
    matrix = torch.from_numpy(np.random.default_rng(6).normal(size=(Z_DIM, len(ARKIT_UNITS))))
    avatar.head.arkit_map = ArkitMap(matrix.float(), torch.zeros(Z_DIM))
    return avatar


def seen(avatar: Avatar, noise_px: float = 0.0) -> tuple[list[Sighting], np.ndarray]:
    """Sightings of some vertices of the front; and which these are."""
    head = avatar.head
    assert head.arkit_map is not None
    front = np.flatnonzero(head.head.vertices[:, 2].numpy() > 0.1)
    tracked = RNG.choice(front, 20, replace=False)
    found = []
    for index in range(24):
        weights = np.zeros(len(ARKIT_UNITS))
        if index > 0:
            weights[TRUST > 0] = RNG.uniform(0, 0.24, 3)
        expression = head.arkit_map.expression(weights)
        view = replace(
            avatar.info.default_view, azimuth_deg=float(RNG.uniform(-30, 30) * (index > 0))
        )
        camera = view.camera(400, 400)
        vertices = head.pose(expression).vertices.numpy()
        pixels = project(torch.from_numpy(vertices[tracked]), camera)[0].numpy()
        pixels = pixels + RNG.normal(size=pixels.shape) * noise_px
        # What the tracker says is more than the truth where it is to be trusted less.
        told = np.divide(weights, TRUST, out=np.zeros_like(weights), where=TRUST > 0)
        values = np.array(expression.values)
        face = TrackedFace(pixels, np.clip(told, 0, 1))
        found.append(Sighting(values[:-4], values[-4:], vertices, camera, face))
    return found, tracked


def test_landmarks_find_their_vertices(avatar: Avatar):
    found, tracked = seen(avatar)
    vertices = nearest_vertices(found, UNIT_MM)
    places = avatar.head.head.vertices.numpy()
    assert np.linalg.norm(places[vertices] - places[tracked], axis=1).max() < 1e-3
    share, spread_mm = shown_motion(found, vertices, UNIT_MM)
    assert share.min() > 0.99 and spread_mm.max() < 0.01


def test_spread_is_that_of_the_tracker(avatar: Avatar):
    found, tracked = seen(avatar, noise_px=1.5)
    _, spread_mm = shown_motion(found, tracked, UNIT_MM)
    camera = found[0].camera
    distance = avatar.info.default_view.distance
    expected_mm = 1.5 * np.sqrt(2) * distance / camera.focal_px * UNIT_MM
    assert spread_mm.mean() == pytest.approx(expected_mm, rel=0.25)


def test_motion_that_is_shown_too_weakly_is_known(avatar: Avatar):
    found, tracked = seen(avatar)
    at_rest, weak = torch.from_numpy(found[0].vertices[tracked]), []
    for sighting in found:
        rest = project(at_rest, sighting.camera)[0].numpy()
        landmarks = rest + 0.6 * (sighting.face.landmarks - rest) + (3, 0)
        weak.append(replace(sighting, face=replace(sighting.face, landmarks=landmarks)))
    share, spread_mm = shown_motion(weak, tracked, UNIT_MM)
    motion = np.stack([sighting.vertices[tracked] - at_rest.numpy() for sighting in found])
    moved_mm = np.sqrt((motion**2).sum(axis=2).mean(axis=0)) * UNIT_MM
    assert share[moved_mm > 8 * module.STILL_MM] == pytest.approx(0.6, abs=0.03)
    assert spread_mm.max() < 0.5


def test_codes_move_landmarks_as_the_head_model_does(avatar: Avatar):
    head, vertices = avatar.head, np.array([5, 50, 200])
    codes = torch.randn(60, Z_DIM, generator=torch.Generator().manual_seed(0)) * 0.3
    places, moves = linear_moves(head, vertices, codes)
    errors, motion = [], []
    for z in codes[:20]:
        posed = head.pose(ExpressionCode((*z.tolist(), 0, 0, 0, 0))).vertices[vertices].numpy()
        errors.append(np.abs(places + moves @ z.numpy() - posed).mean())
        motion.append(np.abs(posed - head.head.vertices[vertices].numpy()).mean())
    assert np.mean(errors) < 0.3 * np.mean(motion)


def test_units_that_the_tracker_exaggerates_are_trusted_less(
    avatar: Avatar, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MM_RIDGE", 0.1)
    found, _ = seen(avatar)
    codes = torch.randn(60, Z_DIM, generator=torch.Generator().manual_seed(0)) * 0.3
    model = learn(avatar.head, codes, found)
    assert np.allclose(model.trust, TRUST, atol=0.05)
    told = [replace(s, face=replace(s.face, lips_gap=0.1)) for s in found]
    assert learn(avatar.head, codes, told).trust[ARKIT_UNITS.index("jawOpen")] == 1
    blind = [replace(s, face=replace(s.face, weights=None)) for s in found]
    without = learn(avatar.head, codes, blind)
    assert not without.trust.any() and not without.gaze_gain.any()


def test_gaze_that_is_told_too_weakly_is_made_stronger(avatar: Avatar):
    found, _ = seen(avatar)
    told = []
    for sighting in found:
        weights = np.zeros(len(ARKIT_UNITS))
        yaw, pitch = RNG.uniform(-0.5, 0.5, 2)
        for name, amount in (("Out", yaw), ("In", -yaw), ("Up", pitch), ("Down", -pitch)):
            weights[ARKIT_UNITS.index(f"eyeLook{name}Left")] = max(0, amount)
        for name, amount in (("In", yaw), ("Out", -yaw), ("Up", pitch), ("Down", -pitch)):
            weights[ARKIT_UNITS.index(f"eyeLook{name}Right")] = max(0, amount)
        true_gaze = gaze_of_weights(weights) * (1.25, 0.5, 1.25, 0.5)
        told.append(replace(sighting, gaze=true_gaze, face=replace(sighting.face, weights=weights)))
    rest = np.zeros(len(ARKIT_UNITS))
    told[0] = replace(told[0], gaze=np.zeros(4), face=replace(told[0].face, weights=rest))
    assert module._gaze_gain(told) == pytest.approx((1.25, 0.5))


class CountingTracker:
    """Sees a face of five landmarks in every picture that it is to see one in."""

    def __init__(self, every: int = 1) -> None:
        self.name, self.every, self.pictures = f"counting {every}", every, 0

    def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
        self.pictures += 1
        if self.pictures % self.every:
            return []
        small = TrackedFace(np.ones((5, 2)))
        return [small, TrackedFace(5 * np.ones((5, 2)) + np.linspace(0, 20, 5)[:, None])]


def test_the_avatar_is_looked_at_once_and_the_model_kept(tmp_path: Path, avatar: Avatar):
    folder, cache, said = tmp_path / "avatar", tmp_path / "cache", []
    avatar.save(folder)
    tracker, codes = CountingTracker(), torch.randn(60, Z_DIM)
    first = landmark_model(folder, codes, tracker, said.append, cache)
    assert tracker.pictures == module.PICTURES and len(said) == 1
    second = landmark_model(folder, codes, tracker, said.append, cache)
    assert tracker.pictures == module.PICTURES and len(said) == 1
    assert np.allclose(first.places_mm, second.places_mm, atol=1e-3)
    landmark_model(folder, codes, CountingTracker(every=2), said.append, cache)
    assert len(said) == 2


def test_an_avatar_without_a_visible_face_is_refused(avatar: Avatar):
    with pytest.raises(AvatarError, match="expected a face that the tracker sees, found one in 4"):
        sightings(avatar, CountingTracker(every=12))


def test_the_largest_face_counts(avatar: Avatar):
    found = sightings(avatar, CountingTracker())
    assert len(found) == module.PICTURES
    assert all(sighting.face.size_px == 20 for sighting in found)
    assert not found[0].gaze.any()
