"""The person's saved expressions: read when they are first wanted, written at each change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_viewer.errors import AvatarError
from avatar_viewer.files import make_folder
from avatar_viewer.viewer.preferences import set_aside

# The window shows itself before torch is imported; once there is an avatar, it has been.
if TYPE_CHECKING:
    from avatar_viewer.expression.library import Library

LIBRARY_FILE = "expressions.yaml"


class LibraryFile:
    """One file in the config folder. `say` hears what was done, `complain` what could not be."""

    def __init__(
        self, folder: Path, say: Callable[[str, Path], None], complain: Callable[[str], None]
    ) -> None:
        self._path, self._say, self._complain = folder / LIBRARY_FILE, say, complain
        self._library: Library | None = None

    @property
    def library(self) -> Library:
        """What is in it; a file that cannot be read is set aside under another name."""
        if self._library is None:
            from avatar_viewer.expression.library import Library, read_library

            self._library = Library()
            if self._path.exists():
                try:
                    self._library = read_library(self._path)
                except AvatarError as error:
                    self._complain(f"{error}; {set_aside(self._path)}")
        return self._library

    def change(self, change: Callable[[Library], Library]) -> bool:
        """Replace the library by another one and write it; whether both could be done."""
        from avatar_viewer.expression.library import write_library

        try:
            changed = change(self.library)
            if changed != self.library:
                make_folder(self._path.parent)
                write_library(changed, self._path)
        except AvatarError as error:
            self._complain(str(error))
            return False
        self._library = changed
        return True

    def take_from(self, path: Path) -> None:
        """Add the expressions of a file that somebody exported."""
        from avatar_viewer.expression.library import read_library

        before = len(self.library.expressions)
        if self.change(lambda library: library.merged(read_library(path).expressions)):
            added = len(self.library.expressions) - before
            self._say(f"{added} new expressions from {path}", path)

    def export(self, path: Path, length: int) -> None:
        """Write those of `length` numbers to a file for others."""
        from avatar_viewer.expression.library import Library, write_library

        found = self.library.found("", length)
        if not found:
            self._complain("Export: expected saved expressions, found none for this avatar")
            return
        path = path if path.suffix else path.with_suffix(".yaml")
        try:
            write_library(Library(found), path)
        except AvatarError as error:
            self._complain(str(error))
        else:
            self._say(f"{len(found)} expressions saved as {path}", path)
