"""Panels without a display: widgets, values and callbacks only need a context."""

from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar

from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.stages import LAYERS, Frame, RenderFailure
from avatar_viewer.viewer.pad_panel import (
    PAD_PX,
    WIDTH_PX,
    PadPanel,
    pad_from_pixel,
    pixel_from_pad,
)
from avatar_viewer.viewer.settings_panel import SettingsPanel, _chosen_folder
from avatar_viewer.viewer.state import PAD_CORNERS, ViewerState
from avatar_viewer.viewer.status_panel import FrameRate, StatusPanel
from avatar_viewer.viewer.texture import PictureTexture
from avatar_viewer.viewer.view_panel import ViewPanel


@pytest.fixture
def state() -> ViewerState:
    return ViewerState.of("demo", INFO)


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


def test_the_picture_is_uploaded_once_per_frame(context, state):
    panel = ViewPanel(context)
    panel.adopt(state)
    frame = render(state)
    assert panel.update(frame, "")
    assert not panel.update(frame, "")
    assert not panel.update(replace(frame, preview=True), "")
    assert panel.texture.uploads == 1
    assert panel.update(render(state), "")


def test_a_larger_avatar_gets_a_larger_texture(context, state):
    panel = ViewPanel(context)
    state.info = replace(INFO, resolution_px=1024)
    panel.adopt(state)
    assert panel.update(render(state), "")
    assert panel.texture.size_px == 1024


def test_the_picture_stays_square_in_the_middle(context):
    panel = ViewPanel(context)
    panel.resize(900, 500)
    image = dpg.get_item_configuration(panel._image)
    assert list(image["pmin"])[:2] == [200, 0] and list(image["pmax"])[:2] == [700, 500]


@pytest.mark.parametrize(("button", "changes"), [(0, "azimuth_deg"), (1, "target"), (2, "target")])
def test_mouse_buttons_turn_or_move(context, state, button, changes):
    panel = ViewPanel(context)
    panel.resize(200, 100)
    panel.drag(button, 10, 0)  # without an avatar nothing happens
    panel.adopt(state)
    panel.drag(button, 10, 0)
    expected = replace(INFO.default_view, **{changes: getattr(state.view, changes)})
    assert state.view == expected != INFO.default_view


def test_pad_pixels_and_places_agree():
    for place in ((0, 0), (1, 1), (0.25, 0.75)):
        assert pad_from_pixel(*pixel_from_pad(*place)) == pytest.approx(place)


def test_a_thumbnail_stands_for_its_corner():
    pixels = [(10, 10), (WIDTH_PX - 10, 10), (10, PAD_PX - 30), (WIDTH_PX - 10, PAD_PX - 30)]
    assert tuple(pad_from_pixel(*pixel) for pixel in pixels) == PAD_CORNERS


def test_dragging_the_pad_moves_the_state_and_the_cursor(context, state):
    panel = PadPanel(context)
    panel.drag_to(0, 0)
    panel.adopt(state)
    panel.drag_to(*pixel_from_pad(0.25, 0.75))
    assert state.pad == pytest.approx((0.25, 0.75))
    panel.update(())
    centre = dpg.get_item_configuration(panel._cursor)["center"]
    assert list(centre)[:2] == pytest.approx(pixel_from_pad(0.25, 0.75))


def test_thumbnails_appear_one_by_one_and_go_with_their_avatar(context, state):
    def shown():
        return [dpg.is_item_shown(image) for image in panel._images]

    panel = PadPanel(context)
    panel.adopt(state)
    frames = tuple(FakeAvatar().render(request) for request in state.corner_requests())
    panel.update(frames[:2])
    assert shown() == [True, True, False, False]
    panel.update(frames)
    uploads = [texture.uploads for texture in panel._textures]
    panel.update(frames)
    assert shown() == [True] * 4
    assert [texture.uploads for texture in panel._textures] == uploads
    panel.adopt(ViewerState.of("other", INFO))
    assert shown() == [False] * 4


def test_widgets_show_and_write_the_state(context, state):
    panel = SettingsPanel(300, load=lambda source: None)
    panel.adopt(state)
    assert dpg.get_value(panel._widgets["steps"]) == 4
    assert tuple(dpg.get_item_configuration(panel._widgets["show"])["items"]) == LAYERS
    for name, value in {"steps": 9, "seed": 5, "show": "depth", "sampler": "lcm"}.items():
        choose(panel, name, value)
        assert getattr(state, name) == value
    state.show = "normal"
    panel.update()
    assert dpg.get_value(panel._widgets["show"]) == "normal"


def choose(panel: SettingsPanel, name: str, value) -> None:
    """As a person does at a widget."""
    widget = panel._widgets[name]
    dpg.set_value(widget, value)
    dpg.get_item_callback(widget)(widget, value, dpg.get_item_user_data(widget))


def test_what_is_drawn_while_moving_is_automatic_or_chosen(context, state):
    panel = SettingsPanel(300, load=lambda source: None)
    panel.adopt(state)
    names = ("moving_steps", "moving_reduction")
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["auto steps", "auto size"]
    assert state.quick_choice() == QuickChoice(None, None)
    choose(panel, "moving_steps", "4 steps")
    choose(panel, "moving_reduction", "half size")
    panel.update()
    assert state.quick_choice() == QuickChoice(4, 2)
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["4 steps", "half size"]
    choose(panel, "moving_steps", "auto steps")
    assert state.quick_choice() == QuickChoice(None, 2)
    panel.adopt(ViewerState.of("other", INFO))
    assert [dpg.get_value(panel._widgets[name]) for name in names] == ["auto steps", "auto size"]


def test_a_source_is_loaded_unless_it_is_blank(context):
    loaded = []
    panel = SettingsPanel(300, load=loaded.append)
    for text in ("  ", " owner/name "):
        dpg.get_item_callback(panel._source)(panel._source, text)
    assert loaded == ["owner/name"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/a/b", "/a/b"), ("/a//b/c", "/b/c"), ("//b", "/b"), (r"C:\a\b", r"C:\a\b")],
)
def test_an_absolute_path_typed_into_the_dialog_is_taken_as_such(path, meant):
    assert _chosen_folder(path) == meant


def live(frames: int = 0, failures: int = 0, request=None, frame=None) -> LiveState:
    failure = RenderFailure(request, "it failed", "") if failures else None
    return LiveState(frames=frames, frame=frame, failures=failures, failure=failure)


def test_a_render_failure_is_shown_until_the_next_picture(context, state):
    panel = StatusPanel(300)
    panel.update(live(failures=1, request=state.request()), 0)
    assert panel.message == "it failed"
    panel.update(live(frames=1, failures=1, request=state.request()), 0.1)
    assert panel.message == ""


def test_a_load_failure_stays_while_the_old_avatar_goes_on(context):
    panel = StatusPanel(300)
    panel.update(live(failures=1), 0)
    panel.update(live(frames=1, failures=1), 0.1)
    assert panel.message == "it failed"
    panel.say("Saved a.png")
    panel.update(live(frames=2, failures=1), 0.2)
    assert panel.message == "Saved a.png"


def test_a_notice_is_shown_once_and_not_before_its_avatar(context):
    panel = StatusPanel(300)
    loading = LiveState(status="Loading demo", notice="no fast runtime", notices=1)
    panel.update(loading, 0)
    assert panel.message == ""
    panel.say("demo, CC0")
    loaded = replace(loading, status="")
    panel.update(loaded, 0.1)
    assert panel.message == "no fast runtime"
    panel.say("Saved a.png")
    panel.update(loaded, 0.2)
    assert panel.message == "Saved a.png"
    panel.update(replace(loaded, notices=2), 0.3)  # the same words again
    assert panel.message == "no fast runtime"


def test_a_picture_tells_what_ran_the_networks(context, state):
    panel = StatusPanel(300)
    panel.update(live(frames=1, frame=replace(render(state), runtime="openvino")), 0)
    assert dpg.get_value(panel._runtime) == "openvino"


def test_stages_and_their_sum_are_listed(context, state):
    panel = StatusPanel(300)
    panel.update(live(frames=1, frame=replace(render(state), stage_ms={"a": 1.5, "b": 2})), 0)
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
