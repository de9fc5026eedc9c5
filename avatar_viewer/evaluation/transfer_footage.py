"""What a face tracker's codes of other people's footage are worth, where their motion is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.synthesis.made_up_motion import MadeUpMotion
from avatar_viewer.data.synthesis.plan import FOOTAGE, FOOTAGE_FILE, FOOTAGE_FPS
from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.known_motion import (
    LID_PAIRS,
    LIP_PAIRS,
    KnownMotion,
    closings,
    gap_mm,
)
from avatar_viewer.evaluation.transfer_sources import Codes, Stage, z_exp
from avatar_viewer.expression.face_tracker import FaceLandmarker
from avatar_viewer.expression.from_video import smoothed_video, transfer_video
from avatar_viewer.expression.transfer import Options


@dataclass(frozen=True)
class Footage:
    """A video of somebody, and the weights in each of its pictures."""

    video: Path
    weights: np.ndarray
    """[T,52]."""

    def motion(self, truth: KnownMotion) -> MadeUpMotion:
        """With what closes in it, as the truth shows it."""
        events = []
        for names in (LID_PAIRS, LIP_PAIRS):
            pair = truth.pairs(names).ravel()
            points = truth.canonical[pair] + truth.offsets(self.weights, pair)
            events.append(closings(gap_mm(points, truth.to_mm)))
        if not all(events):
            expected = "blinks, and a mouth that closes between being open"
            raise AvatarError(f"{self.video}: expected {expected}, found none")
        return MadeUpMotion(self.weights, *events)


def read_footage(folder: Path) -> Footage:
    """What `data synthesize --split footage` wrote; raises AvatarError."""
    video = VideoFile(folder / FOOTAGE_FILE, FOOTAGE_FPS)
    weights = np.stack([record.weights() for record in read_frames(folder, FOOTAGE)])
    if (count := sum(1 for _ in video.pictures())) != len(weights):
        expected = f"{len(weights)} pictures, as frames are listed"
        raise AvatarError(f"{video.path}: expected {expected}, found {count}")
    return Footage(video.path, weights)


def tracker_misses(face_model: Path | None) -> str | None:
    """Why no video can be looked at here; None where one can."""
    try:
        FaceLandmarker(face_model).close()
    except AvatarError as error:
        return str(error)
    return None


def footage_codes(stage: Stage, footage: Footage, avatar: Path, face_model: Path | None) -> Codes:
    """As `transfer --video` makes them; `still` are those of its motion."""
    with TemporaryDirectory() as folder:
        out, options = Path(folder) / "codes.npz", Options(fps=FOOTAGE_FPS, smooth=False)
        sequence = transfer_video(footage.video, out, avatar, options, face_model, print)
    moving = z_exp(smoothed_video(sequence, stage.arkit_map, stage.priors[1]))
    return Codes(moving, moving, z_exp(sequence))
