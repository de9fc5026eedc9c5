"""The picture, and two that are compared, without a display."""

from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar
from PIL import Image

from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.session import Comparison
from avatar_viewer.viewer.compared import difference, differences
from avatar_viewer.viewer.picture_places import GAP_PX, Place, places
from avatar_viewer.viewer.pixel_lens import AROUND, FRAME, surroundings
from avatar_viewer.viewer.view_labels import UNUSUAL, is_unusual
from avatar_viewer.viewer.view_panel import ViewPanel


def render(state, **changes):
    return FakeAvatar().render(replace(state.request(), **changes))


def picture(panel, index=0):
    """Whether it is drawn, and where."""
    item = dpg.get_item_configuration(panel._pictures[index].image)
    return item["show"], list(item["pmin"])[:2], list(item["pmax"])[:2]


def texts(panel):
    return {
        dpg.get_item_configuration(item)["text"]
        for item in dpg.get_all_items()
        if dpg.get_item_type(item).endswith("DrawText") and dpg.get_item_configuration(item)["show"]
    } - {""}


def compare(app, state, **comparison):
    """The first picture with a darker second one."""
    state.change(comparison=Comparison(**comparison))
    frame = render(state)
    other = replace(frame, rgb=frame.rgb // 2)
    app.live = LiveState(frame=frame, other=other)
    return frame.rgb, other.rgb


@pytest.fixture
def panel(context, app, state):
    panel = ViewPanel(app, context)
    panel.resize(900, 500)
    return panel


def test_the_picture_is_uploaded_once_per_frame(panel, app, state):
    app.live = LiveState(frame=render(state))
    assert panel.update()
    assert not panel.update()
    app.live = LiveState(frame=replace(app.live.frame, preview=True))
    assert not panel.update()
    assert panel.uploads == 1
    app.live = LiveState(frame=render(state))
    assert panel.update()


def test_pictures_of_any_size_fill_the_same_place(panel, app, state):
    for size_px in (128, 1024, 512):
        state.info = replace(INFO, resolution_px=size_px)
        app.live = LiveState(frame=render(state))
        assert panel.update()
        assert picture(panel) == (True, [200, 0], [700, 500])
        uv = dpg.get_item_configuration(panel._pictures[0].image)
        assert list(uv["uv_min"])[:2] == pytest.approx([0.5 / size_px] * 2)
        assert list(uv["uv_max"])[:2] == pytest.approx([1 - 0.5 / size_px] * 2)
    assert panel.uploads == 3


def test_the_picture_stays_square_in_the_middle_of_every_window(panel, app, state):
    app.live = LiveState(frame=render(state))
    panel.update()
    uploads = panel.uploads
    assert picture(panel) == (True, [200, 0], [700, 500])
    panel.resize(301, 500)
    assert not panel.update()
    assert picture(panel) == (True, [0, 99.5], [301, 400.5])
    assert panel.uploads == uploads
    app.live = LiveState()
    panel.update()
    assert not picture(panel)[0]


@pytest.mark.parametrize(("button", "changes"), [(0, "azimuth_deg"), (1, "target"), (2, "target")])
def test_mouse_buttons_turn_or_move(panel, app, state, button, changes):
    app.state = None
    panel.drag(button, (60, 50), (10, 0))  # without an avatar nothing happens
    app.state = state
    panel.press(button, (60, 50))
    panel.drag(button, (60, 50), (10, 0))
    view = state.session.view
    expected = replace(INFO.default_view, **{changes: getattr(view, changes)})
    assert view == expected != INFO.default_view


def test_the_picture_stands_on_the_background(panel, app, state, tmp_path):
    frame = replace(render(state), opacity=np.zeros((128, 128), np.uint8))
    frame = replace(frame, rgb=np.full_like(frame.rgb, 255))
    app.live = LiveState(frame=frame)
    panel.update()
    assert (panel._pictures[0].rgb == 255).all()
    state.change(background=(10, 20, 30))
    assert panel.update() and not panel.update()
    assert (panel._pictures[0].rgb == (10, 20, 30)).all()
    path = tmp_path / "behind.png"
    Image.new("RGB", (9, 9), (90, 80, 70)).save(path)
    state.change(background_picture=path)
    assert panel.update() and (panel._pictures[0].rgb == (90, 80, 70)).all()


def test_a_background_that_is_gone_is_said_once_and_the_colour_stays(panel, app, state, tmp_path):
    state.change(background=(10, 20, 30), background_picture=tmp_path / "none.png")
    for _ in range(2):
        frame = render(state)
        white = np.full_like(frame.rgb, 255)
        app.live = LiveState(frame=replace(frame, rgb=white, opacity=white[..., 0] * 0))
        assert panel.update()
        assert (panel._pictures[0].rgb == (10, 20, 30)).all()
    assert len(app.messages.lines) == 1 and "none.png: expected" in app.messages.lines[0].text


def test_two_pictures_share_a_square(panel, app, state):
    first, second = compare(app, state, split=0.25, steps=1)
    assert panel.update() and not panel.update()
    assert picture(panel, 0) == (True, [200, 0], [325, 500])
    assert picture(panel, 1) == (True, [325, 0], [700, 500])
    assert [p.rgb is rgb for p, rgb in zip(panel._pictures, (first, second), strict=True)] == [1, 1]
    # Each shows its own part, so that the two meet at the same point of the head.
    uv = [dpg.get_item_configuration(p.image) for p in panel._pictures]
    assert uv[0]["uv_max"][0] == pytest.approx(uv[1]["uv_min"][0], abs=1e-6)
    assert {"A: 4 steps", "B: 1 step"} <= texts(panel)


def test_the_line_between_them_is_dragged(panel, app, state):
    compare(app, state)
    panel.update()
    before = state.session.view
    panel.press(0, (455, 100))
    for x, split in ((550, 0.7), (2000, 1.0), (-5, 0.0), (325, 0.25)):
        panel.drag(0, (x, 100), (1, 0))
        assert state.session.comparison.split == pytest.approx(split)
        panel.update()
    assert state.session.view == before
    panel.press(0, (550, 100))  # beside it, the head is turned
    panel.drag(0, (560, 100), (10, 0))
    assert state.session.view != before and state.session.comparison.split == 0.25


def test_a_drag_of_the_line_is_one_step_to_undo(panel, app, state):
    app.renderer.submit = app.renderer.submit_thumbnails = lambda *_: None
    compare(app, state)
    panel.update()
    app.ask(0.0, False)
    app.ask(9.0, False)
    panel.press(0, (455, 100))
    for i in range(5):
        panel.drag(0, (460 + 20 * i, 100), (20, 0))
        app.ask(10 + i / 50, False)
    app.ask(10.2, True)
    assert state.session.comparison.split == pytest.approx(0.68)
    app.undo()
    assert state.session.comparison == Comparison()


def test_two_pictures_lie_side_by_side(panel, app, state):
    compare(app, state, mode="side by side", seed=7)
    panel.update()
    assert picture(panel, 0) == (True, [0, 27], [446, 473])
    assert picture(panel, 1) == (True, [454, 27], [900, 473])
    assert {"A: seed 0", "B: seed 7"} <= texts(panel)
    state.change(comparison=None)
    panel.update()
    assert picture(panel, 0) == (True, [200, 0], [700, 500])
    assert not picture(panel, 1)[0]


def test_the_difference_is_shown_and_computed_once(panel, app, state):
    first, second = compare(app, state, mode="difference")
    assert panel.update() and not panel.update()
    assert (panel._pictures[0].rgb == difference(first, second)).all()
    assert picture(panel) == (True, [200, 0], [700, 500]) and panel.uploads == 1
    app.live = replace(app.live, other=replace(app.live.other, rgb=first.copy()))
    assert panel.update() and not panel._pictures[0].rgb.any()


@pytest.mark.parametrize("mode", ["split", "side by side", "difference"])
def test_until_there_is_a_second_picture_the_first_has_the_room(panel, app, state, mode):
    state.change(comparison=Comparison(mode=mode))
    frame = render(state)
    small = render(state, camera=INFO.default_view.camera(64, 64))
    for other in (None, small):
        app.live = LiveState(frame=frame, other=other)
        panel.update()
        assert picture(panel) == (True, [200, 0], [700, 500])
        assert panel._pictures[0].rgb is frame.rgb


def test_differences_are_absolute_and_amplified():
    first = np.array([[[10, 200, 0]]], np.uint8)
    second = np.array([[[13, 100, 0]]], np.uint8)
    assert difference(first, second).tolist() == [[[12, 255, 0]]]
    assert (difference(first, second) == difference(second, first)).all()


def test_what_differs_is_named(state):
    assert differences(state.session) == ("", "")
    comparison = Comparison(show="mesh", steps=1, seed=0, teacher=True, avatar="a/b")
    state.change(comparison=comparison)
    assert differences(state.session) == (
        "demo, image, 4 steps, student",
        "b, mesh, 1 step, teacher",
    )


@pytest.mark.parametrize("size", [(900, 500), (300, 700), (1, 1), (20, 8)])
def test_every_picture_is_a_square_inside_the_window(size):
    for mode in (None, "split", "side by side", "difference"):
        for place in places(size, mode, 0.3):
            assert place.side >= 1
            if min(size) > GAP_PX + 2:
                assert place.left >= 0 and place.left + place.side <= size[0]
                assert place.top >= 0 and place.top + place.side <= size[1]


def test_pictures_are_stacked_where_they_are_larger_so():
    upper, lower = places((300, 700), "side by side", 0.5)
    assert upper.side == lower.side == 300 and upper.left == lower.left
    assert lower.top - upper.top == 300 + GAP_PX


def test_a_place_of_the_view_is_one_of_the_picture():
    place = Place(100, 50, 200, start=0.5)
    assert place.on_picture((250, 100)) == (0.75, 0.25)
    for outside in ((199, 100), (300, 100), (250, 49), (250, 250)):
        assert place.on_picture(outside) is None


def test_a_view_far_from_the_usual_is_called_so(panel, app, state):
    usual = INFO.default_view
    app.live = LiveState(frame=render(state))
    for changes, unusual in (
        ({}, False),
        ({"azimuth_deg": 74}, False),
        ({"azimuth_deg": -76}, True),
        ({"elevation_deg": 36}, True),
        ({"distance": usual.distance * 1.5}, False),
        ({"distance": usual.distance * 1.7}, True),
        ({"distance": usual.distance * 0.5}, True),
    ):
        state.change(view=replace(usual, **changes))
        panel.update()
        assert (UNUSUAL in texts(panel)) == unusual
    assert not is_unusual(replace(usual, azimuth_deg=-170), replace(usual, azimuth_deg=170))


def test_quick_pictures_are_called_so(panel, app, state):
    app.live = LiveState(frame=replace(render(state), preview=True))
    panel.update()
    assert "quick" in texts(panel)
    state.change(view=replace(INFO.default_view, azimuth_deg=100))
    panel.update()
    assert f"{UNUSUAL}   quick" in texts(panel)
    state.change(view=INFO.default_view)
    app.live = LiveState(frame=replace(app.live.frame, preview=False))
    panel.update()
    assert "quick" not in texts(panel)


def test_the_lens_shows_the_pixels_around_the_mouse():
    rgb = np.arange(20 * 30 * 3, dtype=np.uint16).astype(np.uint8).reshape(20, 30, 3)
    whole = surroundings(rgb, 15, 10)
    assert (whole == rgb[10 - AROUND : 11 + AROUND, 15 - AROUND : 16 + AROUND]).all()
    corner = surroundings(rgb, 0, 19)
    assert (corner[: AROUND + 1, AROUND:] == rgb[19 - AROUND :, : AROUND + 1]).all()
    assert (corner[AROUND + 1 :] == FRAME).all() and (corner[:, :AROUND] == FRAME).all()


def test_the_lens_tells_the_colours_and_stays_inside_the_view(panel, app, state):
    first, second = compare(app, state, mode="difference")
    panel.update()
    lens, named = panel._lens, (("A", first), ("B", second))
    for mouse in ((210, 10), (690, 490)):
        lens.show(mouse, (900, 500), (0.5, 0.25), panel._pictures[0].rgb, named)
        r, g, b = first[32, 64].tolist()
        assert {"x 64   y 32", f"A   {r} {g} {b}   #{r:02x}{g:02x}{b:02x}"} <= texts(panel)
        frame = dpg.get_item_configuration(lens._frame)
        assert dpg.is_item_shown(lens._layer)
        assert frame["pmin"][0] >= 0 and frame["pmax"][0] <= 900
        assert frame["pmin"][1] >= 0 and frame["pmax"][1] < 500
        assert not frame["pmin"][0] <= mouse[0] <= frame["pmax"][0]
    lens.hide()
    assert not dpg.is_item_shown(lens._layer)
