"""Each tab, and each window over the others, as they looked when a person last approved them."""

import time

import pytest
from golden_pictures import assert_matches_golden
from window_driver import SIDE_LEFT, WindowDriver

from avatar_viewer.viewer.window import SIZE_PX

pytestmark = pytest.mark.gui

TABS_Y = 314
TABS = {
    "Expression": (944, 430),
    "Library": (1022, 590),
    "View": (1080, 750),
    "Picture": (1138, 480),
    "Record": (1203, 660),
}
"""Where to click for each, and how far down it reaches: below stand times that change."""
OVERLAYS = {
    "help": ("F1", (161, 80, 1119, 719)),
    "palette": ("ctrl+p", (380, 240, 895, 588)),
    "settings": ("ctrl+comma", (431, 261, 849, 375)),
}
"""The keys for each, and the box (left, top, right, bottom) of it that is always the same: without
a blinking caret and a folder."""
TOLERANCE = 2.0
"""Levels: a wrong word or a moved widget is more, another rounding of a font less."""


@pytest.fixture(scope="module")
def still_window(shared_window: WindowDriver) -> WindowDriver:
    shared_window.wait_for_picture()
    time.sleep(2)
    shared_window.key("Escape")  # the message of the start
    return shared_window


@pytest.mark.parametrize("tab", TABS)
def test_a_tab(still_window, tab):
    x, bottom = TABS[tab]
    still_window.click(x, TABS_Y)
    still_window.move_mouse(SIZE_PX[0] - 2, SIZE_PX[1] - 2)
    time.sleep(1.5)
    side = still_window.capture()[:bottom, SIDE_LEFT : SIZE_PX[0] - 30]
    assert_matches_golden(side, f"window_tab_{tab.lower()}", TOLERANCE)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_window_over_the_others(still_window, overlay):
    keys, (left, top, right, bottom) = OVERLAYS[overlay]
    still_window.key(keys)
    still_window.move_mouse(SIZE_PX[0] - 2, SIZE_PX[1] - 2)
    time.sleep(1.5)
    picture = still_window.capture()[top:bottom, left:right]
    still_window.key("Escape")
    time.sleep(0.5)
    assert_matches_golden(picture, f"window_{overlay}", TOLERANCE)
