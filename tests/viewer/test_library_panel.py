"""The library on its tab: what it offers, and what it does to the pad and to its file."""

from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, FakeAvatar

from avatar_viewer.expression.library import (
    Library,
    SavedExpression,
    picture_of,
    read_library,
)
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.file_chooser import FileChooser, chosen_path
from avatar_viewer.viewer.library_file import LIBRARY_FILE
from avatar_viewer.viewer.library_list import Entry
from avatar_viewer.viewer.library_panel import LibraryPanel
from avatar_viewer.viewer.state import PAD_CORNERS

OWN = [corner.name for corner in INFO.corners]
SAVED = SavedExpression("grin", ExpressionCode((0.2, 0.4, 0.6)), "fake")
LONGER = SavedExpression("of another", ExpressionCode((0.2, 0.4, 0.6, 0.8)))


@pytest.fixture
def panel(context, app, state) -> LibraryPanel:
    assert app.library.change(lambda library: library.merged([SAVED, LONGER]))
    return LibraryPanel(app, 352)


def labels(panel) -> list[str]:
    panel.update()
    return [dpg.get_item_label(item) for item, _ in panel._list._selectables]


def marked(panel) -> list[str]:
    panel.update()
    return [entry.name for item, entry in panel._list._selectables if dpg.get_value(item)]


def click(panel, name: str) -> None:
    panel.update()
    items = panel._list._selectables
    item, entry = next((item, entry) for item, entry in items if entry.name == name)
    dpg.get_item_callback(item)(item, True, entry)


def type_name(panel, name: str) -> None:
    dpg.set_value(panel._editor._name, name)


def test_it_offers_the_avatars_own_and_saved_ones_of_the_same_length(panel):
    assert labels(panel) == [*OWN, "grin"]


def test_the_search_goes_through_both(panel):
    for text, found in (("SM", ["smile"]), ("ri", ["surprise", "grin"])):
        dpg.set_value(panel._search, text)
        assert labels(panel) == found
    dpg.set_value(panel._search, "nothing")
    assert labels(panel) == []


def test_a_click_puts_an_expression_into_the_chosen_corner_and_shows_it(panel, app, state):
    state.change(gaze=(0.5, 0.5), directions=(1.0,))
    state.settle()
    panel._set_corner("2")
    click(panel, "grin")
    session = state.session
    assert session.corners[1].name == "grin" and session.pad == PAD_CORNERS[1]
    assert session.expression(state.space) == SAVED.expression
    assert [corner.name for corner in session.corners] == [OWN[0], "grin", *OWN[2:]]
    assert marked(panel) == ["grin"]
    state.settle()
    app.undo()
    assert state.session.corners == INFO.corners and state.session.gaze == (0.5, 0.5)


def test_saving_keeps_the_blend_on_show_in_the_file(panel, app, state):
    state.move_pad(0.25, 0.5)
    type_name(panel, "  mine ")
    panel._editor._save()
    kept = read_library(app.config_folder / LIBRARY_FILE).expressions[-1]
    assert kept == SavedExpression("mine", state.session.expression(state.space), "fake")
    assert labels(panel)[-1] == "mine" and marked(panel) == ["mine"]
    other = ViewerApp(app.renderer, app.config_folder)
    assert [e.name for e in other.library.library.expressions] == ["grin", "of another", "mine"]


@pytest.mark.parametrize("name", ["", "   ", "grin", "x" * 61])
def test_a_bad_name_is_refused_in_one_line(panel, app, name):
    type_name(panel, name)
    panel._editor._save()
    assert app.messages.lines[-1].is_error and "name: expected" in app.messages.lines[-1].text
    assert len(app.library.library.expressions) == 2


def test_a_saved_one_is_renamed(panel, app):
    click(panel, "grin")
    assert dpg.get_value(panel._editor._name) == "grin"
    type_name(panel, "smirk")
    panel._editor._rename()
    assert labels(panel) == [*OWN, "smirk"] and marked(panel) == ["smirk"]
    type_name(panel, "")
    panel._editor._rename()
    assert app.messages.lines[-1].is_error and labels(panel) == [*OWN, "smirk"]


def test_a_saved_one_is_deleted_at_the_second_click(panel, app):
    click(panel, "grin")
    panel._editor._remove()
    assert labels(panel) == [*OWN, "grin"]
    assert dpg.get_item_label(panel._editor._delete) == "Really?"
    click(panel, "smile")
    click(panel, "grin")
    panel._editor._remove()
    assert labels(panel) == [*OWN, "grin"]
    panel._editor._remove()
    assert labels(panel) == OWN and marked(panel) == []
    assert [e.name for e in read_library(app.config_folder / LIBRARY_FILE).expressions] == [
        "of another"
    ]


def test_the_avatars_own_are_neither_renamed_nor_deleted(panel, app):
    for chosen in (None, "smile"):
        if chosen:
            click(panel, chosen)
        for do in (panel._editor._rename, panel._editor._remove, panel._editor._remove):
            do()
            assert app.messages.lines[-1].is_error
    assert labels(panel) == [*OWN, "grin"]


def test_own_pictures_are_taken_from_the_pad_and_stay(panel, app, state):
    frames = tuple(FakeAvatar().render(request) for request in state.corner_requests())
    app.live = LiveState(thumbnails=frames[:2])
    labels(panel)
    has = panel._list.has_picture
    assert [has(c.expression) for c in INFO.corners] == [True, True, False, False]
    app.live = LiveState()
    labels(panel)
    assert [has(c.expression) for c in INFO.corners] == [True, True, False, False]


def test_a_saved_one_gets_its_picture_when_it_is_shown(panel, app, state):
    click(panel, "grin")
    frame = FakeAvatar().render(state.request())
    app.live = LiveState(frame=replace(frame, preview=True))
    labels(panel)
    assert not panel._list.has_picture(SAVED.expression)
    app.live = LiveState(frame=frame)
    labels(panel)
    kept = read_library(app.config_folder / LIBRARY_FILE).expressions[0]
    picture = picture_of(kept.picture)
    assert picture is not None and kept.name == "grin"
    mean = frame.rgb.reshape(-1, 3).mean(0)
    assert np.abs(picture.reshape(-1, 3).mean(0) - mean).max() < 4
    assert marked(panel) == ["grin"] and panel._list.has_picture(SAVED.expression)


def test_a_corner_that_asks_brings_the_tab_to_the_front(context, app, state):
    with dpg.tab_bar() as bar:
        with dpg.tab() as first:
            dpg.add_text("other")
        with dpg.tab() as tab:
            panel = LibraryPanel(app, 352)
    dpg.set_value(bar, first)
    panel.update()
    assert app.target_corner is None
    app.target_corner = 1
    app.opened.add("library")
    panel.update()
    assert dpg.get_value(bar) == tab and app.opened == set()
    assert app.target_corner == 1 and dpg.get_value(panel._corners) == "2"
    click(panel, "frown")
    assert state.session.corners[1].name == "frown"
    dpg.set_value(bar, first)
    panel.update()
    assert app.target_corner is None


def test_exported_expressions_are_imported_once(app, state, tmp_path):
    app.library.export(tmp_path / "mine", 3)
    assert app.messages.lines[-1].is_error  # there is nothing yet
    app.library.change(lambda library: library.merged([SAVED, LONGER]))
    app.library.export(tmp_path / "mine", 3)
    assert read_library(tmp_path / "mine.yaml") == Library((SAVED,))
    other = ViewerApp(app.renderer, tmp_path / "other")
    for added in (1, 0):
        other.library.take_from(tmp_path / "mine.yaml")
        assert other.messages.lines[-1].text.startswith(f"{added} new expressions")
    assert other.library.library == Library((SAVED,))


def test_bad_files_are_complained_about_and_change_nothing(app, state, tmp_path):
    app.library.change(lambda library: library.added(SAVED))
    (tmp_path / "bad.yaml").write_text("expressions: 3")
    for path in (tmp_path / "bad.yaml", tmp_path / "none.yaml"):
        app.library.take_from(path)
        assert app.messages.lines[-1].is_error and path.name in app.messages.lines[-1].text
    app.library.export(tmp_path / "none" / "mine.yaml", 3)
    assert app.messages.lines[-1].is_error
    assert app.library.library == Library((SAVED,))


def test_a_broken_library_is_set_aside(app, state):
    path = app.config_folder / LIBRARY_FILE
    path.write_text("expressions: [")
    assert app.library.library == Library()
    assert app.messages.lines[-1].is_error and "set aside" in app.messages.lines[-1].text
    assert path.with_name(f"{LIBRARY_FILE}.broken").exists() and not path.exists()


def test_a_library_that_cannot_be_written_is_not_changed(tmp_path, app, state):
    (tmp_path / "file").write_text("")
    blocked = ViewerApp(app.renderer, tmp_path / "file")
    assert not blocked.library.change(lambda library: library.added(SAVED))
    assert blocked.library.library == Library() and blocked.messages.lines[-1].is_error


def test_a_long_list_is_made_anew_only_when_it_changes(panel, app):
    labels(panel)
    before = [item for item, _ in panel._list._selectables]
    click(panel, "smile")
    labels(panel)
    assert [item for item, _ in panel._list._selectables] == before
    app.library.change(lambda library: library.without(SAVED))
    assert len(labels(panel)) == len(before) - 1
    entry = Entry("smile", INFO.corners[1].expression)
    panel._list.show([entry], entry)
    assert len(panel._list._selectables) == 1


@pytest.mark.parametrize(("given", "meant"), [("/a/b", "/a/b"), ("/a//b/c", "/b/c")])
def test_a_typed_absolute_path_is_taken_as_such(given, meant):
    assert str(chosen_path(given)) == meant


def test_one_dialog_at_a_time_takes_the_keys(context, app):
    chosen = []
    chooser = FileChooser(app)
    for title in ("first", "second"):
        chooser.ask(title, ".yaml", chosen.append)
    (dialog,) = app.dialogs
    dpg.get_item_callback(dialog)(dialog, {"file_path_name": "/a/mine.yaml"})
    assert [str(path) for path in chosen] == ["/a/mine.yaml"]
