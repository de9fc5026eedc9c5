"""The strip of a timeline and its ruler: widgets without a display, and the real window."""

import time

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from golden_pictures import assert_matches_golden
from test_real_window import SOURCE_FIELD
from test_record_panel import call
from test_timeline import COUNT, FPS, SEQUENCE
from window_driver import SIDE_LEFT, WindowDriver

from avatar_viewer.expression.sequence import (
    ExpressionSequence,
    Header,
    load_sequence,
    save_sequence,
)
from avatar_viewer.viewer.preferences import Preferences, write_preferences
from avatar_viewer.viewer.timeline_panel import BUTTON_GROUPS_PX, TimelinePanel, rows_of
from avatar_viewer.viewer.timeline_ruler import MARGIN_PX, clock, unsure_parts
from avatar_viewer.viewer.window import MARGIN_PX as WINDOW_MARGIN_PX
from avatar_viewer.viewer.window import SIZE_PX

WIDTH_PX = 880
STRIP_TOP = 680
RULER_Y = 742
TOLERANCE = 2.0


@pytest.fixture
def panel(context, app, state, tmp_path):
    panel = TimelinePanel(app, dpg.add_group(parent=dpg.get_windows()[0]))
    panel.resize(WIDTH_PX)
    panel.update()
    return panel


@pytest.fixture
def opened(panel, app, tmp_path):
    save_sequence(SEQUENCE, tmp_path / "talk.npz")
    app.open(tmp_path / "talk.npz")
    panel.update()
    return panel


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (1000, [[0, 1, 2]]),
        (sum(BUTTON_GROUPS_PX) + 16, [[0, 1, 2]]),
        (sum(BUTTON_GROUPS_PX) + 15, [[0, 1], [2]]),
        (312, [[0], [1], [2]]),
        (1, [[0], [1], [2]]),
    ],
)
def test_buttons_go_to_the_next_row_where_room_ends(room, expected):
    assert rows_of(BUTTON_GROUPS_PX, room, 8) == expected


@pytest.mark.parametrize(
    ("time_s", "digits", "expected"),
    [(0, 0, "0:00"), (3.25, 2, "0:03.25"), (59.996, 2, "1:00.00"), (3725, 0, "62:05")],
)
def test_times_are_minutes_and_seconds(time_s, digits, expected):
    assert clock(time_s, digits) == expected


def test_frames_of_low_confidence_are_marked_even_where_a_pixel_holds_many():
    confidence = np.ones(10, np.float32)
    assert unsure_parts(confidence, 100) == []
    confidence[[0, 1, 9]] = 0.2
    assert unsure_parts(confidence, 100) == [(0.0, 0.2), (0.9, 1.0)]
    many = np.ones(100_000, np.float32)
    many[50_000] = 0
    assert unsure_parts(many, 100) == [(0.5, 0.51)]
    assert len(unsure_parts(np.arange(100_000) % 2 * np.float32(1), 300)) == 1
    assert unsure_parts(np.zeros(1, np.float32), 300) == [(0.0, 1.0)]


def test_the_strip_is_there_while_a_sequence_is_open(panel, app, opened):
    assert dpg.is_item_shown(opened.window) and opened.height_px > 0
    assert dpg.get_value(opened._place).endswith(f"frame 1 of {COUNT}")
    app.timeline.close()
    opened.update()
    assert not dpg.is_item_shown(opened.window) and opened.height_px == 0


def test_a_narrow_strip_is_higher(opened):
    low = opened.height_px
    opened.resize(328)
    assert opened.height_px > low
    assert [dpg.is_item_shown(line) for line in opened._lines] == [True] * 3
    opened.resize(WIDTH_PX)
    assert opened.height_px == low


def test_widgets_write_the_timeline_and_show_it(opened, app, state):
    timeline = app.timeline
    call(opened._speed, "0.5x")
    call(opened._loop, False)
    call(opened._head, True)
    call(opened._gaze, False)
    assert (timeline.speed, timeline.loops, timeline.turns_head) == (0.5, False, True)
    assert state.session.gaze == (0.0, 0.0)
    call(opened._gaze, True)
    assert state.session.gaze is None
    timeline.change_speed(2)
    timeline.go(6)
    call(opened._corners[1])
    opened.update()
    assert dpg.get_value(opened._speed) == "1.5x"
    assert dpg.get_item_label(opened._corners[1]) == state.session.corners[1].name == "talk 7"
    timeline.play_or_pause(0)
    opened.update()
    assert dpg.get_item_label(opened._play) == "Pause"


def test_a_drag_on_the_ruler_goes_to_the_frame_there(opened, app):
    ruler, timeline = opened.ruler, app.timeline
    wide = WIDTH_PX - 16 - 2 * MARGIN_PX
    assert ruler.press(dpg.mvMouseButton_Left, (0, 0))
    assert not ruler.press(dpg.mvMouseButton_Right, (0, 0))
    for part, frame in ((0.5, COUNT // 2), (-1, 0), (0.31, 6), (7, COUNT - 1)):
        ruler.drag(0, (MARGIN_PX + part * wide, 20), (0, 0))
        opened.update()
        assert timeline.frame == frame and ruler._at == ruler._x(frame / FPS)
    ruler.wheel(2)
    assert timeline.frame == COUNT - 3


def test_the_ruler_is_drawn_for_lengths_of_all_kinds(opened, app, tmp_path):
    for count, fps in ((1, 25.0), (1, 0.001), (2, 1000.0), (50_000, 0.5)):
        sequence = ExpressionSequence(Header(fps), np.zeros((count, 3), np.float32))
        save_sequence(sequence, tmp_path / "other.npz")
        app.open(tmp_path / "other.npz")
        opened.update()
        app.timeline.step(1)
        opened.update()
        texts = dpg.get_item_children(opened.ruler._scale, 2)
        assert 1 < len(texts) < 60


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A sequence that nobody is sure of in places; red tells the time."""
    folder = tmp_path_factory.mktemp("film")
    ramp = np.linspace(0, 1, 100, dtype=np.float32)
    sure = np.ones(100, np.float32)
    sure[30:45], sure[80] = 0.2, 0
    codes = np.stack([ramp, 0.2 + 0 * ramp, 1 - ramp], axis=1)
    pose = np.stack([30 * ramp, 0 * ramp, 0 * ramp], axis=1)
    save_sequence(ExpressionSequence(Header(25), codes, sure, pose), folder / "film.npz")
    return folder


def red(window: WindowDriver) -> int:
    """Of the disc, in the middle of the picture above the strip."""
    return int(window.capture()[340, 573, 0])


def open_film(window: WindowDriver, film) -> None:
    window.wait_for_picture()
    window.click(*SOURCE_FIELD)
    window.key("ctrl+a")
    window.type(str(film / "film.npz"))
    window.key("Return")
    window.wait(lambda: red(window) == 0, "the first frame")
    time.sleep(0.5)
    window.key("Escape")


@pytest.mark.gui
def test_a_sequence_is_played_in_the_window(open_window, film):
    window = open_window()
    open_film(window, film)
    window.key("space")
    reds = set()
    window.wait(lambda: reds.add(red(window)) or len(reds) > 8, "a play")
    window.key("space")
    window.still_picture()
    window.drag((100, RULER_Y), (7 + 16 + 0.8 * 850, RULER_Y))
    codes = load_sequence(film / "film.npz").codes
    window.wait(lambda: abs(red(window) - 255 * codes[80, 0]) < 8, "the frame below the mouse")
    window.key("Home")
    window.wait(lambda: red(window) == 0, "the first frame again")
    for frame in (1, 2, 3):
        window.key("period")
        window.wait(lambda n=frame: red(window) == int(255 * codes[n, 0]), "the next frame")
    window.key("ctrl+2")
    window.click(*window.on_pad(1, 0))
    window.wait(lambda: red(window) == int(255 * codes[3, 0]), "the corner that was set")
    window.click(*window.on_pad(0, 0))
    window.wait(lambda: red(window) > 200, "the pad's expression")


@pytest.mark.gui
def test_a_play_is_recorded(open_window, film):
    window = open_window()
    open_film(window, film)
    window.key("space", "v")
    time.sleep(2)
    window.key("v")
    found = window.wait(
        lambda: [p for p in window.folder.glob("*.mp4") if p.stat().st_size > 0], "a movie"
    )
    import av

    with av.open(str(found[0])) as movie:
        pictures = [f.to_ndarray(format="rgb24") for f in movie.decode(video=0)]
    centre = [int(picture[64, 88, 0]) for picture in pictures]
    assert len(set(centre)) > 8


@pytest.mark.gui
@pytest.mark.parametrize("look", ["dark", "light"])
def test_the_strip_looks_as_approved(open_window, film, tmp_path, look):
    (tmp_path / "config").mkdir()
    write_preferences(Preferences(theme=look), tmp_path / "config")
    window = open_window()
    open_film(window, film)
    window.click(300, RULER_Y)
    window.wait(lambda: red(window) > 50, "the frame below the mouse")
    window.move_mouse(SIZE_PX[0] - 2, SIZE_PX[1] - 2)
    time.sleep(1.5)
    strip = window.capture()[STRIP_TOP:, : SIDE_LEFT - WINDOW_MARGIN_PX]
    assert_matches_golden(strip, f"window_timeline_{look}", TOLERANCE)
