"""The motion of a head as a whole, taken from tracked vertices: no expression turns a head."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def stabilized(
    rest: np.ndarray, frames: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T,N,3] carried onto `rest` [N,3] by what keeps still, and their rotations [T,3,3].

    Weighted Kabsch, four times: what then does not fit, such as a neck, counts ever less. Rotations
    carry `rest` to the frames.
    """
    moved, rotations = [], []
    for frame in frames.astype(np.float64):
        share = weights
        for _ in range(4):
            share = share / share.sum()
            here, there = share @ rest, share @ frame
            u, _, vt = np.linalg.svd(((frame - there) * share[:, None]).T @ (rest - here))
            rotation = u @ np.diag((1, 1, np.sign(np.linalg.det(u @ vt)))) @ vt
            back = (frame - there) @ rotation + here
            distance = np.linalg.norm(back - rest, axis=1)
            usual = np.sqrt(share @ distance**2) + 1e-9
            share = weights / (1 + (distance / usual) ** 2)
        moved.append(back.astype(np.float32))
        rotations.append(rotation)
    return np.stack(moved), np.stack(rotations)


def pose_deg(rotations: np.ndarray) -> np.ndarray:
    """[T,3,3] -> [T,3] float32: yaw > 0 turns to the subject's left, pitch > 0 up, roll > 0 tilts
    to its right shoulder."""
    angles = Rotation.from_matrix(rotations).as_euler("YXZ", degrees=True)
    return (angles * (1, -1, 1)).astype(np.float32)
