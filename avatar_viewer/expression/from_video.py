"""Expressions of a video of another person."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from avatar_viewer.avatar_folder import load_head, resolve
from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import FaceLandmarker, FaceTracker, Follower, TrackedFace
from avatar_viewer.expression.from_meshes import pose_deg
from avatar_viewer.expression.landmark_fit import fit_landmarks
from avatar_viewer.expression.landmark_model import LandmarkModel, gaze_of_both, landmark_model
from avatar_viewer.expression.livelink import calibrated
from avatar_viewer.expression.motion import smoothed
from avatar_viewer.expression.sequence import (
    SUFFIX,
    ExpressionSequence,
    Header,
    save_sequence,
)
from avatar_viewer.expression.transfer import Options, arkit_map_of
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.head.nphm import GAZE_DIM, load_codes

SAVED_EVERY = 100
"""Frames after which what was tracked is written."""
REST_PERCENT = 10
"""Without a frame at rest, so much of a video is taken to use a unit less than at rest."""
SMOOTHING = 2.0
"""What the trembling of codes tells of noise is so many times too little: landmarks err alike in
pictures that follow each other."""
CLOSING = {"jawOpen": -1, "eyeBlinkLeft": 1, "eyeBlinkRight": 1}
"""The ARKit units that close lips and lids, and which way."""
DOUBTFUL_MM = 4.0
"""At this distance of landmarks from the fit the confidence is a half."""

Progress = Callable[[int, int], None]
"""Hears the frames done, and about how many there are."""


@dataclass(frozen=True, eq=False)
class Track:
    """What a tracker found in T frames at even times."""

    fps: float
    longer_side_px: int
    landmarks: np.ndarray
    """[T,N,2] float32, pixels; NaN in frames without a face."""
    weights: np.ndarray
    """[T,52] float32 of the ARKit units; NaN where the tracker tells none."""

    @property
    def seen(self) -> np.ndarray:
        """[T] bool: frames with a face."""
        return np.asarray(np.isfinite(self.landmarks).all(axis=(1, 2)))


def transfer_video(
    path: Path,
    out: Path,
    avatar: str | Path,
    options: Options,
    face_model: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> ExpressionSequence:
    """The avatar's expressions of a video of another person, saved to `out`.

    What was tracked is kept beside `out` until it is whole, and a run that was cut off goes on.
    """
    if out.suffix.lower() != SUFFIX:
        raise AvatarError(f"{out}: expected a name that ends in {SUFFIX}, found another")
    ensure_writable(out)
    video = VideoFile(path, options.fps)
    folder = resolve(avatar, lambda text: None)
    head = load_head(folder / "head", torch.device("cpu"))
    arkit_map, codes = arkit_map_of(head, folder), load_codes(folder / "head")["expression"]
    tracker = FaceLandmarker(face_model)
    try:
        model = landmark_model(folder, codes, tracker, say)
        kept = out.with_suffix(f".tracked{SUFFIX}")
        track = track_video(video, tracker, kept, say, progress)
    finally:
        tracker.close()
    prior = CodePrior.of(codes)
    sequence = sequence_of_track(
        track, model, arkit_map, prior, source=path.name, neutral=options.neutral
    )
    sequence = smoothed_video(sequence, arkit_map, prior) if options.smooth else sequence
    save_sequence(sequence, out)
    kept.unlink(missing_ok=True)
    return sequence


def track_video(
    video: VideoFile,
    tracker: FaceTracker,
    kept: Path,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Track:
    """Follow the largest face of the first picture that shows one.

    `kept` holds what was tracked: a run that was cut off, or another one of the same video, goes on
    after it. Of a video that is damaged further on, the part before counts.
    """
    about = video.path.stat()
    key = f"{about.st_size} {about.st_mtime_ns} {video.fps:.6f} {tracker.name}"
    rows, longer_side_px = _read_rows(kept, key)
    follower = Follower()
    if (last := next((face for face in reversed(rows) if face is not None), None)) is not None:
        follower.choose([last])
    try:
        for rgb in video.pictures(len(rows)):
            rows.append(follower.choose(tracker.faces(rgb)))
            longer_side_px = max(rgb.shape)
            progress(len(rows), max(video.count, len(rows)))
            if len(rows) % SAVED_EVERY == 0:
                _write_rows(kept, key, _track(video.fps, longer_side_px, rows))
    except AvatarError as error:
        if not rows:
            raise
        say(f"{error}; going on with the {len(rows)} frames before")
    finally:
        if rows:
            _write_rows(kept, key, _track(video.fps, longer_side_px, rows))
    return _track(video.fps, longer_side_px, rows)


def sequence_of_track(
    track: Track,
    model: LandmarkModel,
    arkit_map: ArkitMap,
    prior: CodePrior,
    *,
    source: str,
    neutral: int | None = None,
) -> ExpressionSequence:
    """The expressions of a track; frames without a face lie between those beside them, with the
    confidence 0.

    `neutral` is the number of a frame in which the face rests. Raises AvatarError where no face, or
    none there, was seen.
    """
    seen, count = track.seen, len(track.landmarks)
    if not seen.any():
        raise AvatarError(f"{source}: expected a face, found none in {count} frames")
    if neutral is not None and not (0 <= neutral < count and seen[neutral]):
        expected = f"a frame of 0 to {count - 1} with a face"
        raise AvatarError(f"neutral: expected {expected}, found {neutral}")
    weights = track.weights[seen].astype(np.float64)
    trusted, gaze = np.zeros_like(weights), np.zeros((len(weights), 2))
    if np.isfinite(weights).all():
        both = gaze_of_both(weights)
        if neutral is None:
            rest, ahead = np.percentile(weights, REST_PERCENT, axis=0), np.median(both, axis=0)
        else:
            here = np.flatnonzero(np.abs(np.flatnonzero(seen) - neutral) <= 2)
            rest, ahead = np.median(weights[here], axis=0), np.median(both[here], axis=0)
        trusted = calibrated(weights, rest) * model.trust
        gaze = np.clip((both - ahead) * model.gaze_gain, -1, 1)
    expected_codes = arkit_map.codes(torch.from_numpy(trusted).float()).double().numpy()
    landmarks = track.landmarks[seen].astype(np.float64)
    fit = fit_landmarks(model, prior, expected_codes, landmarks, track.longer_side_px)

    def bridged(rows: np.ndarray) -> np.ndarray:
        columns = [np.interp(np.arange(count), np.flatnonzero(seen), column) for column in rows.T]
        return np.stack(columns, axis=1).astype(np.float32)

    sure = np.zeros(count, np.float32)
    sure[seen] = 1 / (1 + (fit.error_mm / DOUBTFUL_MM) ** 2)
    codes = bridged(np.concatenate([fit.codes, gaze, gaze], axis=1))
    return ExpressionSequence(
        Header(track.fps, source), codes, sure, bridged(pose_deg(fit.rotations))
    )


def smoothed_video(
    sequence: ExpressionSequence, arkit_map: ArkitMap, prior: CodePrior
) -> ExpressionSequence:
    """Without trembling, as `motion.smoothed`; but jaw and lids stay as far closed as their own
    courses, smoothed alone, have them: mouths close for a frame or two only."""
    smooth = smoothed(sequence, SMOOTHING)
    z = sequence.codes[:, :-GAZE_DIM].astype(np.float64)
    result = smooth.codes[:, :-GAZE_DIM].astype(np.float64)
    axes = prior.axes.double().numpy()
    spread = axes.T @ axes + 1e-6 * np.eye(axes.shape[1])
    for unit, sign in CLOSING.items():
        move = sign * arkit_map.matrix[:, ARKIT_UNITS.index(unit)].double().cpu().numpy()
        # How far a code has gone along `move`, whatever else is as likely as in training.
        gone = np.linalg.solve(spread, move)
        gone /= max(gone @ move, 1e-9)
        alone = ExpressionSequence(sequence.header, (z @ gone)[:, None].astype(np.float32))
        closed = smoothed(alone, SMOOTHING).codes[:, 0]
        result += np.outer(np.maximum(closed - result @ gone, 0), move)
    codes = np.concatenate([result, smooth.codes[:, -GAZE_DIM:]], axis=1)
    return replace(smooth, codes=codes.astype(np.float32))


def _track(fps: float, longer_side_px: int, rows: list[TrackedFace | None]) -> Track:
    count = next((len(face.landmarks) for face in rows if face is not None), 1)
    landmarks = np.full((len(rows), count, 2), np.nan, np.float32)
    weights = np.full((len(rows), len(ARKIT_UNITS)), np.nan, np.float32)
    for index, face in enumerate(rows):
        if face is not None:
            landmarks[index] = face.landmarks
            if (told := face.weights_by_lips) is not None:
                weights[index] = told
    return Track(fps, longer_side_px, landmarks, weights)


def _write_rows(path: Path, key: str, track: Track) -> None:
    with written_aside(path) as aside, aside.open("wb") as file:
        np.savez(
            file,
            key=np.frombuffer(key.encode(), np.uint8),
            longer_side_px=np.array(track.longer_side_px),
            landmarks=track.landmarks,
            weights=track.weights,
        )


def _read_rows(path: Path, key: str) -> tuple[list[TrackedFace | None], int]:
    """Frames that were tracked already, and their pictures' longer side; none where the file is
    not there, is damaged, or belongs to another video or tracker."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["key"].tobytes().decode() != key:
                return [], 1
            landmarks, weights = file["landmarks"], file["weights"]
            longer_side_px = int(file["longer_side_px"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return [], 1
    rows: list[TrackedFace | None] = []
    for points, row in zip(landmarks, weights, strict=True):
        face = TrackedFace(points, row if np.isfinite(row).all() else None)
        rows.append(face if np.isfinite(points).all() else None)
    return rows, longer_side_px
