"""Panels without a display: widgets, values and callbacks only need a context."""

from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar

from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.stages import LAYERS, Frame
from avatar_viewer.viewer.pad_panel import (
    PAD_PX,
    WIDTH_PX,
    PadPanel,
    pad_from_pixel,
    pixel_from_pad,
)
from avatar_viewer.viewer.settings_panel import SettingsPanel
from avatar_viewer.viewer.source_panel import SourcePanel, _chosen_folder
from avatar_viewer.viewer.state import PAD_CORNERS, ViewerState
from avatar_viewer.viewer.status_panel import FrameRate, StatusPanel
from avatar_viewer.viewer.texture import PictureTexture
from avatar_viewer.viewer.view_panel import ViewPanel


def render(state) -> Frame:
    return FakeAvatar().render(state.request())


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((17, 8, 3), np.uint8),
        np.zeros((8, 17, 3), np.uint8),
    ],
)
def test_what_would_crash_the_graphics_driver_is_refused(context, rgb):
    texture = PictureTexture(context, 16)
    with pytest.raises(ValueError, match=r"^texture: expected .* found"):
        texture.upload(rgb)
    assert texture.uploads == 0


def test_a_texture_holds_any_picture_up_to_its_size(context):
    texture = PictureTexture(context, 16)
    rng = np.random.default_rng(0)
    for height, width in ((16, 16), (4, 8), (16, 3)):
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        texture.upload(rgb[:, ::-1])  # not contiguous
        texels = texture._buffers[texture.uploads % 2][:height, :width]
        assert np.allclose(texels[..., :3] * 255, rgb[:, ::-1]) and (texels[..., 3] == 1).all()
        far = ((width - 0.5) / 16, (height - 0.5) / 16)
        assert texture.uv() == {"uv_min": (0.5 / 16, 0.5 / 16), "uv_max": far}
    assert texture.uploads == 3


def test_an_upload_leaves_the_buffer_on_show_alone(context):
    texture = PictureTexture(context, 4)
    texture.upload(np.full((4, 4, 3), 255, np.uint8))
    on_show = texture._buffers[1].copy()
    texture.upload(np.zeros((4, 4, 3), np.uint8))
    assert (texture._buffers[1] == on_show).all()


def test_the_picture_is_uploaded_once_per_frame(context, app, state):
    panel = ViewPanel(app, context)
    app.live = LiveState(frame=render(state))
    assert panel.update()
    assert not panel.update()
    app.live = LiveState(frame=replace(app.live.frame, preview=True))
    assert not panel.update()
    assert panel.texture.uploads == 1
    app.live = LiveState(frame=render(state))
    assert panel.update()


def test_a_larger_picture_gets_a_larger_texture(context, app, state):
    panel = ViewPanel(app, context)
    for size_px, texture_px in ((128, 256), (1024, 1024), (512, 1024)):
        state.info = replace(INFO, resolution_px=size_px)
        app.live = LiveState(frame=render(state))
        assert panel.update()
        assert panel.texture.size_px == texture_px


def test_the_picture_stays_square_in_the_middle(context, app):
    panel = ViewPanel(app, context)
    panel.resize(900, 500)
    image = dpg.get_item_configuration(panel._image)
    assert list(image["pmin"])[:2] == [200, 0] and list(image["pmax"])[:2] == [700, 500]


@pytest.mark.parametrize(("button", "changes"), [(0, "azimuth_deg"), (1, "target"), (2, "target")])
def test_mouse_buttons_turn_or_move(context, app, state, button, changes):
    panel = ViewPanel(app, context)
    panel.resize(200, 100)
    app.state = None
    panel.drag(button, (60, 50), (10, 0))  # without an avatar nothing happens
    app.state = state
    panel.drag(button, (60, 50), (10, 0))
    view = state.session.view
    expected = replace(INFO.default_view, **{changes: getattr(view, changes)})
    assert view == expected != INFO.default_view


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
        return [dpg.is_item_shown(image) for image in panel._images]

    panel = PadPanel(app, context)
    frames = tuple(FakeAvatar().render(request) for request in state.corner_requests())
    app.live = LiveState(thumbnails=frames[:2])
    panel.update()
    assert shown() == [True, True, False, False]
    app.live = LiveState(thumbnails=frames)
    panel.update()
    uploads = [texture.uploads for texture in panel._textures]
    panel.update()
    assert shown() == [True] * 4
    assert [texture.uploads for texture in panel._textures] == uploads
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
    assert _chosen_folder(path) == meant


def test_a_message_is_shown_once_its_avatar_is_there(context, app):
    panel = StatusPanel(app, 300)
    app.say("no fast runtime")
    app.live = LiveState(status="Loading demo")
    panel.update()
    assert panel.message == ""
    app.live = LiveState()
    panel.update()
    assert panel.message == "no fast runtime"


def test_a_picture_tells_what_ran_the_networks(context, app, state):
    panel = StatusPanel(app, 300)
    app.live = LiveState(frames=1, frame=replace(render(state), runtime="openvino"))
    panel.update()
    assert dpg.get_value(panel._runtime) == "openvino"


def test_stages_and_their_sum_are_listed(context, app, state):
    panel = StatusPanel(app, 300)
    app.live = LiveState(frames=1, frame=replace(render(state), stage_ms={"a": 1.5, "b": 2}))
    panel.update()
    shown = [
        (dpg.get_value(name), dpg.get_value(time).strip())
        for row, name, time in panel._rows
        if dpg.is_item_shown(row)
    ]
    assert shown == [("a", "1.5 ms"), ("b", "2.0 ms"), ("total", "3.5 ms")]


def test_the_rate_counts_only_new_pictures_of_the_last_two_seconds():
    rate = FrameRate()
    for i in range(11):
        rate.count(10 + i / 10)
    assert rate.fps(11) == pytest.approx(10)
    assert rate.fps(12.95) is None
