"""Expression codes of tracked landmarks: the head, moved by a code, is put under the camera.

Pose and code of each frame are found by Gauss-Newton steps, with codes that are as plausible as
those of the head model's training. What all frames have in common, the other person's shape and
the tracker's habits, is found first and comes away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from avatar_viewer.expression.landmark_model import LandmarkModel
from avatar_viewer.head.fit_scan import CodePrior

MOST_SPREAD_MM = 2.6
"""Landmarks that the tracker finds less precisely do not count."""
TOGETHER = 3.0
"""Errors of neighbouring landmarks go together: each counts as if it were so many times less
precise."""
SHAPE_DEVIATION_MM = 3.0
"""How far a landmark of another person lies from the avatar's."""
ASSUMED_FOVS_DEG = (10.0, 30.0, 55.0)
"""Of the picture's longer side; nobody tells it, and the one that fits best is taken."""
PERSON_FRAMES, PERSON_STEPS, STEPS = 48, 8, 6
CHUNK = 64
"""Frames that are fitted together."""
POSE_DIM = 6


@dataclass(frozen=True, eq=False)
class LandmarkFit:
    """What was found of T frames."""

    codes: np.ndarray
    """[T,E] z_exp."""
    rotations: np.ndarray
    """[T,3,3] from the head's axes to the camera's."""
    error_mm: np.ndarray
    """[T] distance of the landmarks from the fitted ones, root of the mean square, at the head."""


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is known of T frames; lengths of the head in millimetres."""

    points: np.ndarray
    """[T,N,3] the landmarks' places at the expected codes."""
    axes: np.ndarray
    """[N,3,R] how the whitened code moves them."""
    pixels: np.ndarray
    """[T,N,2], y up."""
    sharpness: np.ndarray
    """[N] 1 / standard deviation."""
    focal_px: float

    def part(self, chosen: slice | np.ndarray) -> _Problem:
        return replace(self, points=self.points[chosen], pixels=self.pixels[chosen])


@dataclass(frozen=True, eq=False)
class _Poses:
    """How T heads lie before the camera, and their whitened codes."""

    rotations: np.ndarray
    """[T,3,3]."""
    scale: np.ndarray
    """[T] pixels per millimetre, at the head's origin."""
    shift: np.ndarray
    """[T,2] where that is, pixels."""
    whitened: np.ndarray
    """[T,R]."""


def fit_landmarks(
    model: LandmarkModel,
    prior: CodePrior,
    expected: np.ndarray,
    landmarks: np.ndarray,
    longer_side_px: float,
) -> LandmarkFit:
    """Codes of landmarks [T,N,2], pixels with y down, near the `expected` codes [T,E].

    Of the prior, how codes lie around their mean is used.
    """
    spread_mm = model.spread_mm
    used = spread_mm <= max(MOST_SPREAD_MM, float(np.quantile(spread_mm, 0.25)))
    moves, axes = model.moves_mm[used], prior.axes.double().numpy().T
    problem = _Problem(
        model.places_mm[used] + np.einsum("nie,te->tni", moves, expected),
        moves @ axes,
        landmarks[:, used] * (1, -1),
        1 / (TOGETHER * spread_mm[used]),
        _focal_px(longer_side_px, ASSUMED_FOVS_DEG[0]),
    )
    problem = _personal(problem, longer_side_px)
    parts = [problem.part(slice(i, i + CHUNK)) for i in range(0, len(landmarks), CHUNK)]
    fits = []
    for part in parts:
        poses = _first_poses(part)
        for _ in range(STEPS):
            poses = _stepped(part, poses)
        fits.append((poses.whitened, poses.rotations, _error_mm(part, poses)))
    whitened, rotations, error_mm = (np.concatenate(found) for found in zip(*fits, strict=True))
    return LandmarkFit(expected + whitened @ axes.T, rotations, error_mm)


def _personal(problem: _Problem, longer_side_px: float) -> _Problem:
    """With the landmarks where this person has them, and the camera that fits best."""
    last = len(problem.points) - 1
    some = problem.part(np.unique(np.linspace(0, last, PERSON_FRAMES).round().astype(int)))
    found = []
    for fov_deg in ASSUMED_FOVS_DEG:
        tried = replace(some, focal_px=_focal_px(longer_side_px, fov_deg))
        shape, poses = np.zeros(problem.points.shape[1:]), _first_poses(tried)
        for _ in range(PERSON_STEPS):
            shaped = replace(tried, points=tried.points + shape)
            poses = _stepped(shaped, poses)
            shape = _reshaped(shaped, poses, shape)
        shaped = replace(tried, points=tried.points + shape)
        found.append((np.square(_error_mm(shaped, poses)).mean(), shape, tried.focal_px))
    _, shape, focal_px = min(found, key=lambda each: each[0])
    return replace(problem, points=problem.points + shape, focal_px=focal_px)


def _focal_px(longer_side_px: float, fov_deg: float) -> float:
    return longer_side_px / 2 / np.tan(np.radians(fov_deg) / 2)


def _first_poses(problem: _Problem) -> _Poses:
    """Without perspective, by linear least squares."""
    sharp = problem.sharpness[:, None]
    share = problem.sharpness**2 / (problem.sharpness**2).sum()
    rotations, scales, shifts = [], [], []
    for points, pixels in zip(problem.points, problem.pixels, strict=True):
        here, there = share @ points, share @ pixels
        affine = np.linalg.lstsq((points - here) * sharp, (pixels - there) * sharp, rcond=None)[0].T
        u, strengths, vt = np.linalg.svd(affine, full_matrices=False)
        right, up = u @ vt
        rotation = np.stack([right, up, np.cross(right, up)])
        scale = max(float(strengths.mean()), 1e-6)
        rotations.append(rotation)
        scales.append(scale)
        shifts.append(there - scale * (rotation @ here)[:2])
    codes = np.zeros((len(problem.points), problem.axes.shape[2]))
    return _Poses(np.stack(rotations), np.array(scales), np.stack(shifts), codes)


def _seen(problem: _Problem, poses: _Poses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors [T,N,2], the points in camera axes [T,N,3], and how the picture of a
    point changes with it [T,N,2,3]."""
    points = problem.points + np.einsum("nir,tr->tni", problem.axes, poses.whitened)
    points = points @ poses.rotations.transpose(0, 2, 1)
    nearness = (poses.scale / problem.focal_px)[:, None]
    depth = np.maximum(1 - nearness * points[..., 2], 0.1)
    flat = points[..., :2] / depth[..., None]
    change = np.zeros((*points.shape[:2], 2, 3))
    change[..., 0, 0] = change[..., 1, 1] = 1 / depth
    change[..., 2] = flat * (nearness / depth)[..., None]
    target = (problem.pixels - poses.shift[:, None]) / poses.scale[:, None, None]
    return target - flat, points, change


def _stepped(problem: _Problem, poses: _Poses) -> _Poses:
    """One Gauss-Newton step of pose and code."""
    error, points, change = _seen(problem, poses)
    count, rank = len(points), problem.axes.shape[2]
    jacobian = np.empty((*error.shape, POSE_DIM + rank))
    # A small turn w moves a point p by w x p.
    x, y, z = points[..., 0, None], points[..., 1, None], points[..., 2, None]
    across, upward, toward = change[..., 0], change[..., 1], change[..., 2]
    jacobian[..., 0] = toward * y - upward * z
    jacobian[..., 1] = across * z - toward * x
    jacobian[..., 2] = upward * x - across * y
    jacobian[..., 3] = points[..., :2] * change[..., 0, 0, None]
    jacobian[..., 4:POSE_DIM] = np.eye(2)
    turned = change @ poses.rotations[:, None]
    jacobian[..., POSE_DIM:] = turned @ problem.axes
    sharp = problem.sharpness[:, None]
    flat = (jacobian * sharp[..., None]).reshape(count, -1, POSE_DIM + rank)
    curvature = flat.transpose(0, 2, 1) @ flat
    slope = (flat.transpose(0, 2, 1) @ (error * sharp).reshape(count, -1, 1))[..., 0]
    curvature += np.diag([1e-6] * POSE_DIM + [1.0] * rank)
    slope[:, POSE_DIM:] -= poses.whitened
    step = np.linalg.solve(curvature, slope[..., None])[..., 0]
    turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
    return _Poses(
        turn @ poses.rotations,
        poses.scale * np.exp(np.clip(step[:, 3], -0.5, 0.5)),
        poses.shift + step[:, 4:POSE_DIM] * poses.scale[:, None],
        poses.whitened + step[:, POSE_DIM:],
    )


def _reshaped(problem: _Problem, poses: _Poses, shape: np.ndarray) -> np.ndarray:
    """[N,3] `shape`, which the points have already, made better."""
    error, _, change = _seen(problem, poses)
    change = change @ poses.rotations[:, None]
    sharp = problem.sharpness[:, None]
    curvature = np.einsum("tnai,tnaj->nij", change, change) * sharp[..., None] ** 2
    slope = np.einsum("tnai,tna->ni", change, error) * sharp**2
    curvature += np.eye(3) / SHAPE_DEVIATION_MM**2
    slope -= shape / SHAPE_DEVIATION_MM**2
    return shape + np.linalg.solve(curvature, slope[..., None])[..., 0]


def _error_mm(problem: _Problem, poses: _Poses) -> np.ndarray:
    """[T] see `LandmarkFit.error_mm`."""
    error = _seen(problem, poses)[0]
    share = problem.sharpness**2 / (problem.sharpness**2).sum()
    return np.sqrt((error**2).sum(axis=2) @ share)
