"""Contact sheets: what lies where, and how files are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.sheet import SheetOptions, arranged, shrunk, write_sheet


def plain(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_rows_lie_below_each_other_and_go_on_below():
    truth, ours = [plain(i) for i in range(5)], [plain(100 + i) for i in range(5)]
    sheet = arranged([truth, ours], columns=3)
    assert sheet.shape == (4 * 4, 3 * 6, 3)
    cells = sheet[::4, ::6, 0]
    assert cells.tolist() == [[0, 1, 2], [100, 101, 102], [3, 4, 255], [103, 104, 255]]
    assert arranged([truth[:2]], columns=3).shape == (4, 12, 3)


def test_large_pictures_are_shrunk_and_small_ones_stay():
    assert shrunk(plain(7, 40, 60), 10).shape == (10, 15, 3)
    assert (shrunk(plain(7, 40, 60), 10) == 7).all()
    small = plain(7)
    assert shrunk(small, 10) is small


@pytest.mark.parametrize("name", ["sheet.png", "sheet.webp", "sheet.JPG"])
def test_the_name_chooses_the_format(tmp_path: Path, name: str):
    kinds = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG"}
    write_sheet([plain(10, 32, 32)], [plain(200, 32, 32)], SheetOptions(tmp_path / name, 16))
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kinds[Path(name).suffix.lower()]
        assert picture.size == (16, 32)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert abs(pixels[:16] - 10).max() < 8 and abs(pixels[16:] - 200).max() < 8


def test_bad_options_are_named(tmp_path: Path):
    with pytest.raises(AvatarError, match=r"^sheet: expected a name in \.png, .*, found .*a\.gif$"):
        SheetOptions(tmp_path / "a.gif")
    with pytest.raises(AvatarError, match="sheet size: expected 1 or more pixels, found 0"):
        SheetOptions(tmp_path / "a.png", 0)
    with pytest.raises(AvatarError, match="writable path"):
        write_sheet([plain(1)], [plain(2)], SheetOptions(tmp_path / "none" / "a.png"))
