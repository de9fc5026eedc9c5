"""`evaluate distillation`: what a student loses against its teacher, on a data set's splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.person import person_of
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.images import FIGURES, make_judges, write_json
from avatar_viewer.evaluation.results import write_section
from avatar_viewer.evaluation.sheet import arranged, shrunk, write_picture
from avatar_viewer.evaluation.split import Judges, Scores, render, score, take_shots
from avatar_viewer.files import ensure_writable

TEACHER_STEPS = 20
STUDENT_STEPS = (1, 2, 4)
SHEET_PICTURES = 6
SHEET_PX = 192
SHOWN = ("psnr", "ssim", "flip", "jod", "lpips", "warping_error", "warping_ratio")


@dataclass(frozen=True)
class Setting:
    """One of the denoisers that are compared."""

    teacher: bool
    steps: int

    @property
    def title(self) -> str:
        return f"{'teacher' if self.teacher else 'student'}, {self.steps}"


SETTINGS = (
    Setting(teacher=True, steps=TEACHER_STEPS),
    Setting(teacher=True, steps=1),
    *(Setting(teacher=False, steps=steps) for steps in STUDENT_STEPS),
)
"""The first is what the others are compared with."""


def evaluate_distillation(
    ckpt: str | None,
    data: Path,
    splits: Sequence[str],
    json: Path | None = None,
    results: Path | None = None,
) -> None:
    """Print a table for each split; write the figures, and the section of a Markdown file with a
    sheet of pictures beside it, where asked to."""
    for path in (json, results):
        if path is not None:
            ensure_writable(path)
    avatar = Avatar.load(ckpt or DEMO_FOLDER)
    if avatar.parts.student is None:
        raise AvatarError(f"{ckpt or DEMO_FOLDER}: expected an avatar with a student, found none")
    judges, report = make_judges(), {}
    text = [
        "# Distillation",
        "Written by `avatar-viewer evaluate distillation`, not by hand: teacher and student of "
        f"{avatar.info.name} by denoising steps, in the head's box at {avatar.info.resolution_px} "
        "px; in brackets the difference to the first row.",
    ]
    for split in splits:
        means, rows = _compared(avatar, data, split, judges)
        report[split] = means
        text.append(f"## Distillation, split `{split}`\n\n{table(means)}")
        if results is not None:
            sheet = results.with_name(f"{results.stem}_distillation_{split}.webp")
            write_picture(np.concatenate(rows), sheet)
            text.append(f"From above: truth, {'; '.join(means)}.\n\n![{split}]({sheet.name})")
    print("\n\n".join(text))
    if json is not None:
        write_json(report, json)
    if results is not None:
        write_section(results, "\n\n".join(text))


def _compared(
    avatar: Avatar, data: Path, split: str, judges: Judges
) -> tuple[dict[str, Scores], list[np.ndarray]]:
    """Figures by setting, and some pictures in rows, the truth first."""
    person = person_of(avatar, data, split)
    shots = take_shots(avatar, person)
    chosen = np.unique(np.linspace(0, len(shots) - 1, SHEET_PICTURES).round().astype(int)).tolist()

    def row(pictures: list[np.ndarray]) -> np.ndarray:
        small = [shrunk(pictures[index], SHEET_PX) for index in chosen]
        return arranged([small], columns=len(small))

    means, rows = {}, [row([shot.truth for shot in shots])]
    for setting in SETTINGS:
        pictures = render(avatar, person, shots, setting.steps, teacher=setting.teacher)
        means[setting.title] = score(pictures, shots, judges).mean
        rows.append(row(pictures))
    return means, rows


def table(means: dict[str, Scores]) -> str:
    """A row for each setting, a column for each figure that was measured."""
    first = next(iter(means.values()))
    names = [name for name in SHOWN if name in first]
    lines = [
        f"| denoiser, steps | {' | '.join(FIGURES[name][0] for name in names)} |",
        "| --- " * (len(names) + 1) + "|",
    ]
    for title, mean in means.items():
        cells = [_cell(mean, first, name) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(mean: Scores, first: Scores, name: str) -> str:
    digits = FIGURES[name][1]
    value = f"{mean[name]:.{digits}f}"
    return value if mean is first else f"{value} ({mean[name] - first[name]:+.{digits}f})"
