"""What the desktop does with files, and the clipboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer.app import ViewerApp


def open_path(app: ViewerApp, path: Path) -> None:
    """Show a file or folder in the program for it; where there is none, its path is copied."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None:
        copy_text(app, str(path))
        return
    quiet = subprocess.DEVNULL
    subprocess.Popen(
        [opener, str(path)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )


def copy_text(app: ViewerApp, text: str) -> None:
    """Onto the clipboard, and say so."""
    dpg.set_clipboard_text(text)
    lines = text.count("\n") + 1
    app.say(f"Copied {text}" if lines == 1 else f"Copied {lines} lines")
