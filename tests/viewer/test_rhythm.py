"""The window's pauses; lengths are compared with each other only."""

import subprocess
import threading
import time

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.viewer import glance as glance_module
from avatar_viewer.viewer.glance import Glance, Seen
from avatar_viewer.viewer.rhythm import AT_REST, AWAKE, BESIDE_PICTURES, FOLLOWING, Rhythm

WINDOW = {"left": 100, "top": 50, "width": 400, "height": 300}


class Told(Glance):
    """Sees what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.close()
        self.place = 0

    def _look(self):
        return Seen(self.place, 0, 0, b"")


@pytest.fixture
def glance(monkeypatch):
    monkeypatch.setattr(glance_module, "_is_over_window", lambda seen: seen.x >= 0)
    told = Told()
    assert told.changed()  # to it all is new at first
    return told


@pytest.fixture
def rhythm(glance):
    return Rhythm(glance.changed)


def paused_s(
    rhythm: Rhythm, drawing_s: float, before=lambda: None, pictures_come: bool = False
) -> float:
    """The shortest of three pauses: a busy machine only makes them longer."""
    pauses = []
    for _ in range(3):
        before()
        began = time.perf_counter()
        rhythm.pause(drawing_s, pictures_come)
        pauses.append(time.perf_counter() - began)
    return min(pauses)


def test_drawing_takes_its_share_of_the_time_within_limits():
    for pace in (AWAKE, AT_REST, FOLLOWING, BESIDE_PICTURES):
        usual_s = 0.5 * (pace.least_s + pace.most_s) * pace.share
        assert usual_s / (usual_s + pace.pause_s(usual_s)) == pytest.approx(pace.share)
        assert pace.pause_s(0) == pace.least_s
        long_s = pace.most_s * (1 + pace.share) / 2
        assert pace.pause_s(long_s) == pytest.approx(pace.most_s - long_s)


def test_at_rest_it_pauses_longer(rhythm):
    rest_s = paused_s(rhythm, 0.02)
    assert paused_s(rhythm, 0.02, before=rhythm.stay_awake) < rest_s / 3


def test_a_moving_mouse_ends_the_pause_at_rest(rhythm, glance):
    rest_s = paused_s(rhythm, 0.02)

    def move() -> None:
        glance.place += 1

    assert paused_s(rhythm, 0.02, before=move) < rest_s / 3
    assert paused_s(rhythm, 0.02) > 2 * rest_s / 3


def test_a_moving_mouse_is_followed_more_closely(rhythm, glance):
    awake_s = paused_s(rhythm, 0.012, before=rhythm.stay_awake)

    def move() -> None:
        rhythm.stay_awake()
        glance.place += 1

    assert paused_s(rhythm, 0.012, before=move) < awake_s / 2
    # But not while pictures come: they show the cursor too, and need the cores.
    assert paused_s(rhythm, 0.012, before=move, pictures_come=True) > awake_s / 2


def test_news_of_the_renderer_end_the_pause_at_rest(rhythm, glance):
    rest_s = paused_s(rhythm, 0.02)
    assert paused_s(rhythm, 0.02, before=rhythm.wake) < rest_s / 3
    later = [threading.Timer(rest_s / 10, rhythm.wake) for _ in range(3)]
    assert paused_s(rhythm, 0.02, before=lambda: later.pop().start()) < 2 * rest_s / 3
    assert paused_s(rhythm, 0.02) > 2 * rest_s / 3


def test_a_glance_off_the_window_is_none(glance):
    glance.place = 1
    assert glance.changed()
    glance.place = -1
    assert not glance.changed()


def test_a_glance_knows_where_the_mouse_will_be_drawn(glance):
    assert glance.mouse() is None
    glance.place = 30
    glance.align((25.0, 0.0))  # moved while it was drawn: tells nothing
    assert glance.mouse() is None
    glance.align((25.0, 0.0))
    glance.place = 37
    assert glance.mouse() == (32.0, 0.0)
    glance.forget()
    glance.align((32.0, 0.0))  # nobody looked before this drawing
    assert glance.mouse() is None


@pytest.mark.gui
def test_a_glance_sees_the_mouse_over_the_window(display, monkeypatch):
    monkeypatch.setattr(dpg, "get_viewport_pos", lambda: [WINDOW["left"], WINDOW["top"]])
    monkeypatch.setattr(dpg, "get_viewport_client_width", lambda: WINDOW["width"])
    monkeypatch.setattr(dpg, "get_viewport_client_height", lambda: WINDOW["height"])
    while (glance := Glance())._display is None:
        time.sleep(0.1)  # Xvfb begins anew when its last client has gone

    def changed_by(*words) -> bool:
        subprocess.run(["xdotool", *map(str, words)], timeout=10)
        return any(glance.changed() or time.sleep(0.02) for _ in range(20))

    while not changed_by("mousemove", 300, 200):
        pass
    assert not glance.changed()
    for words in (
        ("mousemove", 301, 200),
        ("keydown", "shift"),
        ("keyup", "shift"),
        ("mousedown", 1),
        ("mouseup", 1),
    ):
        assert changed_by(*words), words
        assert not glance.changed()
    assert not changed_by("mousemove", 99, 200)
    assert not changed_by("mousemove", 300, 351)
    assert changed_by("mousemove", 300, 349)
    glance.close()
    assert not changed_by("mousemove", 300, 200)
