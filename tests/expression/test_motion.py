import numpy as np
import pytest

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.motion import blended, joined, looped, noise_of, smoothed
from avatar_viewer.expression.sequence import (
    ExpressionSequence,
    Header,
    load_sequence,
    save_sequence,
)

BLINKS = range(20, 290, 30)
DIM = 56


def sequence(codes, fps: float = 30, **arrays) -> ExpressionSequence:
    return ExpressionSequence(Header(fps, "a test"), np.asarray(codes, np.float32), **arrays)


def blinking(count: int = 300) -> np.ndarray:
    """[T] blinks of three frames."""
    course = np.zeros(count)
    for middle in BLINKS:
        course[middle - 1 : middle + 2] = (0.6, 1, 0.6)
    return course


@pytest.mark.parametrize("fps", [30, 60])
@pytest.mark.parametrize("spread", [True, False])
def test_blinks_stay_and_trembling_goes(fps, spread):
    """A blink of three frames, in one number or over all, keeps its height and its time."""
    random = np.random.default_rng(0)
    direction = np.eye(1, DIM)[0]
    if spread:
        direction = random.normal(size=DIM)
        direction /= np.linalg.norm(direction)
    true = blinking()[:, None] * direction
    rough = true + 0.02 * random.normal(size=true.shape)
    smooth = smoothed(sequence(rough, fps)).codes
    course = smooth @ direction
    for middle in BLINKS:
        assert course[middle] >= 0.9
        assert np.argmax(course[middle - 8 : middle + 9]) == 8
        # As steep before as after: nothing lags.
        assert course[middle - 1 : middle + 2] == pytest.approx((0.6, 1, 0.6), abs=0.08)
    rest = np.abs(blinking()) == 0
    rest &= np.roll(rest, 1) & np.roll(rest, -1)
    assert (smooth - true)[rest].std() < 0.45 * (rough - true)[rest].std()
    bends = [np.abs(np.diff(rows, n=2, axis=0))[rest[1:-1]].mean() for rows in (smooth, rough)]
    assert bends[0] < 0.25 * bends[1]


def test_motion_is_not_damped():
    time_s = np.arange(240) / 30
    for speed, gain in ((0.5, 0.7), (3, 1.05)):
        true = np.stack([np.sin(speed * time_s), np.cos(2 * speed * time_s)], axis=1)
        assert smoothed(sequence(true)).codes == pytest.approx(true, abs=0.02)
        rough = true + 0.02 * np.random.default_rng(0).normal(size=true.shape)
        smooth = smoothed(sequence(rough)).codes
        assert np.abs(smooth - true).mean() < gain * np.abs(rough - true).mean()
        assert np.ptp(smooth, axis=0) == pytest.approx(np.ptp(true, axis=0), abs=0.08)


def test_a_short_clip_that_moves_all_the_time_keeps_its_height():
    course = np.sin(2 * np.pi * np.arange(10) / 9)
    direction = np.random.default_rng(1).normal(size=DIM)
    direction /= np.linalg.norm(direction)
    true = course[:, None] * direction
    rough = true + 0.01 * np.random.default_rng(0).normal(size=true.shape)
    assert noise_of(rough).mean() < 0.015
    smooth = smoothed(sequence(rough, 25)).codes @ direction
    assert np.ptp(smooth) > 0.96 * np.ptp(course)


def test_what_does_not_tremble_stays_as_it_is():
    codes = np.zeros((40, 3), np.float32)
    codes[20] = 1
    assert np.array_equal(smoothed(sequence(codes)).codes, codes)
    for count in (1, 2, 3):
        assert smoothed(sequence(codes[:count])).codes.shape == (count, 3)


def test_smoothing_backwards_is_the_same_and_strength_counts():
    rough = np.random.default_rng(0).normal(size=(90, 4)).cumsum(axis=0) * 0.05
    forwards = smoothed(sequence(rough)).codes
    assert smoothed(sequence(rough[::-1])).codes == pytest.approx(forwards[::-1], abs=1e-5)
    bends = [
        np.abs(np.diff(smoothed(sequence(rough), strength).codes, n=2, axis=0)).mean()
        for strength in (0.3, 1, 3)
    ]
    assert bends[0] > bends[1] > bends[2]


def test_head_pose_is_smoothed_too_and_confidence_stays():
    pose = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    sure = np.linspace(0, 1, 60, dtype=np.float32)
    smooth = smoothed(sequence(np.zeros((60, 2)), confidence=sure, head_pose_deg=pose))
    assert smooth.head_pose_deg is not None
    assert smooth.head_pose_deg.std() < 0.5 * pose.std()
    assert np.array_equal(smooth.confidence, sure)


def test_head_pose_is_kept_in_the_file_and_by_its_operations(tmp_path):
    pose = np.arange(15, dtype=np.float32).reshape(5, 3)
    moving = sequence(np.zeros((5, 2)), 10, head_pose_deg=pose)
    save_sequence(moving, tmp_path / "a.npz")
    assert np.array_equal(load_sequence(tmp_path / "a.npz").head_pose_deg, pose)
    assert np.array_equal(moving.trimmed(0.1, 0.3).head_pose_deg, pose[1:3])
    assert moving.resampled(20).head_pose_deg[1] == pytest.approx((1.5, 2.5, 3.5))
    for wrong, message in (
        (pose[:4], r"head_pose_deg: expected \(5, 3\), found \(4, 3\)"),
        (pose.astype(float), "head_pose_deg: expected float32, found float64"),
        (pose * np.nan, "head_pose_deg: expected finite numbers"),
    ):
        with pytest.raises(AvatarError, match=message):
            sequence(np.zeros((5, 2)), head_pose_deg=wrong)


def test_noise_is_measured_beside_motion():
    rough = np.sin(np.arange(500) / 20)[:, None] * (1, 3) + np.random.default_rng(0).normal(
        size=(500, 2)
    ) * (0.1, 0.3)
    assert noise_of(rough) == pytest.approx((0.1, 0.3), rel=0.15)


def test_between_two_sequences():
    one, other = sequence(np.zeros((6, 2)), 10), sequence(np.ones((8, 2)), 20)
    half = blended(one, other, 0.25)
    assert half.codes == pytest.approx(np.full((4, 2), 0.25)) and half.header.fps == 10
    assert np.array_equal(blended(one, other, 0).codes, one.codes[:4])
    with pytest.raises(AvatarError, match=r"weight: expected a number in 0\.\.1, found 2"):
        blended(one, other, 2)
    with pytest.raises(AvatarError, match="expected expressions of one length, found 2 and 3"):
        blended(one, sequence(np.zeros((6, 3))), 0.5)


def test_one_after_the_other():
    sure, pose = np.ones(3, np.float32), np.zeros((3, 3), np.float32)
    one = sequence(np.zeros((3, 2)), 10, confidence=sure, head_pose_deg=pose)
    both = joined(one, sequence(np.ones((2, 2)), 10, confidence=sure[:2]))
    assert both.codes[:, 0].tolist() == [0, 0, 0, 1, 1]
    assert both.confidence is not None and len(both.confidence) == 5
    assert both.head_pose_deg is None  # the second one has none
    assert len(joined(one, sequence(np.ones((4, 2)), 20)).codes) == 5


@pytest.mark.parametrize("seam", [1, 7, 15])
def test_a_loop_has_no_jump(seam):
    course = np.linspace(0, 3, 30)[:, None]
    loop = looped(sequence(course, 10), seam / 10)
    assert len(loop.codes) == 30 - seam
    steps = np.abs(np.diff(np.concatenate([loop.codes, loop.codes[:1]]), axis=0))
    assert steps.max() < 3 / seam
    assert loop.codes[seam:] == pytest.approx(course[seam : 30 - seam])


def test_a_seam_takes_half_at_most():
    with pytest.raises(AvatarError, match=r"seam: expected at most 0\.5 s, found 0\.6 s"):
        looped(sequence(np.zeros((10, 1)), 10), 0.6)
    assert len(looped(sequence(np.zeros((10, 1)), 10), 0.5).codes) == 5
