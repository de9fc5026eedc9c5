"""Backgrounds behind pictures that tell opacity."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from avatar_viewer.avatar_info import Corner
from avatar_viewer.errors import AvatarError
from avatar_viewer.live.compose import background_picture, composited, with_alpha
from avatar_viewer.live.session import Session
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import ExpressionCode, Frame, RenderRequest

VIEW = Orbit(0, 0, 3, (0, 0, 0), 30)
CORNER = Corner("neutral", ExpressionCode((0.0,)))
WHITE = Session("demo", (CORNER,) * 4, VIEW, steps=4, sampler="ddim")
GREY = replace(WHITE, background=(40, 80, 120))
RNG = np.random.default_rng(0)


def frame_over_white(colours: np.ndarray, opacity: np.ndarray | None) -> Frame:
    """What a decoder gives for these colours."""
    height, width = colours.shape[:2]
    request = RenderRequest(CORNER.expression, VIEW.camera(width, height))
    if opacity is None:
        return Frame(request, colours)
    return Frame(request, over(colours, opacity, 255), opacity=opacity)


def over(colours: np.ndarray, opacity: np.ndarray, behind) -> np.ndarray:
    share = opacity[..., None] / 255
    return np.rint(colours * share + (1 - share) * np.asarray(behind)).astype(np.uint8)


@pytest.fixture
def colours():
    return RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def frame(colours):
    opacity = RNG.integers(0, 256, (12, 16), dtype=np.uint8)
    opacity[0], opacity[1] = 0, 255
    return frame_over_white(colours, opacity)


def largest_difference(a: np.ndarray, b) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_a_picture_stands_on_a_colour(frame, colours):
    found = composited(frame, GREY)
    assert found.dtype == np.uint8
    assert (found[0] == GREY.background).all() and (found[1] == colours[1]).all()
    # Both pictures are rounded.
    assert largest_difference(found, over(colours, frame.opacity, GREY.background)) <= 1


def test_a_picture_stays_itself_on_white_or_without_opacity(frame, colours):
    assert composited(frame, WHITE) is frame.rgb
    opaque = frame_over_white(colours, None)
    assert composited(opaque, GREY) is opaque.rgb


def test_a_picture_stands_on_a_picture_that_covers_it(frame, colours, tmp_path):
    path = tmp_path / "wide.png"
    wide = np.zeros((12, 160, 3), np.uint8)
    wide[:, 72:88] = 90  # the middle, which is as large as the frame
    Image.fromarray(wide).save(path)
    found = composited(frame, replace(GREY, background_picture=path))
    assert largest_difference(found, over(colours, frame.opacity, 90)) <= 1
    small = background_picture(path, 4, 3)
    assert small.shape == (3, 4, 3) and largest_difference(small[:, 1:3], 90) < 5


def test_a_background_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "behind.png"
    opened = []
    really_open = Image.open
    monkeypatch.setattr(Image, "open", lambda p: opened.append(p) or really_open(p))
    for level in (10, 200):
        Image.new("RGB", (level, 8), (level,) * 3).save(path)
        for _ in range(3):
            assert (background_picture(path, 8, 8) == level).all()
    assert len(opened) == 2


def test_a_background_that_is_no_picture_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("not a picture")
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    Image.new("L", (100, 90)).save(tmp_path / "huge.png")
    Image.new("L", (150, 150)).save(tmp_path / "huger.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8000)
    found = {"none.png": "No such file", ".": "Is a directory", "huge.png": "megapixels"}
    found |= {"huger.png": "megapixels"}
    for name in ("none.png", ".", "text.png", "cut.png", "cut.jpg", "huge.png", "huger.png"):
        path = tmp_path / name
        with pytest.raises(AvatarError, match=found.get(name, "another or a damaged")) as caught:
            background_picture(path, 8, 8)
        assert str(caught.value).startswith(f"{path}: expected ")
        assert "\n" not in str(caught.value)


def test_alpha_gives_the_same_picture_over_white_again(frame, colours):
    found = with_alpha(frame)
    assert found.dtype == np.uint8 and (found[..., 3] == frame.opacity).all()
    assert (found[1, :, :3] == colours[1]).all()
    assert largest_difference(over(found[..., :3], found[..., 3], 255), frame.rgb) <= 1
    opaque = with_alpha(frame_over_white(colours, None))
    assert (opaque[..., :3] == colours).all() and (opaque[..., 3] == 255).all()
