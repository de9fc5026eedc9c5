"""A dialog that asks for a file."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp

SIZE_PX = (720, 460)


class FileChooser:
    """One dialog at a time, made anew for each question."""

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self._dialog: int | str | None = None

    def ask(self, title: str, suffix: str, then: Callable[[Path], None], name: str = "") -> None:
        """Ask for a file and do `then` with it; `name` is proposed."""
        if self._dialog is not None:
            self._app.dialogs.remove(self._dialog)
            dpg.delete_item(self._dialog)
        width, height = map(theme.px, SIZE_PX)
        with dpg.file_dialog(
            label=title,
            modal=True,
            width=width,
            height=height,
            default_filename=name,
            callback=lambda _, chosen: then(chosen_path(chosen["file_path_name"])),
        ) as dialog:
            dpg.add_file_extension(suffix)
        self._dialog = dialog
        self._app.dialogs.append(dialog)


def chosen_path(given: str) -> Path:
    """Dear PyGui joins an absolute path that was typed to the folder on show by a second "/"."""
    _, doubled, typed = given.partition("//")
    return Path(f"/{typed}" if doubled else given)
