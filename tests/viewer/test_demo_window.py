"""The embedded avatar in the real window: what `avatar-viewer` opens."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_real_window import SOURCE_FIELD
from window_driver import PICTURE_PX, WindowDriver

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.live.screenshot import read_screenshot

pytestmark = [pytest.mark.gui, pytest.mark.slow]

CAPTURES = 40
"""A tenth of a second each: the few-step picture stands that long before the full one follows."""


@pytest.fixture
def one_thread():
    """As many as the driven window has: sums come out in another order with another number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def demo_window(display, tmp_path):
    with WindowDriver(
        "", tmp_path, [sys.executable, "-m", "avatar_viewer", "--runtime", "eager"]
    ) as window:
        yield window


def test_the_demo_lives_in_the_window(demo_window: WindowDriver, one_thread: None) -> None:
    window = demo_window
    avatar = Avatar.load(DEMO_FOLDER)
    window.wait(lambda: (window.picture() > 200).mean() > 0.2, "the avatar on white")
    window.key("Escape")  # the message lies over the picture
    start = window.still_picture(CAPTURES)

    window.drag(window.on_pad(0.5, 0.5), window.on_pad(0, 1))
    surprised = settled_after(window, start, 0.005)

    window.drag(window.in_picture(0.5, 0.5), window.in_picture(0.7, 0.5))
    settled_after(window, surprised, 0.1)

    window.key("s")
    path = window.wait(lambda: next(window.folder.rglob("*.png"), None), "a screenshot")
    window.key("Escape")
    shot = read_screenshot(path)
    pixels = np.asarray(Image.open(path))
    corner = np.array(avatar.info.corners[2].expression.values)
    assert np.abs(np.array(shot.request.expression.values) - corner).max() < 0.1
    assert shot.request.camera != avatar.info.default_view.camera(*pixels.shape[1::-1])
    assert np.array_equal(avatar.render(shot.request).rgb, pixels)
    turned = window.still_picture(CAPTURES)
    shown = Image.fromarray(pixels).resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(shown, int) - turned).mean() < 3

    window.click(*SOURCE_FIELD)
    window.key("ctrl+a")
    window.type("broken")
    window.key("Return")
    window.wait_for_message(is_error=True)
    assert np.array_equal(window.still_picture(CAPTURES), turned)
    window.key("r", "c")
    window.wait(lambda: changed(start, window.picture()) < 0.001, "the first picture again")

    other = avatar.render(replace(shot.request, seed=shot.request.seed + 1)).rgb
    assert not np.array_equal(other, pixels)


def settled_after(window: WindowDriver, before: np.ndarray, part: float) -> np.ndarray:
    """The picture at rest, once more than a part of it has changed."""
    window.wait(lambda: changed(before, window.picture()) > part, "another picture")
    return window.still_picture(CAPTURES)


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """The part of the pixels that are clearly different."""
    return float((np.abs(before.astype(int) - after).max(-1) > 24).mean())
