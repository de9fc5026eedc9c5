"""The expression pad: its trail, paths that are drawn on it, and its corners."""

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.avatar_info import Corner
from avatar_viewer.viewer import pad_panel
from avatar_viewer.viewer.actions import all_actions
from avatar_viewer.viewer.pad_geometry import PAD_PX, WIDTH_PX, pixel_from_pad
from avatar_viewer.viewer.pad_panel import PadPanel
from avatar_viewer.viewer.pad_trail import TRAIL_S, PadTrail
from avatar_viewer.viewer.stroke import LONGEST_S, Stroke
from avatar_viewer.viewer.stroke_panel import StrokePanel
from avatar_viewer.viewer.text_width import shortened, text_width

CORNER_PIXELS = ((10, 10), (WIDTH_PX - 10, 10), (10, PAD_PX - 30), (WIDTH_PX - 10, PAD_PX - 30))
LEFT, RIGHT = dpg.mvMouseButton_Left, dpg.mvMouseButton_Right


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]` is the time that the pad sees, in seconds."""
    now_s = [100.0]
    monkeypatch.setattr(pad_panel.time, "perf_counter", lambda: now_s[0])
    return now_s


@pytest.fixture
def panel(context, app, state) -> PadPanel:
    return PadPanel(app, context)


def drawn(*places, loops=False) -> Stroke:
    """A path of (time, x, y)."""
    stroke = Stroke()
    stroke.loops = loops
    stroke.press(is_drawn=True)
    for time_s, x, y in places:
        stroke.add((x, y), time_s)
    return stroke


def test_a_path_is_played_at_the_pace_at_which_it_was_drawn():
    stroke = drawn((5.0, 0.0, 0.0), (6.0, 0.4, 0.0), (6.5, 0.4, 1.0))
    assert stroke.place(20.0) is None and stroke.duration_s == 1.5
    stroke.play(20.0)
    for now_s, place in ((20.0, (0, 0)), (20.25, (0.1, 0)), (21.0, (0.4, 0)), (21.25, (0.4, 0.5))):
        assert stroke.place(now_s) == pytest.approx(place)
    assert stroke.place(21.6) == (0.4, 1.0)
    assert not stroke.is_playing and stroke.place(21.7) is None


def test_a_path_goes_round_and_round_until_it_is_stopped():
    stroke = drawn((5.0, 0.0, 0.0), (6.0, 1.0, 0.0), loops=True)
    stroke.play(20.0)
    assert [stroke.place(20.0 + s) for s in (1.0, 1.5, 7.25)] == [(0, 0), (0.5, 0), (0.25, 0)]
    stroke.stop()
    assert stroke.place(28.0) is None


def test_a_path_of_one_place_or_none_is_not_played():
    for stroke in (Stroke(), drawn((5.0, 0.0, 0.0)), drawn((5.0, 0.0, 0.0), (5.0, 1.0, 0.0))):
        stroke.play(20.0)
        assert stroke.place(20.0) is None


def test_a_path_ends_when_it_is_long():
    stroke = drawn(*((LONGEST_S / 4 * i, 0.01 * i, 0.0) for i in range(10)))
    assert stroke.duration_s == LONGEST_S and not stroke.is_drawing


def test_an_armed_drag_is_drawn_and_the_next_one_is_not(panel, app, state, clock):
    app.stroke.is_armed = True
    drag(panel, clock, (0.1, 0.2), (0.9, 0.2))
    assert [x for x, _ in app.stroke.places] == pytest.approx([0.1, 0.9])
    drag(panel, clock, (0.5, 0.5))
    assert len(app.stroke.places) == 2


def drag(panel, clock, *places) -> None:
    """With a second between places."""
    assert panel.press(LEFT, pixel_from_pad(*places[0]))
    for place in places:
        panel.drag(LEFT, pixel_from_pad(*place), (0, 0))
        panel.update()
        clock[0] += 1


def test_playing_moves_the_cursor_until_it_is_moved_otherwise(panel, app, state, clock):
    app.stroke.is_armed = True
    drag(panel, clock, (0.0, 0.5), (1.0, 0.5))
    run("Shift+D", app)
    for after_s, x in ((0.0, 0.0), (0.5, 0.5), (0.25, 0.75)):
        clock[0] += after_s
        panel.update()
        assert panel.is_moving and state.session.pad == pytest.approx((x, 0.5))
    run("C", app)
    panel.update()
    assert state.session.pad == (0.5, 0.5) and not app.stroke.is_playing
    run("Shift+D", app)
    panel.update()
    drag(panel, clock, (0.2, 0.2))
    assert state.session.pad == pytest.approx((0.2, 0.2)) and not app.stroke.is_playing


def run(keys, app) -> None:
    next(action for action in all_actions() if action.keys == keys).run(app)


def test_playing_nothing_is_complained_about(app):
    run("Shift+D", app)
    assert app.messages.lines[-1].is_error
    run("D", app)
    assert app.stroke.is_armed
    run("D", app)
    assert not app.stroke.is_armed


def test_the_buttons_tell_what_they_would_do(context, app):
    panel = StrokePanel(app, 300)
    app.stroke = drawn((5.0, 0.0, 0.0), (6.0, 1.0, 0.0), loops=True)

    def labels():
        panel.update()
        return [dpg.get_item_label(button) for button in (panel._draw, panel._play)]

    assert labels() == ["Draw a path", "Play it"]
    assert dpg.get_value(panel._loop)
    app.stroke.is_armed = True
    assert labels() == ["Drag now", "Play it"]
    app.stroke.play(20.0)
    assert labels() == ["Draw a path", "Stop"]
    dpg.get_item_callback(panel._loop)(panel._loop, False)
    assert not app.stroke.loops


def test_a_double_click_on_a_corner_asks_the_library_for_it(panel, app, clock):
    for corner, pixel in enumerate(CORNER_PIXELS):
        assert panel.press(LEFT, pixel)
        clock[0] += 0.2
        assert not panel.press(LEFT, pixel)
        assert app.target_corner == corner and app.opened == {"library"}
        app.opened.clear()
        assert panel.press(LEFT, pixel)  # the third click of three asks no more
        assert app.opened == set()
        clock[0] += 5


@pytest.mark.parametrize(
    ("first", "second", "after_s"),
    [
        (CORNER_PIXELS[0], CORNER_PIXELS[0], 1.0),
        (CORNER_PIXELS[0], CORNER_PIXELS[1], 0.1),
        (pixel_from_pad(0.5, 0.5), pixel_from_pad(0.5, 0.5), 0.1),
    ],
)
def test_other_clicks_ask_nothing(panel, app, clock, first, second, after_s):
    panel.press(LEFT, first)
    clock[0] += after_s
    assert panel.press(LEFT, second) and app.opened == set()
    assert not panel.press(RIGHT, second)


def test_the_corner_that_the_library_fills_is_marked(panel, app):
    panel.update()
    assert not dpg.is_item_shown(panel._mark)
    app.target_corner = 2
    panel.update()
    assert dpg.is_item_shown(panel._mark)
    assert list(dpg.get_item_configuration(panel._mark)["pmin"])[:2] == [1, 93]
    app.target_corner = None
    panel.update()
    assert not dpg.is_item_shown(panel._mark)


def test_the_trail_fades_within_its_time(context):
    trail = PadTrail(dpg.add_drawlist(100, 100), pixel_from_pad)

    def bands():
        return [dpg.is_item_shown(band) for band in trail._bands]

    trail.follow((0.5, 0.5), 10.0)
    assert not any(bands()) and not trail.is_fading
    trail.follow((0.6, 0.5), 10.01)
    assert bands()[-1] and not any(bands()[:-1]) and trail.is_fading
    trail.follow((0.6, 0.5), 10.01 + TRAIL_S / 2)
    assert bands()[-1] and trail.is_fading
    trail.follow((0.6, 0.5), 10.02 + TRAIL_S)
    assert not any(bands()) and not trail.is_fading


def test_a_path_is_drawn_as_long_as_there_is_one(context):
    trail = PadTrail(dpg.add_drawlist(100, 100), pixel_from_pad)
    trail.show_path([(0, 0), (0, 0), (1, 1)])
    assert len(dpg.get_item_configuration(trail._path)["points"]) == 2
    assert dpg.is_item_shown(trail._path)
    trail.show_path([])
    assert not dpg.is_item_shown(trail._path)


def test_long_names_end_where_their_thumbnails_do(panel, state):
    name = "an unusually wide smile with teeth"
    corner = Corner(name, state.info.corners[0].expression)
    state.change(corners=(corner, *state.info.corners[1:]))
    panel.update()
    shown = dpg.get_item_configuration(panel._names[0])["text"]
    assert shown.endswith("…") and name.startswith(shown[:-1])
    assert 60 < text_width(shown, 13) <= 76
    assert dpg.get_item_configuration(panel._names[1])["text"] == "smile"


@pytest.mark.parametrize("text", ["", "a", "a b c d e f"])
def test_text_is_shortened_to_a_letter_at_most(context, text):
    assert len(shortened(text, 0, 13)) <= 2 and shortened(text, 1000, 13) == text
