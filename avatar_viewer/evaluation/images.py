"""How close an avatar's pictures come to the true ones of a data set's split."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.person import Person, person_of
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.stages import RenderRequest


@dataclass(frozen=True)
class Scores:
    """Means over pictures of 0..255 RGB over white."""

    psnr: float
    """Peak signal-to-noise ratio, dB."""
    ssim: float
    """Structural similarity, Gaussian window (Wang et al. 2004)."""


def score(rendered: np.ndarray, truth: np.ndarray) -> Scores:
    """Two pictures, uint8 [H,W,3]."""
    error = np.square(rendered.astype(np.float64) - truth).mean()
    psnr = float("inf") if error == 0 else 10 * np.log10(255**2 / error)
    ssim = structural_similarity(
        rendered, truth, channel_axis=2, gaussian_weights=True, use_sample_covariance=False
    )
    return Scores(float(psnr), float(ssim))  # pyright: ignore[reportArgumentType]


def evaluate(ckpt: str | None, data: Path, split: str, json: Path | None) -> None:
    """Render a split of a data set at the avatar's resolution; print and write the scores.

    `person_of` says where the frames' expression codes come from. The file holds
    `psnr` and `ssim` of the split, for few steps and for full, and those of every frame.
    """
    if json is not None:
        ensure_writable(json)
    avatar = Avatar.load(ckpt or DEMO_FOLDER)
    person = person_of(avatar, data, split)
    records, info = person.records, avatar.info
    full = _evaluate(avatar, person, info.steps)
    of_full, of_quick = _mean(full), _mean(_evaluate(avatar, person, info.quick_steps))
    report = {
        "split": split,
        "resolution_px": info.resolution_px,
        "steps": info.steps,
        **asdict(of_full),
        "quick_steps": info.quick_steps,
        "quick": asdict(of_quick),
        "frames": {r.id: asdict(s) for r, s in zip(records, full, strict=True)},
    }
    for mean, steps in ((of_full, info.steps), (of_quick, info.quick_steps)):
        print(
            f"{split}, {len(records)} frames at {info.resolution_px} px, {steps} steps:"
            f" PSNR {mean.psnr:.2f} dB, SSIM {mean.ssim:.4f}"
        )
    if json is not None:
        with written_aside(json) as aside:
            aside.write_text(json_format.dumps(report, indent=1))


def _evaluate(avatar: Avatar, person: Person, steps: int) -> list[Scores]:
    size = avatar.info.resolution_px
    scores = []
    for record in person.records:
        camera = person.head_frame.camera(record.camera, size)
        request = RenderRequest(
            person.expression(record), camera, steps=steps, sampler=avatar.info.sampler
        )
        scores.append(score(avatar.render(request).rgb, record.rgb(size)))
    return scores


def _mean(scores: list[Scores]) -> Scores:
    return Scores(
        float(np.mean([s.psnr for s in scores])), float(np.mean([s.ssim for s in scores]))
    )
