"""The camera in numbers, and the background."""

import math
from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar
from PIL import Image

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.viewer import camera_panel
from avatar_viewer.viewer.actions import PRESETS, TURNTABLE, action_of
from avatar_viewer.viewer.background_panel import ANOTHER_LAYER, NO_OPACITY, BackgroundPanel
from avatar_viewer.viewer.camera_panel import CameraPanel, with_fov
from avatar_viewer.viewer.camera_text import view_from_text, view_to_text

USUAL = INFO.default_view


@pytest.fixture
def panel(context, app, state):
    panel = CameraPanel(app, 352)
    panel.update()
    return panel


@pytest.fixture
def clipboard(monkeypatch):
    """Its text, as a list of one."""
    held = [""]
    monkeypatch.setattr(dpg, "set_clipboard_text", lambda text: held.__setitem__(0, text))
    return held


def choose(panel, widget, value):
    dpg.set_value(widget, value)
    dpg.get_item_callback(widget)(widget, value, dpg.get_item_user_data(widget))
    panel.update()


def test_sliders_write_the_view_and_follow_it(panel, app, state):
    for name, value in (("azimuth_deg", 30.0), ("elevation_deg", -10.0), ("distance", 4.0)):
        choose(panel, panel._sliders[name], value)
        assert state.session.view == replace(state.session.view, **{name: value})
    action_of("R").run(app)
    panel.update()
    for name, slider in panel._sliders.items():
        assert dpg.get_value(slider) == pytest.approx(getattr(USUAL, name))


def test_another_field_of_view_keeps_the_heads_size(panel, state):
    choose(panel, panel._sliders["fov_deg"], 12.0)
    view = state.session.view
    assert view.fov_deg == 12 and view.distance > USUAL.distance
    width, before = (v.distance * math.tan(math.radians(v.fov_deg / 2)) for v in (view, USUAL))
    assert width == pytest.approx(before)
    assert with_fov(with_fov(USUAL, 50), USUAL.fov_deg).distance == pytest.approx(USUAL.distance)


@pytest.mark.parametrize(("name", "value"), [("distance", -1.0), ("fov_deg", 180.0)])
def test_a_typed_number_that_no_camera_can_have_is_said(panel, app, state, name, value):
    choose(panel, panel._sliders[name], value)
    assert state.session.view == USUAL and app.messages.lines[-1].is_error
    assert dpg.get_value(panel._sliders[name]) == pytest.approx(getattr(USUAL, name))


def test_usual_views_turn_and_keep_the_distance(panel, app, state):
    closer = replace(USUAL, distance=USUAL.distance / 2, elevation_deg=50, azimuth_deg=-100)
    for name, azimuth_deg in PRESETS.items():
        state.change(view=closer)
        button = next(b for b in dpg.get_all_items() if dpg.get_item_label(b) == name)
        if (azimuth := dpg.get_item_user_data(button)) is None:
            dpg.get_item_callback(button)()
        else:
            dpg.get_item_callback(button)(button, None, azimuth)
        expected = replace(USUAL, azimuth_deg=azimuth_deg, distance=closer.distance)
        assert state.session.view == expected
    app.state = None
    action_of("F").run(app)  # without an avatar nothing happens


def test_the_turntable_turns_with_time(panel, app, state, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(camera_panel.time, "perf_counter", lambda: now[0])
    dpg.set_value(panel._speed, 40.0)
    action_of("T").run(app)
    assert TURNTABLE in app.opened
    panel.update()
    assert dpg.get_item_label(panel._turntable) == "Stop turning"
    for elapsed_s, degrees in ((0.1, 4.0), (0.05, 6.0), (9.0, 14.0)):  # a pause counts 0.2 s
        now[0] += elapsed_s
        panel.update()
        assert state.session.view.azimuth_deg == pytest.approx(degrees)
        assert dpg.get_value(panel._sliders["azimuth_deg"]) == pytest.approx(degrees)
    action_of("T").run(app)
    for _ in range(2):
        now[0] += 0.1
        panel.update()
    assert state.session.view.azimuth_deg == pytest.approx(14)


def test_a_view_is_copied_and_pasted(panel, app, state, clipboard):
    view = replace(USUAL, azimuth_deg=12.345678901, target=(0.1, -0.2, 1e-9))
    state.change(view=view)
    action_of("Ctrl+Shift+C").run(app)
    assert view_from_text(clipboard[0]) == view
    state.change(view=USUAL)
    choose(panel, panel._pasted, clipboard[0])
    assert state.session.view == view and "\n" not in clipboard[0]
    assert dpg.get_value(panel._pasted) == ""


def test_a_key_leads_to_the_field_for_a_view(panel, app, monkeypatch):
    focused = []
    monkeypatch.setattr(dpg, "focus_item", focused.append)
    action_of("Ctrl+Shift+V").run(app)
    for _ in range(2):
        panel.update()
    assert focused == [panel._pasted]


TEXT = view_to_text(USUAL)


@pytest.mark.parametrize(
    "text",
    [
        *("hello", "[1, 2]", "a: [", "\x00", "{" * 3000, "2024-99-99"),
        TEXT.replace("format_version: 1", "format_version: 2"),
        TEXT.replace("distance: 6", "distance: -6"),
        TEXT.replace("fov_deg: 30", "fov_deg: wide"),
        TEXT.replace("}", ", roll: 3}"),
        TEXT.replace("azimuth_deg", "azimuth"),
    ],
)
def test_another_text_is_one_line_and_changes_nothing(panel, app, state, text):
    choose(panel, panel._pasted, text)
    line = app.messages.lines[-1]
    assert line.is_error and line.text.startswith("copied view: ") and "\n" not in line.text
    assert state.session.view == USUAL
    with pytest.raises(AvatarError):
        view_from_text(text)


@pytest.fixture
def background(context, app, state):
    panel = BackgroundPanel(app, 352)
    frame = FakeAvatar().render(state.request())
    app.live = LiveState(frame=replace(frame, opacity=np.zeros((128, 128), np.uint8)))
    panel.update()
    return panel


def enabled(panel):
    return [dpg.get_item_configuration(control)["enabled"] for control in panel._controls]


def test_a_colour_is_chosen_and_cleared(background, state):
    dpg.set_value(background._colour, (10, 20, 30, 255))
    dpg.get_item_callback(background._colour)()
    background.update()
    assert state.session.background == (10, 20, 30)
    dpg.get_item_callback(background._clear)()
    background.update()
    assert state.session.background == (255, 255, 255)
    assert dpg.get_value(background._colour)[:3] == [255, 255, 255]


def test_a_picture_is_opened_unless_it_cannot_be_read(background, app, state, tmp_path):
    def type_in(text):
        dpg.set_value(background._path, text)
        dpg.get_item_callback(background._path)(background._path, text)
        background.update()

    path = tmp_path / "behind.png"
    Image.new("RGB", (4, 4)).save(path)
    type_in(f" {path} ")
    assert state.session.background_picture == path
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:30])
    type_in(str(tmp_path / "cut.png"))
    assert state.session.background_picture == path
    assert app.messages.lines[-1].is_error and "cut.png: expected" in app.messages.lines[-1].text
    type_in("")
    assert state.session.background_picture is None


def test_without_effect_it_is_grey_and_says_why(background, app, state):
    frame = app.live.frame
    layer = replace(frame, request=replace(frame.request, show="mesh"), opacity=None)
    for shown, hint in (
        (frame, ""),
        (replace(frame, opacity=None), NO_OPACITY),
        (layer, ANOTHER_LAYER),
        (frame, ""),
    ):
        app.live = LiveState(frame=shown)
        background.update()
        assert dpg.get_value(background._hint_text) == hint
        assert dpg.is_item_shown(background._hint_text) == bool(hint)
        assert enabled(background) == [not hint] * 3
