"""Which avatar, session or screenshot is shown, and a dialog to open another."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from pathlib import Path

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer.app import ViewerApp

DIALOG_PX = (720, 460)


class SourcePanel:
    """A field, and what opens the dialog."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown = ""
        self._dialog: int | str | None = None
        self._source = dpg.add_input_text(
            width=width_px,
            hint="Folder or Hub id, then Enter",
            on_enter=True,
            callback=lambda _, text: self._open(text),
        )
        app.text_inputs.append(self._source)

    def update(self) -> None:
        """Show the present avatar's source; open the dialog where that is asked for."""
        state = self._app.state
        if state is not None and state.session.avatar != self._shown:
            self._shown = state.session.avatar
            dpg.set_value(self._source, self._shown)
        if "open" in self._app.opened:
            self._app.toggle("open")
            self._show_dialog()

    def _show_dialog(self) -> None:
        if self._dialog is not None:
            self._app.dialogs.remove(self._dialog)
            dpg.delete_item(self._dialog)
        width, height = DIALOG_PX
        self._dialog = dpg.add_file_dialog(
            label="Open a checkpoint folder",
            directory_selector=True,
            modal=True,
            width=width,
            height=height,
            callback=lambda _, chosen: self._open(_chosen_folder(chosen["file_path_name"])),
        )
        self._app.dialogs.append(self._dialog)

    def _open(self, given: str) -> None:
        text = given.strip()
        if not text:
            return
        path = Path(text).expanduser()
        if path.is_file():
            self._app.open(path)
        else:
            self._app.load(text)


def _chosen_folder(path: str) -> str:
    """Dear PyGui joins an absolute path that was typed to the folder on show by a second "/"."""
    _, doubled, typed = path.partition("//")
    return f"/{typed}" if doubled else path
