"""From a tracked face to an expression, without a tracker."""

import numpy as np
import pytest
import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import OPEN_GAP, TrackedFace
from avatar_viewer.expression.live_face import (
    POSE_NOISE_DEG,
    WEIGHT_NOISE,
    LiveFace,
    Rest,
    Steadied,
)
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS, unit_weights

JAW, SMILE, OUT = (ARKIT_UNITS.index(n) for n in ("jawOpen", "mouthSmileLeft", "eyeLookOutLeft"))
MAP = ArkitMap(torch.eye(52)[[JAW, SMILE]], torch.tensor([0.0, 10.0]))
"""z is the jaw, and the smile and 10."""


def face(units: dict[str, float], yaw_deg: float = 0, gap: float | None = None) -> TrackedFace:
    yaw = np.radians(yaw_deg)
    rotation = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    weights = unit_weights(units).astype(float)
    return TrackedFace(np.zeros((478, 2)), weights, rotation, gap)


def test_trembling_is_held_and_motion_is_followed():
    rng, noise = np.random.default_rng(0), 0.02
    steadied = Steadied(noise)
    still = np.array([steadied.follow(rng.normal(0, noise / 4, 3)) for _ in range(400)])
    assert still[50:].std() < noise / 10
    steadied = Steadied(noise)
    course = np.cumsum(rng.normal(0, noise, (400, 3)), axis=0)
    followed = np.array([steadied.follow(row) for row in course])
    assert np.abs(followed - course).max() <= noise / 2 + 1e-9
    assert steadied.follow(course[-1] + 1) == pytest.approx(course[-1] + 1, abs=1e-3)


@pytest.mark.parametrize(("speed", "lag"), [(1, 0.47), (3, 0.1)])
def test_the_lag_of_a_steady_motion(speed, lag):
    """In pictures, as the docstring says; `speed` is in noises a picture."""
    steadied = Steadied(0.02)
    for index in range(40):
        followed = steadied.follow(np.array([index * speed * 0.02]))
    assert (39 * speed * 0.02 - followed[0]) / (speed * 0.02) == pytest.approx(lag, abs=0.01)


def test_weights_become_a_code_with_gaze():
    live = LiveFace(MAP).expression(face({"mouthSmileLeft": 0.5, "eyeLookOutLeft": 0.25}))
    assert live.expression.values == pytest.approx((0, 10.5, 0.25, 0, 0, 0))
    assert live.head_pose_deg == pytest.approx((0, 0, 0))


def test_everything_counts_from_the_face_at_rest():
    rest = Rest.of([face({"mouthSmileLeft": w}, yaw) for w, yaw in ((0.2, 8), (0.2, 10), (1, 10))])
    live_face = LiveFace(MAP, rest)
    at_rest = live_face.expression(face({"mouthSmileLeft": 0.2}, 10))
    assert at_rest.expression.values == pytest.approx((0, 10, 0, 0, 0, 0))
    assert at_rest.head_pose_deg == pytest.approx((0, 0, 0), abs=1e-4)
    full = live_face.expression(face({"mouthSmileLeft": 1.0}, 40))
    assert full.expression.values[1] == pytest.approx(11, abs=WEIGHT_NOISE)
    assert full.head_pose_deg == pytest.approx((30, 0, 0), abs=POSE_NOISE_DEG)
    live_face.rest = None
    assert live_face.expression(face({"mouthSmileLeft": 0.2}, 40)).head_pose_deg[0] > 39


def test_the_jaw_opens_as_far_as_the_lips():
    """A tracker that sees a closed jaw in a smile, and an open one behind closed lips."""
    smiling = face({"mouthSmileLeft": 1, "jawOpen": 0}, gap=0.5 * OPEN_GAP)
    assert LiveFace(MAP).expression(smiling).expression.values[0] == pytest.approx(0.5)
    chewing = face({"jawOpen": 0.6}, gap=0.0)
    assert LiveFace(MAP).expression(chewing).expression.values[0] == 0
    assert chewing.weights is not None and chewing.weights[JAW] == pytest.approx(0.6)
    assert LiveFace(MAP).expression(face({"jawOpen": 0.6})).expression.values[0] > 0.59
    assert LiveFace(MAP).expression(face({}, gap=9.0)).expression.values[0] == 1


def test_what_is_missing_is_told():
    with pytest.raises(AvatarError, match=r"^neutral: expected a face .* found none$"):
        Rest.of([])
    with pytest.raises(AvatarError, match=r"^face tracker: expected a model with weights"):
        LiveFace(MAP).expression(TrackedFace(np.zeros((5, 2))))
    bare = TrackedFace(np.zeros((5, 2)), np.zeros(52))
    assert LiveFace(MAP).expression(bare).head_pose_deg == (0, 0, 0)
