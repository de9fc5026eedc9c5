"""Contact sheets: pictures in rows, the truth above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_viewer.errors import AvatarError
from avatar_viewer.files import written_aside

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
QUALITY = 90
COLUMNS = 10
"""Pictures beside each other, before the next pair of rows begins."""


@dataclass(frozen=True)
class SheetOptions:
    """Where a sheet goes and how large its pictures are."""

    path: Path
    size_px: int = 128
    """Height of each picture; larger ones are shrunk, smaller ones stay."""

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in FORMATS:
            raise AvatarError(f"sheet: expected a name in {', '.join(FORMATS)}, found {self.path}")
        if self.size_px < 1:
            raise AvatarError(f"sheet size: expected 1 or more pixels, found {self.size_px}")


def shrunk(rgb: np.ndarray, size_px: int) -> np.ndarray:
    """uint8 [H,W,3] at a height of at most `size_px`."""
    height, width = rgb.shape[:2]
    if height <= size_px:
        return rgb
    size = (max(1, round(width * size_px / height)), size_px)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def arranged(rows: Sequence[Sequence[np.ndarray]], columns: int = COLUMNS) -> np.ndarray:
    """Rows of equally many pictures of one size, uint8 [H,W,3] -> one picture.

    After `columns` pictures all rows go on below; what is left free is white.
    """
    height, width = rows[0][0].shape[:2]
    count = len(rows[0])
    columns = min(columns, count)
    bands = -(-count // columns)
    sheet = np.full((bands * len(rows) * height, columns * width, 3), 255, np.uint8)
    for index in range(count):
        band, column = divmod(index, columns)
        for row, pictures in enumerate(rows):
            top, left = (band * len(rows) + row) * height, column * width
            sheet[top : top + height, left : left + width] = pictures[index]
    return sheet


def write_picture(rgb: np.ndarray, path: Path) -> None:
    """PNG, WebP or JPEG, as the name says."""
    kind = FORMATS[path.suffix.lower()]
    with written_aside(path) as aside:
        Image.fromarray(rgb).save(aside, format=kind, quality=QUALITY)


def write_sheet(
    truth: Sequence[np.ndarray], rendered: Sequence[np.ndarray], options: SheetOptions
) -> None:
    """The true pictures of a split, uint8 [H,W,3], with the rendered ones below."""
    rows = [[shrunk(rgb, options.size_px) for rgb in row] for row in (truth, rendered)]
    write_picture(arranged(rows), options.path)
