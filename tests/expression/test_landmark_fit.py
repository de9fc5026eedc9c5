"""Landmarks that are made from known poses, codes and people are fitted."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatar_viewer.expression.landmark_fit import LandmarkFit, fit_landmarks
from avatar_viewer.expression.landmark_model import LandmarkModel
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import CodePrior

COUNT, DIM, FRAMES = 120, 5, 20
SIDE_PX = 640
RNG = np.random.default_rng(3)
ANGLES_DEG = RNG.uniform(-25, 25, (FRAMES, 3))
CODES = RNG.normal(size=(FRAMES, DIM))
PRIOR = CodePrior(torch.zeros(DIM), torch.eye(DIM))


def model(spread_mm: float = 0.3) -> LandmarkModel:
    """A face like a shell; each number of the code moves the landmarks around a place of its own,
    as an expression does."""
    across, up = RNG.uniform(-60, 60, (2, COUNT))
    places = np.stack([across, up, 60 - (across**2 + up**2) / 90], axis=1)
    middles = places[:: COUNT // DIM][:DIM]
    near = np.exp(-((places[:, None] - middles) ** 2).sum(axis=2) / 25**2)
    moves = near[:, None] * RNG.normal(size=(3, DIM)) * 6
    spread = np.full(COUNT, spread_mm)
    return LandmarkModel(places, moves, spread, np.zeros(len(ARKIT_UNITS)), np.zeros(2))


def pictured(
    of: LandmarkModel, codes: np.ndarray = CODES, shape: np.ndarray | float = 0.0
) -> np.ndarray:
    """Landmarks [T,N,2] before a camera of 30 degrees, at 450 mm."""
    points = of.places_mm + shape + np.einsum("nie,te->tni", of.moves_mm, codes)
    turned = points @ Rotation.from_euler("YXZ", ANGLES_DEG, True).as_matrix().transpose(0, 2, 1)
    turned = turned + np.array((20, -10, -450))
    focal_px = SIDE_PX / 2 / np.tan(np.radians(30) / 2)
    flat = focal_px * turned[..., :2] / -turned[..., 2:]
    return SIDE_PX / 2 + flat * (1, -1)


def fit(of: LandmarkModel, landmarks: np.ndarray, expected=None) -> LandmarkFit:
    expected = np.zeros((len(landmarks), DIM)) if expected is None else expected
    return fit_landmarks(of, PRIOR, expected, landmarks, SIDE_PX)


def vertex_error_mm(of: LandmarkModel, codes: np.ndarray) -> float:
    """Mean distance of the landmarks at these codes from those at the true ones."""
    moved = np.einsum("nie,te->tni", of.moves_mm, codes - CODES)
    return float(np.linalg.norm(moved, axis=2).mean())


@pytest.fixture(scope="module")
def face() -> LandmarkModel:
    return model()


def test_codes_and_poses_are_found(face: LandmarkModel):
    found = fit(face, pictured(face))
    still_mm = vertex_error_mm(face, np.zeros_like(CODES))
    assert vertex_error_mm(face, found.codes) < 0.15 * still_mm
    assert found.error_mm.max() < 0.5
    truth = Rotation.from_euler("YXZ", ANGLES_DEG, True)
    off_deg = (Rotation.from_matrix(found.rotations) * truth.inv()).magnitude() * 180 / np.pi
    assert off_deg.mean() < 3


def test_another_persons_shape_is_no_expression(face: LandmarkModel):
    shape = RNG.normal(size=(COUNT, 3)) * 3
    found = fit(face, pictured(face, shape=shape))
    still_mm = vertex_error_mm(face, np.zeros_like(CODES))
    assert vertex_error_mm(face, found.codes) < 0.3 * still_mm


def test_without_sharp_landmarks_what_is_expected_stays(face: LandmarkModel):
    blurred = LandmarkModel(
        face.places_mm, face.moves_mm, np.full(COUNT, 1e4), face.trust, face.gaze_gain
    )
    expected = CODES[::-1]
    found = fit(blurred, pictured(face), expected)
    assert np.abs(found.codes - expected).max() < 0.05
    moved = fit(face, pictured(face), expected)
    assert np.abs(moved.codes - CODES).mean() < 0.3 * np.abs(expected - CODES).mean()


def test_landmarks_that_are_seen_badly_do_not_count(face: LandmarkModel):
    landmarks, spread = pictured(face), face.spread_mm.copy()
    landmarks[:, :30] += RNG.normal(size=(FRAMES, 30, 2)) * 60
    spread[:30] = 30
    wise = LandmarkModel(face.places_mm, face.moves_mm, spread, face.trust, face.gaze_gain)
    assert vertex_error_mm(face, fit(wise, landmarks).codes) < 0.5 * vertex_error_mm(
        face, fit(face, landmarks).codes
    )


def test_a_poor_fit_says_so(face: LandmarkModel):
    landmarks = pictured(face)
    landmarks[3] += RNG.normal(size=(COUNT, 2)) * 20
    error_mm = fit(face, landmarks).error_mm
    assert error_mm.argmax() == 3 and error_mm[3] > 5 * np.median(error_mm)


def test_one_frame_alone(face: LandmarkModel):
    found = fit(face, pictured(face)[:1])
    assert found.codes.shape == (1, DIM) and np.isfinite(found.codes).all()
