"""A view as text, for the clipboard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import yaml

from avatar_viewer.config import from_plain, take_format_version, to_plain
from avatar_viewer.errors import AvatarError, one_line

if TYPE_CHECKING:
    from avatar_viewer.raster.camera import Orbit

FORMAT_VERSION = 1
WHERE = "copied view"
"""What errors call the text."""


def view_to_text(view: Orbit) -> str:
    """As YAML in one line, such that `view_from_text` gives an equal one."""
    content = {"format_version": FORMAT_VERSION, **to_plain(view)}
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=True, width=math.inf).strip()


def view_from_text(text: str) -> Orbit:
    """Raises AvatarError in one line for any other text."""
    from avatar_viewer.raster.camera import Orbit

    try:
        content = yaml.safe_load(text)
    # Besides its own errors PyYAML lets those of int(), of dates and of deep nesting through.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AvatarError(f"{WHERE}: expected YAML, found: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise AvatarError(f"{WHERE}: expected the fields of a view, found another text")
    take_format_version(content, FORMAT_VERSION, WHERE)
    return from_plain(content, Orbit, WHERE)
