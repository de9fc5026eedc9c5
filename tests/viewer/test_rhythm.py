"""The window's pauses; lengths are compared with each other only."""

import subprocess
import threading
import time

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.viewer import rhythm as rhythm_module
from avatar_viewer.viewer.rhythm import AT_REST, AWAKE, FOLLOWING, Glance, Rhythm

WINDOW = {"left": 100, "top": 50, "width": 400, "height": 300}


class Told(Glance):
    """Sees what a test says."""

    place = 0

    def _look(self):
        return self.place, 0, 0, b""


@pytest.fixture
def rhythm(monkeypatch):
    monkeypatch.setattr(rhythm_module, "Glance", Told)
    made = Rhythm()
    made.watch()
    assert made._glance.changed()  # to it all is new at first
    yield made
    made.close()


def paused_s(rhythm: Rhythm, drawing_s: float, before=lambda: None) -> float:
    """The shortest of three pauses: a busy machine only makes them longer."""
    pauses = []
    for _ in range(3):
        rhythm.count(drawing_s)
        before()
        began = time.perf_counter()
        rhythm.pause()
        pauses.append(time.perf_counter() - began)
    return min(pauses)


def test_drawing_takes_its_share_of_the_time_within_limits():
    for pace in (AWAKE, AT_REST, FOLLOWING):
        usual_s = 0.5 * (pace.least_s + pace.most_s) * pace.share
        assert usual_s / (usual_s + pace.pause_s(usual_s)) == pytest.approx(pace.share)
        assert pace.pause_s(0) == pace.least_s
        assert pace.pause_s(pace.most_s / 2) == pace.most_s / 2


def test_what_has_been_drawn_in_between_counts(rhythm):
    rhythm.stay_awake()
    once_s = paused_s(rhythm, 0.005)
    twice_s = paused_s(rhythm, 0.005, before=lambda: rhythm.count(0.005))
    assert twice_s > 1.5 * once_s


def test_at_rest_it_pauses_longer(rhythm):
    rest_s = paused_s(rhythm, 0.02)
    assert paused_s(rhythm, 0.02, before=rhythm.stay_awake) < rest_s / 3


def test_a_moving_mouse_ends_the_pause_at_rest(rhythm):
    rest_s = paused_s(rhythm, 0.02)

    def move() -> None:
        rhythm._glance.place += 1

    assert paused_s(rhythm, 0.02, before=move) < rest_s / 3
    assert paused_s(rhythm, 0.02) > 2 * rest_s / 3


def test_a_moving_mouse_is_followed_more_closely(rhythm):
    awake_s = paused_s(rhythm, 0.012, before=rhythm.stay_awake)

    def move() -> None:
        rhythm.stay_awake()
        rhythm._glance.place += 1

    assert paused_s(rhythm, 0.012, before=move) < awake_s / 2


def test_news_of_the_renderer_end_the_pause_at_rest(rhythm):
    rest_s = paused_s(rhythm, 0.02)
    assert paused_s(rhythm, 0.02, before=rhythm.wake) < rest_s / 3
    later = [threading.Timer(rest_s / 10, rhythm.wake) for _ in range(3)]
    assert paused_s(rhythm, 0.02, before=lambda: later.pop().start()) < 2 * rest_s / 3
    assert paused_s(rhythm, 0.02) > 2 * rest_s / 3


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
