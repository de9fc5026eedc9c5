"""Pictures of any lens become those of a centred square camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from captures import LENS, blob, blob_place, opencv_camera
from PIL import Image

from avatar_viewer.data.resample import Lens, read_rgba, square_picture
from avatar_viewer.errors import AvatarError

DISTORTED = replace(LENS, radial=(-0.2, 0.05, 0.01), tangential=(0.004, -0.003))


@pytest.mark.parametrize("lens", [LENS, DISTORTED])
@pytest.mark.parametrize(("size_px", "crop"), [(512, 1.0), (128, 1.0), (256, 0.6)])
@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (-0.12, 0.1, 0.05), (0.1, -0.15, 0.1)])
def test_a_point_lands_on_the_same_content(lens: Lens, size_px: int, crop: float, point: tuple):
    camera = opencv_camera(10)
    picture, fov_deg = square_picture(blob(lens, camera, np.array(point)), lens, size_px, crop)
    x, y, z = camera[:3, :3] @ point + camera[:3, 3]
    focal = size_px / 2 / np.tan(np.radians(fov_deg) / 2)
    expected = size_px / 2 + focal * np.array([x / z, y / z])
    assert np.abs(blob_place(picture) - expected).max() < 0.25


def test_the_whole_picture_is_kept_and_the_rest_is_transparent():
    rgba = Image.new("RGBA", LENS.size, (200, 100, 50, 255))
    picture, fov_deg = square_picture(rgba, LENS, 200)
    # The furthest side is the bottom: 215 pixels of 380 below the principal point... or above it.
    half = max(150 / 410, 170 / 410, 215 / 380, 185 / 380)
    assert np.tan(np.radians(fov_deg / 2)) == pytest.approx(half)
    pixels = np.asarray(picture)
    left, right = (100 + np.array([-150, 170]) / 410 / half * 100).round().astype(int)
    inner = pixels[2 : 100 + int(185 / 380 / half * 100) - 2, left + 2 : right - 2]
    assert (inner == (200, 100, 50, 255)).all()
    assert (pixels[:, : left - 2, 3] == 0).all() and (pixels[:, right + 2 :, 3] == 0).all()
    cropped, cropped_fov = square_picture(rgba, LENS, 200, crop=0.5)
    assert np.tan(np.radians(cropped_fov / 2)) == pytest.approx(half / 2)
    assert (np.asarray(cropped)[..., 3] == 255).mean() > 0.9


def test_a_strong_distortion_does_not_fold_back():
    """Beyond a radius this lens would show its rays again, mirrored."""
    lens = Lens((100.0, 100.0), (50.0, 50.0), (100, 100), radial=(-0.9, 0.0, 0.0))
    picture, _ = square_picture(Image.new("RGB", (100, 100), "red"), lens, 64, crop=1.0)
    x, y = np.meshgrid(*2 * [np.array([-3.0, -0.4, 0.0, 0.4, 3.0])])
    u, _ = lens.pixels(x, y)
    assert np.isfinite(u[1:4, 1:4]).all() and np.isnan(u[0]).all()
    assert np.asarray(picture)[32, 32, 3] == 255


def test_masks_give_alpha_and_colours_stay_straight(tmp_path: Path):
    Image.new("RGB", (40, 40), (250, 120, 30)).save(tmp_path / "a.png")
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 10:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    lens = Lens((50.0, 50.0), (20.0, 20.0), (40, 40))
    picture, _ = square_picture(read_rgba(tmp_path / "a.png", tmp_path / "mask.png"), lens, 40)
    pixels = np.asarray(picture)
    assert (pixels[:, :17, 3] == 0).all() and (pixels[:, 23:, 3] == 255).all()
    seen = pixels[pixels[..., 3] > 60][:, :3].astype(int)
    assert np.abs(seen - (250, 120, 30)).max() <= 4
    opaque = np.asarray(read_rgba(tmp_path / "a.png", None))
    assert (opaque[..., 3] == 255).all()


def test_what_cannot_be_resampled(tmp_path: Path):
    with pytest.raises(AvatarError, match="a picture of the shape"):
        square_picture(Image.new("RGB", (100, 100)), LENS, 32)
    for broken in ({"focal": (0.0, 1.0)}, {"centre": (np.nan, 1.0)}, {"radial": (np.inf, 0, 0)}):
        with pytest.raises(AvatarError, match=r"^intrinsics: expected finite"):
            replace(LENS, **broken)
    with pytest.raises(AvatarError, match=r"a\.png: expected a readable picture"):
        read_rgba(tmp_path / "a.png", None)
