"""What the second picture has otherwise, chosen by widgets."""

import dearpygui.dearpygui as dpg
import pytest
from fake_avatar import INFO

from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.session import Comparison
from avatar_viewer.viewer.actions import action_of
from avatar_viewer.viewer.compare_panel import OFF, ComparePanel
from avatar_viewer.viewer.state import ViewerState


@pytest.fixture
def panel(context, app, state, monkeypatch):
    app.renderer.compare_with = lambda source: app.renderer.loaded.append(source)
    panel = ComparePanel(app, 352)
    panel.update()
    return panel


def choose(panel, widget, value):
    dpg.set_value(widget, value)
    name = dpg.get_item_user_data(widget)
    dpg.get_item_callback(widget)(widget, value, *([] if name is None else [name]))
    panel.update()


def press(panel, label):
    button = next(b for b in dpg.get_all_items() if dpg.get_item_label(b) == label)
    dpg.get_item_callback(button)()
    panel.update()


def test_a_comparison_is_chosen_and_switched_off(panel, state):
    for mode in ("split", "side by side", "difference"):
        choose(panel, panel._mode, mode)
        assert state.session.comparison == Comparison(mode=mode)
    choose(panel, panel._mode, OFF)
    assert state.session.comparison is None and dpg.get_value(panel._mode) == OFF


def test_each_option_turns_it_on_and_is_kept_while_it_is_off(panel, state):
    choose(panel, panel._layer, "normal")
    choose(panel, panel._steps, 3)
    choose(panel, panel._denoiser, "teacher")
    choose(panel, panel._seed, "12")
    chosen = Comparison(show="normal", steps=3, teacher=True, seed=12)
    assert state.session.comparison == chosen and dpg.get_value(panel._mode) == "split"
    choose(panel, panel._mode, OFF)
    assert dpg.get_value(panel._steps) == 3
    choose(panel, panel._mode, "split")
    assert state.session.comparison == chosen
    for widget, same in (
        (panel._layer, "same layer"),
        (panel._steps, 0),
        (panel._denoiser, "same denoiser"),
        (panel._seed, " "),
    ):
        choose(panel, widget, same)
    assert state.session.comparison == Comparison()


def test_another_avatar_is_loaded_and_given_up(panel, app, state):
    choose(panel, panel._avatar, " owner/other ")
    assert state.session.comparison == Comparison(avatar="owner/other")
    choose(panel, panel._avatar, "")
    assert state.session.comparison == Comparison()
    assert app.renderer.loaded == ["owner/other", None]


@pytest.mark.parametrize("seed", ["1.5", "1e3", "-1"])
def test_a_seed_that_is_none_is_said_and_shown_as_it_was(panel, app, state, seed):
    choose(panel, panel._seed, "5")
    choose(panel, panel._seed, seed)
    assert state.session.comparison == Comparison(seed=5)
    assert dpg.get_value(panel._seed) == "5"
    assert app.messages.lines[-1].is_error and "seed: expected" in app.messages.lines[-1].text


def test_presets_and_keys(panel, app, state):
    choose(panel, panel._mode, "difference")
    press(panel, "Quick with full")
    assert state.session.comparison == Comparison("difference", steps=INFO.quick_steps)
    press(panel, "Layer with picture")
    assert state.session.comparison == Comparison("difference", show="mesh")
    app.change(show="depth")
    press(panel, "Layer with picture")
    assert state.session.comparison == Comparison("difference", show="image")
    action_of("X").run(app)
    assert state.session.comparison is None
    action_of("X").run(app)
    assert state.session.comparison == Comparison(steps=INFO.quick_steps)


def test_it_follows_the_session(panel, app, state):
    app.change(comparison=Comparison("side by side", steps=1, teacher=False, avatar="a/b"))
    panel.update()
    widgets = (panel._mode, panel._steps, panel._denoiser, panel._avatar, panel._seed)
    found = [dpg.get_value(widget) for widget in widgets]
    assert found == ["side by side", 1, "student", "a/b", ""]
    assert dpg.get_item_configuration(panel._steps)["format"] == "%d step"
    app.state = ViewerState.of("other", INFO, ExpressionSpace())
    panel.update()
    assert dpg.get_value(panel._mode) == OFF
