"""Draws the mouths of docs/training.md: frames of a held-out sequence, the true ones above, then
each avatar's.

    python docs/make_mouth_picture.py DATA OUT.webp AVATAR [AVATAR ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.person import person_of
from avatar_viewer.evaluation.split import Shot, render, take_shots
from avatar_viewer.raster.camera import project

SPLIT, FRAMES = "sequence", 8
HALF_PX, TILE_PX = 44, 160
MOUTH = (0.0, -0.15, 0.33)
"""Canonical, world units."""


def mouth_of(rgb: np.ndarray, shot: Shot) -> np.ndarray:
    """The part of a picture around the mouth at rest."""
    (x, y), size = project(torch.tensor([MOUTH]), shot.camera)[0][0].tolist(), len(rgb)
    left, top = (round(min(max(at - HALF_PX, 0), size - 2 * HALF_PX)) for at in (x, y))
    part = rgb[top : top + 2 * HALF_PX, left : left + 2 * HALF_PX]
    return np.asarray(Image.fromarray(part).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC))


def main(data: Path, out: Path, avatars: list[str]) -> None:
    rows = []
    for source in avatars:
        avatar = Avatar.load(source)
        person = person_of(avatar, data, SPLIT)
        shots = take_shots(avatar, person)
        shots = [shots[i] for i in np.linspace(0, len(shots) - 1, FRAMES).round().astype(int)]
        if not rows:
            rows.append([mouth_of(shot.truth, shot) for shot in shots])
        pictures = render(avatar, person, shots, avatar.info.steps)
        rows.append([mouth_of(*each) for each in zip(pictures, shots, strict=True)])
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    Image.fromarray(sheet).save(out, quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
