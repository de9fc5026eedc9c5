"""Sliders and the eye: what they show of the session, and what they write into it."""

from dataclasses import replace

import dearpygui.dearpygui as dpg
import pytest
import torch
from fake_avatar import INFO

from avatar_viewer.avatar_info import Corner
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.expression_space import STRONGEST, ExpressionSpace
from avatar_viewer.live.session import MAX_DIRECTION
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.viewer import gaze_panel
from avatar_viewer.viewer.gaze_panel import SIDE_PX, GazePanel, gaze_from_pixel, pixel_from_gaze
from avatar_viewer.viewer.sliders_panel import MAX_DIRECTIONS, MOST_DEVIATIONS, SlidersPanel
from avatar_viewer.viewer.state import ViewerState

LENGTH = 7  # three of the face and four of gaze
SPACE = ExpressionSpace(
    ((0.1, 0, 0, 0, 0, 0, 0), (0, 0.2, 0, 0, 0, 0, 0)),
    ArkitMap(torch.ones(3, len(ARKIT_UNITS)), torch.zeros(3)),
)
CORNERS = tuple(
    Corner(corner.name, ExpressionCode((*corner.expression.values, *gaze)))
    for corner, gaze in zip(
        INFO.corners, ((0,) * 4, (0.5, 0, 0.3, 0), (0,) * 4, (0,) * 4), strict=True
    )
)


@pytest.fixture
def full(app) -> ViewerState:
    """The state of an avatar with sliders and gaze."""
    app.state = ViewerState.of("demo", replace(INFO, corners=CORNERS), SPACE)
    return app.state


def move(slider, value: float) -> None:
    """As a person does."""
    dpg.set_value(slider, value)
    dpg.get_item_callback(slider)(slider, value, dpg.get_item_user_data(slider))


def shown(sliders) -> list[float]:
    return [dpg.get_value(slider) for slider in sliders.widgets]


def test_the_limits_are_those_of_the_session():
    assert (MOST_DEVIATIONS, MAX_DIRECTIONS) == (MAX_DIRECTION, STRONGEST)


def test_only_sliders_that_do_something_are_shown(context, app, full):
    panel = SlidersPanel(app, 300)
    panel.update()

    def visible():
        rows = panel._directions.rows
        groups = (panel._none, panel._direction_group, panel._unit_group)
        return sum(map(dpg.is_item_shown, rows)), [dpg.is_item_shown(group) for group in groups]

    assert visible() == (2, [False, True, True])
    app.state = ViewerState.of("other", INFO, ExpressionSpace(SPACE.directions))
    panel.update()
    assert visible() == (2, [False, True, False])
    app.state = ViewerState.of("third", INFO, ExpressionSpace())
    panel.update()
    assert visible() == (0, [True, False, False])


def test_a_direction_is_written_and_follows_undo(context, app, full):
    panel = SlidersPanel(app, 300)
    panel.update()
    move(panel._directions.widgets[1], 2.0)
    full.settle()
    assert full.session.directions[:3] == (0, 2.0, 0)
    expression = full.session.expression(SPACE)
    panel.update()
    app.undo()
    panel.update()
    assert full.session.directions == () and shown(panel._directions) == [0.0] * MAX_DIRECTIONS
    app.redo()
    panel.update()
    assert shown(panel._directions)[1] == 2.0 and full.session.expression(SPACE) == expression


def test_units_are_written_and_all_zeros_are_none(context, app, full):
    panel = SlidersPanel(app, 300)
    panel.update()
    unit = panel._units.widgets[ARKIT_UNITS.index("jawOpen")]
    move(unit, 0.5)
    assert len(full.session.units) == len(ARKIT_UNITS)
    assert (
        full.session.units[ARKIT_UNITS.index("jawOpen")] == 0.5 and sum(full.session.units) == 0.5
    )
    move(unit, 0.0)
    assert full.session.units == ()


@pytest.mark.parametrize(
    ("typed", "kept"), [(1e30, 3.0), (-1e30, -3.0), (float("inf"), 3.0), (float("nan"), 0.0)]
)
def test_absurd_numbers_are_clamped(context, app, full, typed, kept):
    panel = SlidersPanel(app, 300)
    panel.update()
    move(panel._directions.widgets[0], typed)
    panel.update()
    assert (full.session.directions or (0.0,))[0] == kept
    assert shown(panel._directions)[0] == kept
    assert not app.messages.lines


def test_one_slider_or_all_go_back_to_zero(context, app, full):
    panel = SlidersPanel(app, 300)
    full.change(directions=(1.0, 2.0), units=(0.5,) * len(ARKIT_UNITS))
    panel.update()
    panel._directions._zero(panel._directions.widgets[0])
    panel.update()
    assert shown(panel._directions)[:2] == [0.0, 2.0]
    panel._directions.reset()
    panel.update()
    assert full.session.directions == () and full.session.units != ()
    assert shown(panel._directions) == [0.0] * MAX_DIRECTIONS


def test_the_search_hides_other_units(context, app, full):
    panel = SlidersPanel(app, 300)
    dpg.set_value(panel._search, " Jaw")
    panel.update()
    visible = [
        name
        for name, row in zip(ARKIT_UNITS, panel._units.rows, strict=True)
        if dpg.is_item_shown(row)
    ]
    assert visible == ["jawForward", "jawLeft", "jawOpen", "jawRight"]


def test_keys_are_for_sliders_in_which_one_types(context, app, full):
    panel = SlidersPanel(app, 300)
    assert {panel._search, *panel._directions.widgets, *panel._units.widgets} <= set(
        app.text_inputs
    )


@pytest.mark.parametrize("gaze", [(0, 0), (1, -1), (-0.5, 0.25)])
def test_pixels_and_gaze_agree(gaze):
    assert gaze_from_pixel(*pixel_from_gaze(*gaze)) == pytest.approx(gaze)


def test_the_eye_looks_to_where_it_is_dragged(context, app, full):
    panel = GazePanel(app, 300)
    panel.update()
    assert panel.press(dpg.mvMouseButton_Left, (45, 45))
    panel.drag(0, (SIDE_PX - 1, -50), (0, 0))
    assert full.session.gaze == (1.0, 1.0)  # to the right of the picture, and up
    panel.update()
    centre = dpg.get_item_configuration(panel._iris)["center"]
    assert list(centre)[:2] == list(pixel_from_gaze(1, 1))
    assert dpg.get_value(panel._text) == "100% right, 100% up"
    assert not panel.press(dpg.mvMouseButton_Right, (45, 45))


def test_the_eye_lets_go_by_a_double_click_or_a_button(context, app, full, monkeypatch):
    panel, now_s = GazePanel(app, 300), [10.0]
    monkeypatch.setattr(gaze_panel.time, "perf_counter", lambda: now_s[0])
    for after_s, is_double in ((0.2, True), (1.0, False)):
        full.change(gaze=(0.5, 0.5))
        panel.press(dpg.mvMouseButton_Left, (45, 45))
        now_s[0] += after_s
        assert panel.press(dpg.mvMouseButton_Left, (45, 45)) is not is_double
        assert (full.session.gaze is None) is is_double
        now_s[0] += 5
    panel.reset()
    assert full.session.gaze is None


def test_without_a_choice_the_eye_shows_the_blends(context, app, full):
    panel = GazePanel(app, 300)
    full.move_pad(1, 0)
    panel.update()
    centre = dpg.get_item_configuration(panel._iris)["center"]
    assert list(centre)[:2] == pytest.approx(pixel_from_gaze(0.4, 0))
    assert dpg.get_value(panel._text) == "follows the expression"


def test_an_avatar_without_gaze_has_no_eye(context, app, full):
    panel = GazePanel(app, 300)
    panel.update()
    assert dpg.is_item_shown(panel._group)
    app.state = ViewerState.of("demo", INFO, ExpressionSpace())
    panel.update()
    assert not dpg.is_item_shown(panel._group)
