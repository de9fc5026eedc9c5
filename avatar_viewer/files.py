"""Writing files such that nothing half-written is ever found under their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avatar_viewer.errors import AvatarError, one_line


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A sibling to write to, which takes the place of `path` when the block succeeds.

    Raises AvatarError where it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            yield aside
            os.replace(aside, path)
    finally:
        if aside.is_file():
            aside.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise AvatarError where the block cannot write `path`, as on a full disk."""
    try:
        yield
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{path}: expected a writable path, found: {found}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; raises AvatarError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{folder}: expected a folder to write to, found: {found}") from error


def ensure_writable(path: Path) -> None:
    """Raise AvatarError now if `path` could not be written later, after long work."""
    if path.is_dir():
        raise AvatarError(f"{path}: expected a file, found a folder")
    # Trying is the only honest test: permissions alone say nothing to root or of a full disk.
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    with writing(path):
        probe.touch()
        probe.unlink()
