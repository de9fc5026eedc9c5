"""Panels without a display: widgets, values and callbacks only need a context."""

import json
import subprocess
import sys
from pathlib import Path

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar

from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.stages import LAYERS, Frame
from avatar_viewer.viewer.drawn_picture import DrawnPicture
from avatar_viewer.viewer.pad_panel import (
    PAD_PX,
    WIDTH_PX,
    PadPanel,
    pad_from_pixel,
    pixel_from_pad,
)
from avatar_viewer.viewer.settings_panel import SettingsPanel
from avatar_viewer.viewer.source_panel import SourcePanel, _chosen_path
from avatar_viewer.viewer.state import PAD_CORNERS, ViewerState
from avatar_viewer.viewer.texture import add_texture


def render(state) -> Frame:
    return FakeAvatar().render(state.request())


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_would_crash_the_graphics_driver_is_refused(context, rgb):
    with pytest.raises(ValueError, match=r"^texture: expected .* found"):
        add_texture(context, rgb)
    assert not dpg.get_item_children(context, 1)


def test_one_texture_stays_of_all_pictures(context):
    picture = DrawnPicture(context, dpg.add_drawlist(9, 9))
    rng = np.random.default_rng(0)
    for height, width in ((16, 16), (4, 8), (16, 3)):
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)[:, ::-1]  # not contiguous
        assert picture.show(rgb) and not picture.show(rgb)
        (texture,) = dpg.get_item_children(context, 1)
        texels = np.reshape(dpg.get_value(texture), (height, width, 4))
        assert np.allclose(texels[..., :3] * 255, rgb) and (texels[..., 3] == 1).all()
        size = dpg.get_item_configuration(texture)
        assert (size["width"], size["height"]) == (width, height)
    assert picture.uploads == 3
    assert not picture.show(None) and not dpg.is_item_shown(picture.image)


@pytest.mark.gui
def test_a_picture_shows_in_the_next_drawing_and_leaves_nothing_behind(display):
    script = Path(__file__).with_name("show_pictures.py")
    words = [sys.executable, str(script)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["seen"] == [[4 * i] * 3 for i in range(9, 60, 10)]
    assert found["grown_mb"] < 30  # of pictures that take 4 MB each, 29 more


def test_pad_pixels_and_places_agree():
    for place in ((0, 0), (1, 1), (0.25, 0.75)):
        assert pad_from_pixel(*pixel_from_pad(*place)) == pytest.approx(place)


def test_a_thumbnail_stands_for_its_corner():
    pixels = [(10, 10), (WIDTH_PX - 10, 10), (10, PAD_PX - 30), (WIDTH_PX - 10, PAD_PX - 30)]
    assert tuple(pad_from_pixel(*pixel) for pixel in pixels) == PAD_CORNERS


def test_dragging_the_pad_moves_the_state_and_the_cursor(context, app, state):
    panel = PadPanel(app, context)
    app.state = None
    panel.drag(0, (0, 0), (0, 0))
    app.state = state
    panel.drag(0, pixel_from_pad(0.25, 0.75), (0, 0))
    assert state.session.pad == pytest.approx((0.25, 0.75))
    panel.update()
    centre = dpg.get_item_configuration(panel._cursor)["center"]
    assert list(centre)[:2] == pytest.approx(pixel_from_pad(0.25, 0.75))


def test_thumbnails_appear_one_by_one_and_go_with_their_avatar(context, app, state):
    def shown():
        return [dpg.is_item_shown(picture.image) for picture in panel._pictures]

    panel = PadPanel(app, context)
    frames = tuple(FakeAvatar().render(request) for request in state.corner_requests())
    app.live = LiveState(thumbnails=frames[:2])
    panel.update()
    assert shown() == [True, True, False, False]
    app.live = LiveState(thumbnails=frames)
    panel.update()
    uploads = [picture.uploads for picture in panel._pictures]
    panel.update()
    assert shown() == [True] * 4
    assert [picture.uploads for picture in panel._pictures] == uploads
    app.live = LiveState()
    panel.update()
    assert shown() == [False] * 4


def test_widgets_show_and_write_the_state(context, app, state):
    panel = SettingsPanel(app, 300)
    panel.update()
    assert dpg.get_value(panel._widgets["steps"]) == 4
    assert tuple(dpg.get_item_configuration(panel._widgets["show"])["items"]) == LAYERS
    for name, value in {"steps": 9, "seed": 5, "show": "depth", "sampler": "lcm"}.items():
        choose(panel, name, value)
        assert getattr(state.session, name) == value
    state.change(show="normal")
    panel.update()
    assert dpg.get_value(panel._widgets["show"]) == "normal"


def choose(panel: SettingsPanel, name: str, value) -> None:
    """As a person does at a widget."""
    widget = panel._widgets[name]
    dpg.set_value(widget, value)
    dpg.get_item_callback(widget)(widget, value, dpg.get_item_user_data(widget))


def test_what_is_drawn_while_moving_is_automatic_or_chosen(context, app, state):
    panel = SettingsPanel(app, 300)
    panel.update()
    names = ("moving_steps", "moving_reduction")
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["auto steps", "auto size"]
    assert state.session.quick_choice() == QuickChoice(None, None)
    choose(panel, "moving_steps", "4 steps")
    choose(panel, "moving_reduction", "half size")
    panel.update()
    assert state.session.quick_choice() == QuickChoice(4, 2)
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["4 steps", "half size"]
    choose(panel, "moving_steps", "auto steps")
    assert state.session.quick_choice() == QuickChoice(None, 2)
    app.state = ViewerState.of("other", INFO, ExpressionSpace())
    panel.update()
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["auto steps", "auto size"]


def test_a_source_is_loaded_unless_it_is_blank(context, app):
    panel = SourcePanel(app, 300)
    for text in ("  ", " owner/name "):
        dpg.get_item_callback(panel._source)(panel._source, text)
    assert app.renderer.loaded == ["owner/name"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/a/b", "/a/b"), ("/a//b/c", "/b/c"), ("//b", "/b"), (r"C:\a\b", r"C:\a\b")],
)
def test_an_absolute_path_typed_into_the_dialog_is_taken_as_such(path, meant):
    assert _chosen_path(path) == meant
