import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.live.session import read_session
from avatar_viewer.viewer.preferences_panel import Settings
from avatar_viewer.viewer.source_panel import DIALOGS, SourcePanel


@pytest.fixture
def panel(screen, app):
    return SourcePanel(app, 352)


def choose(panel, path):
    """As a person does in the dialog on show."""
    dpg.get_item_callback(panel._dialog)(panel._dialog, {"file_path_name": str(path)})


@pytest.mark.parametrize("name", DIALOGS)
def test_a_dialog_opens_once_where_it_is_asked_for(panel, app, state, name):
    app.toggle(name)
    panel.update()
    assert app.opened == set() and app.dialogs == [panel._dialog]
    assert dpg.get_item_label(panel._dialog) == DIALOGS[name].title
    app.toggle(name)
    panel.update()
    assert app.dialogs == [panel._dialog]


def test_a_session_is_saved_and_opened_by_the_dialogs(panel, app, state, tmp_path):
    app.toggle("save")
    panel.update()
    choose(panel, tmp_path / "mine")
    assert read_session(tmp_path / "mine.yaml") == state.session
    saved = state.session
    app.change(seed=9)
    app.toggle("open a file")
    panel.update()
    choose(panel, tmp_path / "mine.yaml")
    assert state.session == saved and app.renderer.loaded == []


def test_a_folder_is_loaded_by_the_dialog(panel, app, tmp_path):
    app.toggle("open a folder")
    panel.update()
    choose(panel, tmp_path)
    assert app.renderer.loaded == [str(tmp_path)]


def test_without_an_avatar_there_is_no_session_to_save(panel, app):
    app.toggle("save")
    panel.update()
    assert app.messages.lines[-1].is_error and app.dialogs == []


def test_recent_avatars_can_be_chosen(panel, app):
    app.prefer(recent=("a", "b"))
    panel.update()
    items = dpg.get_item_children(panel._menu, 1)
    assert [dpg.get_item_label(item) for item in items] == ["a", "b"]
    dpg.get_item_callback(items[1])(items[1], True, dpg.get_item_user_data(items[1]))
    assert app.renderer.loaded == ["b"]


def test_the_settings_take_the_keys_only_while_they_are_open(screen, app):
    settings = Settings(app)
    app.toggle("settings")
    settings.update()
    assert len(app.text_inputs) == 2
    app.put_away()
    settings.update()
    assert app.text_inputs == [] and not dpg.does_item_exist(settings.window)
