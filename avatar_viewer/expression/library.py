"""Expressions that a person has saved by name, and the YAML file that keeps and passes them on."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_viewer.config import from_plain, read_yaml, take_format_version, to_plain, write_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import ExpressionCode

FORMAT_VERSION = 1
MAX_NAME = 60
PICTURE_PX = 64
_MAX_PICTURE_TEXT = 2**16


@dataclass(frozen=True)
class SavedExpression:
    """One entry of a library."""

    name: str
    expression: ExpressionCode
    avatar: str = ""
    """Name of the avatar on which it was made."""
    picture: str = ""
    """Base64 of a JPEG of at most `PICTURE_PX`; empty where there is none."""

    def __post_init__(self) -> None:
        name = self.name
        if not 1 <= len(name) <= MAX_NAME or name != name.strip() or not name.isprintable():
            found = repr(name[: MAX_NAME + 1]) if name else "none"
            raise AvatarError(f"name: expected 1 to {MAX_NAME} letters in one line, found {found}")
        if len(self.picture) > _MAX_PICTURE_TEXT:
            limit = _MAX_PICTURE_TEXT
            raise AvatarError(f"picture: expected at most {limit} letters, found more")

    @property
    def length(self) -> int:
        """E: only avatars with expressions of as many numbers can show it."""
        return len(self.expression.values)


@dataclass(frozen=True)
class Library:
    """Saved expressions in the order in which they were saved.

    Of those of one length E no two have the same name: of them, an avatar offers all.
    """

    expressions: tuple[SavedExpression, ...] = ()

    def found(self, text: str, length: int) -> tuple[SavedExpression, ...]:
        """Those of `length` numbers with `text` in their names, whatever the case."""
        return tuple(e for e in self.expressions if e.length == length and matches(text, e.name))

    def added(self, new: SavedExpression) -> Library:
        """With one more; AvatarError where its name is taken."""
        if self._is_taken(new.name, new.length):
            raise AvatarError(f"name: expected one that is not there yet, found {new.name}")
        return Library((*self.expressions, new))

    def without(self, old: SavedExpression) -> Library:
        return Library(tuple(e for e in self.expressions if e != old))

    def replaced(self, old: SavedExpression, new: SavedExpression) -> Library:
        """AvatarError where the name of the new one is taken by another."""
        if new.name != old.name and self._is_taken(new.name, new.length):
            raise AvatarError(f"name: expected one that is not there yet, found {new.name}")
        return Library(tuple(new if e == old else e for e in self.expressions))

    def merged(self, others: Iterable[SavedExpression]) -> Library:
        """With others too: those that it has already are left out, and a number is added to names
        that are taken."""
        library = self
        for other in others:
            name, number = other.name, 2
            while (twin := library._of_name(name, other.length)) is not None:
                if twin.expression == other.expression:
                    break
                ending = f" {number}"
                name, number = other.name[: MAX_NAME - len(ending)].strip() + ending, number + 1
            if twin is None:
                library = library.added(replace(other, name=name))
        return library

    def _is_taken(self, name: str, length: int) -> bool:
        return self._of_name(name, length) is not None

    def _of_name(self, name: str, length: int) -> SavedExpression | None:
        same = (e for e in self.expressions if (e.name, e.length) == (name, length))
        return next(same, None)


def matches(text: str, name: str) -> bool:
    """Whether a search for `text` finds a name: it is a part of it, whatever the case."""
    return text.strip().casefold() in name.casefold()


def read_library(path: Path) -> Library:
    """Read a file of expressions; raises AvatarError in one line."""
    content = read_yaml(path)
    take_format_version(content, FORMAT_VERSION, str(path))
    return Library().merged(from_plain(content, Library, str(path)).expressions)


def write_library(library: Library, path: Path) -> None:
    """Write a file of expressions, such that `read_library` gives an equal library."""
    write_yaml({"format_version": FORMAT_VERSION, **to_plain(library)}, path)


def small_picture(rgb: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H,W,3], of at most `PICTURE_PX`."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX)
    return np.asarray(picture)


def picture_text(rgb: np.ndarray) -> str:
    """A picture, uint8 [H,W,3], small and as text: see `SavedExpression.picture`."""
    buffer = io.BytesIO()
    Image.fromarray(small_picture(rgb)).save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_of(text: str) -> np.ndarray | None:
    """The reverse of `picture_text`, uint8 [H,W,3]; None where the text is no small JPEG."""
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(text, validate=True)), formats=["JPEG"]
        ) as file:
            if max(file.size) > PICTURE_PX:
                return None
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, binascii.Error):
        return None
