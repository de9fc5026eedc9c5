import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatar_viewer.expression.head_motion import pose_deg, stabilized


def test_a_turning_head_is_kept_apart():
    random = np.random.default_rng(0)
    rest = random.normal(size=(200, 3))
    turns = Rotation.from_euler("YXZ", [(0, 0, 0), (30, 0, 0), (5, -20, 8)], degrees=True)
    frames = rest @ turns.as_matrix().transpose(0, 2, 1) + random.normal(size=(3, 1, 3))
    moved = frames.copy()
    moved[:, :60] += 0.5  # what expressions move, and a neck that goes its own way
    weights = np.where(np.arange(200) < 50, 0.01, 1.0)
    back, rotations = stabilized(rest, moved, weights)
    assert back[:, 60:] == pytest.approx(np.repeat(rest[None, 60:], 3, axis=0), abs=0.01)
    assert pose_deg(rotations) == pytest.approx(
        np.array([(0, 0, 0), (30, 0, 0), (5, 20, 8)]), abs=0.5
    )


def test_axes_of_the_head_pose():
    """The nose, in front, goes to the subject's left (x) by yaw and up (y) by pitch."""
    for euler, expected, axis in (((20, 0, 0), (20, 0, 0), 0), ((0, -20, 0), (0, 20, 0), 1)):
        matrix = Rotation.from_euler("YXZ", euler, degrees=True).as_matrix()
        assert (matrix @ (0, 0, 1))[axis] > 0.3
        assert pose_deg(matrix[None])[0] == pytest.approx(expected, abs=1e-4)
