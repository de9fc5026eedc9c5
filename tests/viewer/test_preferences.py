from pathlib import Path

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.config import FONT_FOLDER
from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.preferences import (
    PREFERENCES_FILE,
    Preferences,
    read_preferences,
    write_preferences,
)
from avatar_viewer.viewer.preferences_panel import PreferencesPanel


@pytest.fixture
def panel(context, app):
    panel = PreferencesPanel(app, 352)
    panel.update()
    return panel


def write(panel, name, value):
    widget = panel._widgets[name]
    dpg.get_item_callback(widget)(widget, value, dpg.get_item_user_data(widget))
    panel.update()


def test_written_preferences_are_read_again(tmp_path):
    preferences = Preferences("light", 1.5, tmp_path, "{name}", 2, True, ("a", "b"))
    write_preferences(preferences, tmp_path / "new")
    said = []
    assert read_preferences(tmp_path / "new", said.append) == preferences
    assert read_preferences(tmp_path / "none", said.append) == Preferences()
    assert said == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format_version: 99\n",
        "format_version: 1\ntheme: pink\n",
        "format_version: 1\nui_scale: 9\n",
        "format_version: 1\nscreenshot_name: '{day}'\n",
        "format_version: 1\nunknown: 1\n",
        "[1, 2",
    ],
)
def test_a_broken_file_is_said_set_aside_and_replaced_by_defaults(tmp_path, text):
    (tmp_path / PREFERENCES_FILE).write_text(text)
    said = []
    assert read_preferences(tmp_path, said.append) == Preferences()
    assert len(said) == 1 and "\n" not in said[0]
    assert PREFERENCES_FILE in said[0] and "set aside" in said[0]
    assert not (tmp_path / PREFERENCES_FILE).exists()
    assert (tmp_path / f"{PREFERENCES_FILE}.broken").read_text() == text
    assert read_preferences(tmp_path, said.append) == Preferences() and len(said) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ui_scale", 0.4),
        ("screenshot_scale", 5),
        ("screenshot_name", "{"),
        ("screenshot_name", "{}"),
        ("screenshot_name", "{who}"),
        ("screenshot_name", "{date:q}"),
        ("screenshot_name", "{date.year}"),
    ],
)
def test_what_cannot_be_preferred(name, value):
    with pytest.raises(AvatarError, match=f"^{name}: expected .*, found "):
        Preferences(**{name: value})


def test_widgets_show_and_write_preferences(panel, app, tmp_path):
    shown = {name: dpg.get_value(widget) for name, widget in panel._widgets.items()}
    assert shown["theme"] == "dark" and shown["ui_scale"] == "100%"
    assert shown["screenshot_folder"] == "" and shown["screenshot_transparent"] is False
    write(panel, "theme", "light")
    write(panel, "ui_scale", "150%")
    write(panel, "screenshot_folder", f" {tmp_path} ")
    write(panel, "screenshot_transparent", True)
    expected = Preferences("light", 1.5, tmp_path, screenshot_transparent=True)
    assert app.preferences == expected
    assert read_preferences(app.config_folder, print) == expected
    assert dpg.get_value(panel._widgets["screenshot_folder"]) == str(tmp_path)
    write(panel, "screenshot_folder", "")
    assert app.preferences.screenshot_folder is None


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [("screenshot_name", "{who}", "{name}"), ("screenshot_folder", "/no/such/folder", "/")],
)
def test_what_is_refused_is_said_at_its_field(panel, app, name, wrong, right):
    before = app.preferences
    write(panel, name, wrong)
    error = panel._errors[name]
    assert app.preferences == before and app.messages.lines == []
    assert dpg.is_item_shown(error) and "expected" in dpg.get_value(error)
    write(panel, name, right)
    assert not dpg.is_item_shown(error)
    assert str(getattr(app.preferences, name)) == right


def test_keys_change_what_is_shown(panel, app):
    app.prefer(ui_scale=1.1)
    panel.update()
    assert dpg.get_value(panel._widgets["ui_scale"]) == "110%"


def test_a_theme_is_followed_by_colours_and_a_scale_by_lengths(context):
    try:
        theme.bind_theme("light", 1.5)
        assert theme.current() == theme.PALETTES["light"]
        assert theme.px(10) == 15
        assert theme.DIM_TEXT == theme.PALETTES["light"].dim_text
        assert dpg.get_global_font_scale() == 1.5
    finally:
        theme.bind_theme()
    assert theme.px(10) == 10 and theme.DIM_TEXT == theme.PALETTES["dark"].dim_text
    with pytest.raises(AttributeError):
        _ = theme.PINK


@pytest.mark.parametrize("name", theme.PALETTES)
def test_texts_can_be_read(name):
    palette = theme.PALETTES[name]
    for text in (palette.text, palette.dim_text, palette.accent, palette.error):
        assert _contrast(text, palette.panel) > 4.5
    for below in (palette.widget, palette.hovered, palette.selected, palette.background):
        assert _contrast(palette.text, below) > 4.5


def _contrast(a, b) -> float:
    """As of WCAG 2.1."""

    def luminance(colour) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((luminance(a), luminance(b)))
    return (bright + 0.05) / (dark + 0.05)


def test_the_font_comes_with_its_licence(context):
    theme.bind_font()
    assert "Permission is hereby granted" in (FONT_FOLDER / "LICENSE.txt").read_text()
    assert {path.suffix for path in Path(FONT_FOLDER).iterdir()} == {".ttf", ".txt"}
