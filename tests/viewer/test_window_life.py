"""The real window from its opening to its end, judged by its pixels and what it counted."""

import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from fake_avatar import BACKGROUND
from window_driver import SIDE_LEFT, close_to

from avatar_viewer.viewer import theme

pytestmark = pytest.mark.gui


def test_the_window_shows_what_it_loads_and_then_the_avatar(open_window):
    window = open_window("slow")

    def note_shown():
        picture = window.picture()
        return _bright(picture).any() and not close_to(picture, BACKGROUND).any()

    window.wait(note_shown, "a note")
    window.wait_for_picture()


def test_at_rest_nothing_is_submitted_or_uploaded_and_little_is_computed(open_window):
    window = open_window()
    window.wait_for_picture()

    def cpu_s(seconds: float, between=lambda: None) -> float:
        end_s, before = time.monotonic() + seconds, _cpu_s(window.process.pid)
        while time.monotonic() < end_s:
            between()
            time.sleep(0.1)
        return _cpu_s(window.process.pid) - before

    places = itertools.cycle((window.in_picture(0.2, 0.2), window.in_picture(0.3, 0.3)))
    watched_s = cpu_s(4, lambda: window.move_mouse(*next(places)))
    time.sleep(3)
    assert cpu_s(4) < watched_s / 2
    window.wait_for_picture()
    counts = window.close()
    assert counts == {"uploads": 2, "submissions": 2}  # the quick picture and the full one


def test_closing_the_window_ends_the_process_while_it_loads(open_window):
    window = open_window("slow")
    window.close()


def test_a_resized_window_shows_the_picture_undistorted(open_window):
    window = open_window()
    window.wait_for_picture()
    before = _disc_px(window)
    window.xdotool("windowsize", "--sync", window.window, "900", "600")

    def disc_is_smaller_and_round():
        height, width = _disc_px(window)
        return 0 < height < 0.8 * before[0] and abs(height - width) <= 4

    window.wait(disc_is_smaller_and_round, "a small round disc")


def test_resizing_leaks_nothing(open_window):
    window = open_window()
    window.wait_for_picture()

    def resize(times: int) -> float:
        """Resident memory after it, MB."""
        for _ in range(times):
            for size in (("800", "600"), ("1200", "780")):
                window.xdotool("windowsize", "--sync", window.window, *size)
        time.sleep(2)  # it is told every second
        return json.loads((window.folder / "alive.json").read_text())["resident_mb"]

    before_mb = resize(10)
    # A picture of this size that was left behind each time would be some 60 MB.
    assert resize(30) - before_mb < 20


def _disc_px(window) -> tuple[int, int]:
    """Height and width of the disc on the screen."""
    colour = [int(value * 255) for value in window.state.request().expression.values]
    rows, columns = np.nonzero(close_to(window.capture()[:, :SIDE_LEFT], colour))
    return (int(np.ptp(rows)), int(np.ptp(columns))) if len(rows) else (0, 0)


def _bright(rgb: np.ndarray) -> np.ndarray:
    return rgb.max(-1) > np.array(theme.BACKGROUND).max() + 60


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
