"""A data set's split as an avatar renders it, and its scores.

Pictures are rendered at the avatar's resolution, each from its frame's camera and fitted expression
and from the same noise, and compared with the true frames over white. `metrics.head_box` says which
part of a picture counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.person import Person
from avatar_viewer.evaluation.landmarks import Landmarks
from avatar_viewer.evaluation.metrics import Box, head_box, joined, pixel_scores
from avatar_viewer.evaluation.perceptual import Perceptual
from avatar_viewer.evaluation.warping import motion, warping_error
from avatar_viewer.raster.gbuffer import rasterize
from avatar_viewer.stages import Camera, HeadMesh, RenderRequest

SEED = 0
"""Of the noise, the same for all frames, as in the paper: a still head stays still."""

Scores = dict[str, float]
"""Figures by name; one that cannot be had is not there."""


@dataclass(frozen=True)
class Shot:
    """One frame of the split."""

    record: FrameRecord
    truth: np.ndarray
    """[H,W,3] uint8, over white."""
    camera: Camera
    mesh: HeadMesh
    box: Box
    """Where the head lies."""


@dataclass(frozen=True)
class Judges:
    """The metrics that are not always there, and what they need to know."""

    perceptual: Perceptual
    landmarks: Landmarks | None
    fps: float
    """At which the frames of a sequence follow each other; a data set does not say it."""


@dataclass(frozen=True)
class SplitScores:
    """What was measured."""

    mean: Scores
    """Of the whole split."""
    frames: list[Scores]
    """In the order of the shots."""


def take_shots(avatar: Avatar, person: Person) -> list[Shot]:
    """The split's frames at the avatar's resolution."""
    size, units = avatar.info.resolution_px, person.head_frame.units_per_metre
    shots = []
    for record in person.records:
        camera = person.head_frame.camera(record.camera, size)
        mesh = avatar.head.pose(person.expression(record))
        box = head_box(rasterize(mesh, camera), units, f"frame {record.id}")
        shots.append(Shot(record, record.rgb(size), camera, mesh, box))
    return shots


def render(
    avatar: Avatar, person: Person, shots: Sequence[Shot], steps: int, teacher: bool = False
) -> list[np.ndarray]:
    """[H,W,3] uint8 of each shot."""
    return [
        avatar.render(
            RenderRequest(
                person.expression(shot.record),
                shot.camera,
                seed=SEED,
                steps=steps,
                sampler=avatar.info.sampler,
                teacher=teacher,
            )
        ).rgb
        for shot in shots
    ]


def runs(records: Sequence[FrameRecord]) -> list[slice]:
    """The split taken apart into moving sequences and single stills.

    Frames that follow each other belong to one sequence if they are of one kind and either kind or
    split is called "sequence..."; every other frame is a still.
    """

    def sequence(index: int) -> object:
        record = records[index]
        moving = record.kind.startswith("sequence") or record.split.startswith("sequence")
        return record.kind if moving else index

    groups = [list(group) for _, group in groupby(range(len(records)), sequence)]
    return [slice(group[0], group[-1] + 1) for group in groups]


def score(rendered: list[np.ndarray], shots: Sequence[Shot], judges: Judges) -> SplitScores:
    """All figures that can be had; a split's is the mean over its frames."""
    frames = [_frame(rgb, shot, judges) for rgb, shot in zip(rendered, shots, strict=True)]
    names = dict.fromkeys(name for frame in frames for name in frame)
    mean = {name: float(np.mean([f[name] for f in frames if name in f])) for name in names}
    parts = runs([shot.record for shot in shots])
    if (jod := judges.perceptual.jod) is not None:
        total = 0.0
        for part in parts:
            # One box for the whole run: a box that moves would look like a moving camera.
            box = joined(shot.box for shot in shots[part])
            pictures = np.stack([box.cut(rgb) for rgb in rendered[part]])
            truth = np.stack([box.cut(shot.truth) for shot in shots[part]])
            quality = jod.video(pictures, truth, judges.fps)
            total += quality * len(pictures)
            if len(pictures) == 1:
                frames[part.start]["jod"] = quality
        mean["jod"] = total / len(shots)
    return SplitScores(mean | _steadiness(rendered, shots, parts, frames), frames)


def _frame(rendered: np.ndarray, shot: Shot, judges: Judges) -> Scores:
    box, truth, perceptual = shot.box, shot.truth, judges.perceptual
    scores = pixel_scores(rendered, truth, box)
    if perceptual.flip is not None:
        scores["flip"] = float(box.cut(perceptual.flip.error_map(rendered, truth)).mean())
    if perceptual.lpips is not None:
        scores["lpips"] = perceptual.lpips.distance(box.cut(rendered), box.cut(truth))
    if judges.landmarks is not None:
        distance_px = judges.landmarks.distance_px(rendered, truth)
        if distance_px is not None:
            scores["landmark_px"] = distance_px
    return scores


def _steadiness(
    rendered: list[np.ndarray], shots: Sequence[Shot], parts: list[slice], frames: list[Scores]
) -> Scores:
    """Warping errors of sequences, each frame's put beside its other figures."""
    errors = []
    for part in parts:
        for before, now in pairwise(range(part.start, part.stop)):
            a, b = shots[now], shots[before]
            moved = motion(a.mesh, a.camera, b.mesh, b.camera)
            pair = (
                warping_error(rendered[now], rendered[before], moved),
                warping_error(a.truth, b.truth, moved),
            )
            if pair[0] is not None and pair[1] is not None:
                errors.append(pair)
                frames[now] |= {"warping_error": pair[0], "true_warping_error": pair[1]}
    if not errors:
        return {}
    ours, true = np.mean(errors, axis=0).tolist()
    ratio = {"warping_ratio": ours / true} if true > 0 else {}
    return {"warping_error": ours, "true_warping_error": true, **ratio}
