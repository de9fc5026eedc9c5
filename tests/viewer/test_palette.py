from pathlib import Path

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import Action, action_of, all_actions, help_groups
from avatar_viewer.viewer.buttons import action_button
from avatar_viewer.viewer.help_overlay import HelpOverlay, balanced
from avatar_viewer.viewer.palette import CommandPalette, found
from avatar_viewer.viewer.write_docs import PAGE, with_tables

ACTIONS = [
    Action(keys, does, lambda app: None)
    for keys, does in (("S", "save a screenshot"), ("", "reset the view"), ("Z", "undo"))
]


@pytest.fixture
def palette(screen, app):
    palette = CommandPalette(app)
    app.toggle("palette")
    palette.update()
    return palette


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2]),
        ("screen", [0]),
        ("SHOT save", [0]),
        ("rtv", [1]),  # its letters, in their order
        ("view the", [1]),
        ("e", [0, 1]),
        ("do", [2]),
        ("xyz", []),
    ],
)
def test_words_or_letters_find_actions(query, expected):
    assert sorted(found(query, ACTIONS), key=ACTIONS.index) == [ACTIONS[i] for i in expected]


def test_whole_words_come_before_scattered_letters():
    scattered, whole = (Action("", does, lambda app: None) for does in ("u n d o", "then undo"))
    assert found("undo", [scattered, whole]) == [whole, scattered]


def test_what_is_chosen_is_done_and_the_palette_closes(palette, app, state):
    palette._search("pad to the")
    palette._choose(palette._chosen + 1)
    assert [dpg.get_value(row) for row in palette._rows].index(True) == 1
    palette._do(palette._chosen)
    palette.update()
    assert not palette.is_open and not dpg.does_item_exist(palette.window)
    assert app.dialogs == []
    assert state.session.pad[0] == 0.52  # "pad to the right" is the second


def test_while_it_is_open_keys_are_meant_for_it(palette, app):
    assert app.dialogs == [palette.window]


def test_the_choice_stays_in_the_list_and_nothing_found_does_nothing(palette, app):
    palette._choose(-3)
    assert palette._chosen == 0
    palette._choose(1000)
    assert palette._chosen == len(all_actions()) - 1
    palette._search("no such thing")
    palette._do(palette._chosen)
    assert "palette" not in app.opened


def test_help_lists_every_key_in_two_columns_of_like_height(screen, app):
    left, right = balanced(help_groups())
    assert {**left, **right} == help_groups()
    assert abs(sum(map(len, left.values())) - sum(map(len, right.values()))) <= 12
    overlay = HelpOverlay(app)
    app.toggle("help")
    overlay.update()
    assert overlay.is_open
    window = overlay.window
    theme.bind_theme("light", 1.5)
    overlay.update()
    theme.bind_theme()
    assert overlay.window != window  # it is made anew for another look


def test_a_button_does_what_its_keys_do(context, app, state):
    button = action_button(app, "R", "Reset view", 100)
    state.orbit(0.2, 0.1)
    dpg.get_item_callback(button)()
    assert state.session.view == state.info.default_view


def test_the_scale_goes_by_steps_within_limits(app):
    for _ in range(20):
        action_of("Ctrl+Up").run(app)
    assert app.preferences.ui_scale == 2
    for _ in range(20):
        action_of("Ctrl+Down").run(app)
    assert app.preferences.ui_scale == 0.75
    action_of("Ctrl+0").run(app)
    assert app.preferences.ui_scale == 1


def test_the_page_of_the_window_lists_its_keys():
    page = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")
    assert page == with_tables(page), "python -m avatar_viewer.viewer.write_docs"
