"""`evaluate`: how close an avatar's pictures come to the true ones of a data set's split."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.person import person_of
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.landmarks import Landmarks
from avatar_viewer.evaluation.metrics import HEAD_LOWEST_M, HEAD_MARGIN
from avatar_viewer.evaluation.perceptual import Perceptual
from avatar_viewer.evaluation.sheet import SheetOptions, write_sheet
from avatar_viewer.evaluation.split import (
    SEED,
    Judges,
    Shot,
    SplitScores,
    render,
    runs,
    score,
    take_shots,
)
from avatar_viewer.files import ensure_writable, written_aside

FRAMES_PER_SECOND = 24.0
FIGURES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "flip": ("FLIP", 4),
    "jod": ("JOD", 2),
    "lpips": ("LPIPS", 4),
    "landmark_px": ("landmarks, px", 2),
    "warping_error": ("warping error, of 255", 2),
    "true_warping_error": ("the same of true frames", 2),
    "warping_ratio": ("their ratio", 2),
    "psnr_full": ("PSNR of whole pictures, dB", 2),
    "ssim_full": ("SSIM of whole pictures", 4),
}
"""What a figure is called, and its decimals, in the order of the table."""


@dataclass(frozen=True)
class Evaluation:
    """A split's report, and the pictures that it is about."""

    report: dict[str, Any]
    shots: list[Shot]
    rendered: list[np.ndarray]
    """[H,W,3] uint8 of each shot, at full steps."""


def evaluate(
    ckpt: str | None,
    data: Path,
    split: str,
    json: Path | None,
    sheet: SheetOptions | None = None,
    fps: float = FRAMES_PER_SECOND,
    landmarks: Path | None = None,
) -> None:
    """Print a split's figures; write them and a sheet of the pictures where asked to.

    landmarks: a model file for `Landmarks`. `person_of` says where the frames'
    expression codes come from.
    """
    for path in (json, sheet.path if sheet else None):
        if path is not None:
            ensure_writable(path)
    judges = make_judges(fps, landmarks)
    done = evaluate_split(Avatar.load(ckpt or DEMO_FOLDER), data, split, judges)
    print(table(done.report))
    if json is not None:
        write_json(done.report, json)
    if sheet is not None:
        write_sheet([shot.truth for shot in done.shots], done.rendered, sheet)


def make_judges(fps: float = FRAMES_PER_SECOND, landmarks: Path | None = None) -> Judges:
    """The metrics that can be had here; AvatarError for what was asked for and cannot."""
    if not 1 <= fps <= 1000:
        raise AvatarError(f"fps: expected 1 to 1000 frames per second, found {fps}")
    return Judges(Perceptual(), None if landmarks is None else Landmarks(landmarks), fps)


def evaluate_split(avatar: Avatar, data: Path, split: str, judges: Judges) -> Evaluation:
    """Render a split at full and at few steps, and score both."""
    person, info = person_of(avatar, data, split), avatar.info
    shots = take_shots(avatar, person)
    rendered = render(avatar, person, shots, info.steps)
    full = score(rendered, shots, judges)
    quick = full
    if info.quick_steps != info.steps:
        quick = score(render(avatar, person, shots, info.quick_steps), shots, judges)
    report = {
        **full.mean,
        "split": split,
        "resolution_px": info.resolution_px,
        "background": "white",
        "steps": info.steps,
        "sampler": info.sampler,
        "seed": SEED,
        "quick_steps": info.quick_steps,
        "quick": quick.mean,
        "protocol": _protocol(shots, judges),
        "frames": _frames(shots, full),
    }
    return Evaluation(report, shots, rendered)


def _frames(shots: list[Shot], scores: SplitScores) -> dict[str, Any]:
    return {
        shot.record.id: {**frame, "box_px": asdict(shot.box)}
        for shot, frame in zip(shots, scores.frames, strict=True)
    }


def _protocol(shots: list[Shot], judges: Judges) -> dict[str, Any]:
    """How the figures came about."""
    lengths = [part.stop - part.start for part in runs([shot.record for shot in shots])]
    moving = [length for length in lengths if length > 1]
    about = dict(judges.perceptual.about)
    if judges.landmarks is not None:
        about["landmark_px"] = judges.landmarks.about
    if "jod" in about:
        about["jod"] += f"; sequences as video at {judges.fps:g} frames per second"
    return {
        "region": "box of the head's rasterized mesh down to the chin "
        f"({-HEAD_LOWEST_M * 1e3:.0f} mm under the head's origin) and, on each side, "
        f"{HEAD_MARGIN:.0%} of its longer side; *_full: the whole picture",
        "sequences": moving,
        "stills": lengths.count(1),
        "metrics": about,
        "left_out": judges.perceptual.left_out,
    }


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """A report, aside and then renamed."""
    with written_aside(path) as aside:
        aside.write_text(json_format.dumps(report, indent=1), encoding="utf-8")


def table(report: Mapping[str, Any]) -> str:
    """A report for people: a figure a line, at full and at few steps."""
    protocol = report["protocol"]
    lines = [
        f"{report['split']}: {len(report['frames'])} frames at {report['resolution_px']} px over "
        f"{report['background']}, in the head's box",
        f"{'':<28}{_steps(report['steps']):>10}{_steps(report['quick_steps']):>10}",
    ]
    for name, (title, digits) in FIGURES.items():
        if name in report:
            both = [of.get(name) for of in (report, report["quick"])]
            cells = ["-" if value is None else f"{value:.{digits}f}" for value in both]
            lines.append(f"{title:<28}" + "".join(f"{cell:>10}" for cell in cells))
    lines += [f"{name}: {about}" for name, about in protocol["metrics"].items()]
    lines += [f"{name} left out: {why}" for name, why in protocol["left_out"].items()]
    return "\n".join(lines)


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"
