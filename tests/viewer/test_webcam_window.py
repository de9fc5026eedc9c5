"""The webcam's window over the real one, as it looked when a person last approved it."""

import time

import pytest
from golden_pictures import assert_matches_golden

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.overlay import EDGE_PX
from avatar_viewer.viewer.webcam_panel import WebcamPanel
from avatar_viewer.viewer.window import SIZE_PX

pytestmark = pytest.mark.gui

TOLERANCE = 2.0


def test_the_window_of_the_webcam(window):
    window.wait_for_picture()
    window.key("Escape", "w")
    window.move_mouse(SIZE_PX[0] - 2, SIZE_PX[1] - 2)
    time.sleep(1.5)
    width, height = WebcamPanel.size
    picture = window.capture()[EDGE_PX : EDGE_PX + height, EDGE_PX : EDGE_PX + width]
    window.key("w")
    assert_matches_golden(picture, "window_webcam", TOLERANCE)


def test_an_avatar_without_an_arkit_map_is_told(window):
    window.key("Escape", "shift+w")
    window.wait_for_message(is_error=True)
    assert (window.capture()[0, 0] != theme.current().error).any()
