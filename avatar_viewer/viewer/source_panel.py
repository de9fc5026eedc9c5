"""Which avatar is shown; others to open, also from sessions and screenshots; and saving one."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import action_button, tooltip
from avatar_viewer.viewer.timeline import SEQUENCE_SUFFIX

DIALOG_PX = (720, 460)
GAP_PX = 8
SESSION_SUFFIX = ".yaml"


@dataclass(frozen=True)
class Dialog:
    """What one of the file dialogs asks for."""

    title: str
    suffixes: tuple[str, ...] = ()
    """Of the files to choose from; none: a folder is chosen."""


DIALOGS = {
    "open a folder": Dialog("Open an avatar's folder"),
    "open a file": Dialog(
        "Open a session, a screenshot or an expression sequence",
        (SESSION_SUFFIX, ".yml", ".png", SEQUENCE_SUFFIX),
    ),
    "save": Dialog("Save the session", (SESSION_SUFFIX,)),
}
"""By their names in `app.opened`."""


class SourcePanel:
    """A field, avatars that were opened before, and what opens the dialogs."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown = ""
        self._recent: tuple[str, ...] = ()
        self._dialog: int | str | None = None
        recent_px, gap = theme.px(76), theme.px(GAP_PX)
        with dpg.group(horizontal=True):
            self._source = dpg.add_input_text(
                width=width_px - recent_px - gap,
                hint="Folder or Hub id, then Enter",
                on_enter=True,
                callback=lambda _, text: self._open(text),
            )
            recent = dpg.add_button(label="Recent", width=recent_px)
            tooltip(recent, "Avatars that were opened before")
        with dpg.popup(recent, mousebutton=dpg.mvMouseButton_Left, min_size=(1, 1)) as self._menu:
            dpg.add_text("None yet", color=theme.current().dim_text)
        with dpg.group(horizontal=True):
            for keys, label in (
                *(("O", "Open folder"), ("Ctrl+O", "Open file")),
                ("Ctrl+Shift+S", "Save session"),
            ):
                action_button(app, keys, label, (width_px - 2 * gap) // 3)
        app.text_inputs.append(self._source)

    def update(self) -> None:
        """Show the present avatar's source; open the dialog that is asked for."""
        app = self._app
        if app.state is not None and app.state.session.avatar != self._shown:
            self._shown = app.state.session.avatar
            dpg.set_value(self._source, self._shown)
        if app.preferences.recent != self._recent:
            self._recent = app.preferences.recent
            self._fill_menu()
        for name in DIALOGS.keys() & app.opened:
            app.opened.discard(name)
            self._show_dialog(name)

    def _fill_menu(self) -> None:
        dpg.delete_item(self._menu, children_only=True)
        for source in self._recent:
            dpg.add_selectable(
                label=source,
                parent=self._menu,
                user_data=source,
                callback=lambda _, __, source: self._app.load(source),
            )

    def _show_dialog(self, name: str) -> None:
        app, asked = self._app, DIALOGS[name]
        if name == "save" and app.state is None:
            app.complain("Session: there is no avatar yet")
            return
        if self._dialog is not None:
            app.dialogs.remove(self._dialog)
            dpg.delete_item(self._dialog)
        width, height = map(theme.px, DIALOG_PX)
        more: dict[str, Any] = {"default_filename": "session"} if name == "save" else {}
        with dpg.file_dialog(
            label=asked.title,
            directory_selector=not asked.suffixes,
            modal=True,
            width=width,
            height=height,
            callback=lambda _, chosen: self._obey(name, chosen["file_path_name"]),
            **more,
        ) as dialog:
            if len(asked.suffixes) > 1:
                dpg.add_file_extension(f"All of them{{{','.join(asked.suffixes)}}}")
            for suffix in asked.suffixes:
                dpg.add_file_extension(suffix)
        self._dialog = dialog
        app.dialogs.append(dialog)

    def _obey(self, name: str, given: str) -> None:
        """What was chosen in a dialog."""
        path = _chosen_path(given)
        if name == "save":
            whole = Path(path)
            suffixed = whole if whole.suffix else whole.with_suffix(SESSION_SUFFIX)
            self._app.save_session(suffixed)
        else:
            self._open(path)

    def _open(self, given: str) -> None:
        text = given.strip()
        if not text:
            return
        path = Path(text).expanduser()
        if path.is_file():
            self._app.open(path)
        else:
            self._app.load(text)


def _chosen_path(path: str) -> str:
    """Dear PyGui joins an absolute path that was typed to the folder on show by a second "/"."""
    _, doubled, typed = path.partition("//")
    return f"/{typed}" if doubled else path
