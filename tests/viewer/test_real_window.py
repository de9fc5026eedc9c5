"""The real window under a real X server, moved by the mouse and keys and judged by its pixels."""

import time
from pathlib import Path

import numpy as np
import pytest
from fake_avatar import BACKGROUND, CORNER_COLOURS, draw
from PIL import Image
from window_driver import PAD_ORIGIN, PICTURE_PX, SIDE_LEFT, close_to

from avatar_viewer.live.screenshot import read_screenshot
from avatar_viewer.stages import LAYERS
from avatar_viewer.viewer.actions import PAD_NUDGE
from avatar_viewer.viewer.pad_panel import THUMBNAIL_PX, WIDTH_PX
from avatar_viewer.viewer.source_panel import DIALOG_PX
from avatar_viewer.viewer.window import SIZE_PX

pytestmark = pytest.mark.gui

SOURCE_FIELD = (SIDE_LEFT + 150, 222)


def test_the_thumbnails_are_the_corners(window):

    def thumbnails_shown():
        left, top = PAD_ORIGIN
        panel = window.capture()[top:, left : left + WIDTH_PX]
        halves = panel[: 2 * THUMBNAIL_PX, :THUMBNAIL_PX], panel[: 2 * THUMBNAIL_PX, -THUMBNAIL_PX:]
        quarters = [half[rows] for rows in (slice(0, 76), slice(92, 150)) for half in halves]
        colours = [(np.array(rgb) * 255).astype(int) for rgb in CORNER_COLOURS.values()]
        return all(close_to(q, c).any() for q, c in zip(quarters, colours, strict=True))

    window.wait(thumbnails_shown, "the four corners' colours")


def test_the_pad_blends_the_corners(window):
    window.press(window.on_pad(0.5, 0.5))
    window.move_mouse(*window.on_pad(0.75, 0.25))
    window.state.move_pad(0.75, 0.25)
    window.wait_for_picture()
    window.move_mouse(*window.on_pad(1.5, -0.5))
    window.state.move_pad(1, 0)
    window.wait_for_picture()
    window.xdotool("mouseup", "1")
    window.move_mouse(*window.on_pad(0, 1))
    time.sleep(0.3)
    window.wait_for_picture()


def test_arrow_keys_nudge_the_pad_and_c_centres_it(window):
    window.key(*["Right"] * 10, *["Down"] * 5)
    window.state.nudge_pad(10 * PAD_NUDGE, 5 * PAD_NUDGE)
    window.wait_for_picture()
    window.key("c")
    window.state.move_pad(0.5, 0.5)
    window.wait_for_picture()


def test_the_mouse_turns_moves_and_zooms_and_r_resets(window):
    part = 100 / PICTURE_PX
    start, right = window.in_picture(0.5, 0.5), window.in_picture(0.5 + part, 0.5 + part / 2)
    window.drag(start, right)
    window.state.orbit(part, part / 2)
    window.wait_for_picture()
    window.drag(start, right, button=3)
    window.state.pan(part, part / 2)
    window.wait_for_picture()
    window.drag(right, start, button=2)
    window.state.pan(-part, -part / 2)
    window.wait_for_picture()
    window.xdotool("click", "--repeat", "3", "--delay", "60", "4")
    window.state.zoom(3)
    window.wait_for_picture()
    window.key("r")
    window.state.reset_view()
    window.wait_for_picture()


def test_the_next_layer_by_key(window):
    for layer in (*LAYERS[1:], LAYERS[0]):
        window.key("l")
        window.state.change(show=layer)
        window.wait_for_picture()


def test_a_screenshot_holds_the_picture_and_its_request(window):
    window.drag(window.in_picture(0.5, 0.5), window.in_picture(0.6, 0.5))
    time.sleep(1)
    window.key("s")
    path = Path(window.wait(lambda: next(window.folder.glob("*.png"), None), "a screenshot"))
    shot = read_screenshot(path)
    assert shot.avatar_source == "demo"
    assert shot.request.steps == window.state.session.steps
    assert shot.request.camera != window.state.request().camera
    assert (np.asarray(Image.open(path)) == draw(shot.request)).all()


def test_a_broken_checkpoint_gives_a_message_and_the_old_avatar_lives(window):
    window.click(*SOURCE_FIELD)
    window.key("ctrl+a")
    window.type("broken")  # "r" resets no view here
    window.key("Return")
    window.wait_for_message(is_error=True)
    window.wait_for_picture()
    window.drag(window.on_pad(0.5, 0.5), window.on_pad(0, 1))
    window.state.move_pad(0, 1)
    window.wait_for_picture()


def test_the_dialog_opens_a_checkpoint_folder(window):
    window.key("o")
    left, top = ((a - b) // 2 for a, b in zip(SIZE_PX, DIALOG_PX, strict=True))
    window.wait(lambda: not close_to(window.picture(), BACKGROUND)[-200, -200], "the dialog")
    time.sleep(0.5)
    window.key("c")  # the dialog's, not the window's
    window.click(left + 24, top + DIALOG_PX[1] - 20)
    window.wait_for_message(is_error=True)
