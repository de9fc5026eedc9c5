"""Saving, renaming, deleting and passing on of expressions."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.file_chooser import FileChooser
from avatar_viewer.viewer.library_file import LIBRARY_FILE
from avatar_viewer.viewer.library_list import Entry

if TYPE_CHECKING:
    from avatar_viewer.expression.library import SavedExpression

GAP_PX, SAVE_PX = 8, 64
SUFFIX = ".yaml"


class LibraryEditor:
    """A field for a name, and buttons; `chosen` is the entry that they are about."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app, self._file, self._chooser = app, app.library, FileChooser(app)
        self._may_delete = False
        self.chosen: Entry | None = None
        gap, save_px = theme.px(GAP_PX), theme.px(SAVE_PX)
        with dpg.group(horizontal=True):
            self._name = dpg.add_input_text(
                hint="Name of a new one",
                width=width_px - save_px - gap,
                on_enter=True,
                callback=lambda: self._save(),
            )
            _button("Save", save_px, self._save, "Keep the expression on show by this name")
        quarter = (width_px - 3 * gap) // 4
        with dpg.group(horizontal=True):
            _button("Rename", quarter, self._rename, "Give the chosen one the name above")
            self._delete = _button("Delete", quarter, self._remove, "Forget the chosen one")
            _button("Import", quarter, self._ask_import, "Add the expressions of a file")
            _button("Export", quarter, self._ask_export, "Write your expressions to a file")
        app.text_inputs.append(self._name)

    def choose(self, entry: Entry | None) -> None:
        self.chosen = entry
        self._let_delete(False)
        dpg.set_value(self._name, entry.name if entry is not None and entry.saved else "")

    def keep_picture(self, saved: SavedExpression, picture: str) -> None:
        """Add its picture to a saved one, as text."""
        pictured = replace(saved, picture=picture)
        done = self._file.change(lambda library: library.replaced(saved, pictured))
        if done and self.chosen is not None and self.chosen.saved == saved:
            self.chosen = replace(self.chosen, saved=pictured)

    def _save(self) -> None:
        if (state := self._app.state) is None:
            return
        from avatar_viewer.expression.library import SavedExpression

        name, expression = self._typed(), state.session.expression(state.space)
        if self._file.change(
            lambda library: library.added(SavedExpression(name, expression, state.info.name))
        ):
            self.choose(Entry(name, expression, self._file.library.expressions[-1]))
            self._app.say(f"Saved the expression {name}")

    def _rename(self) -> None:
        name = self._typed()
        if (old := self._chosen_saved("Rename")) is not None and self._file.change(
            lambda library: library.replaced(old, replace(old, name=name))
        ):
            self.choose(Entry(name, old.expression, replace(old, name=name)))

    def _remove(self) -> None:
        """At the second click: it cannot be undone."""
        if (old := self._chosen_saved("Delete")) is None:
            return
        if not self._may_delete:
            self._let_delete(True)
        elif self._file.change(lambda library: library.without(old)):
            self.choose(None)
            self._app.say(f"Deleted the expression {old.name}")

    def _chosen_saved(self, to_do: str) -> SavedExpression | None:
        saved = self.chosen.saved if self.chosen is not None else None
        if saved is None:
            found = "none" if self.chosen is None else "the avatar's own"
            self._app.complain(f"{to_do}: expected one of your expressions chosen, found {found}")
        return saved

    def _let_delete(self, may_delete: bool) -> None:
        self._may_delete = may_delete
        dpg.configure_item(self._delete, label="Really?" if may_delete else "Delete")

    def _ask_import(self) -> None:
        self._chooser.ask("Import expressions", SUFFIX, self._file.take_from)

    def _ask_export(self) -> None:
        if (state := self._app.state) is not None:
            length = state.info.expression_dim
            self._chooser.ask(
                *("Export your expressions", SUFFIX),
                lambda path: self._file.export(path, length),
                LIBRARY_FILE.removesuffix(SUFFIX),
            )

    def _typed(self) -> str:
        return dpg.get_value(self._name).strip()


def _button(label: str, width_px: int, do: Callable[[], None], tip: str) -> int | str:
    button = dpg.add_button(label=label, width=width_px, callback=lambda: do())
    tooltip(button, tip)
    return button
