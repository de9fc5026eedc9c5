"""Pictures that carry their whole request, so that the same picture can be made again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from avatar_viewer.config import from_plain, take_format_version, to_plain
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import written_aside
from avatar_viewer.live.compose import composited, with_alpha
from avatar_viewer.live.renderable import Renderable
from avatar_viewer.live.session import Session, read_session
from avatar_viewer.live.task import Pieces, Work
from avatar_viewer.stages import Frame, RenderRequest

FORMAT_VERSION = 2
SESSION_SUFFIXES = (".yaml", ".yml")
TEXT_KEY = "avatar-viewer"
"""Keyword of the PNG text chunk; its text is JSON with the fields below."""


@dataclass(frozen=True)
class Screenshot:
    """What a screenshot says of its picture."""

    request: RenderRequest
    avatar_source: str
    """Folder or Hub id of the avatar that rendered it, or `config.EMBEDDED`."""
    session: Session | None = None
    """What was chosen in the window; None where none was open, and before format 2."""


def save_screenshot(
    frame: Frame,
    path: Path,
    avatar_source: str,
    session: Session | None = None,
    transparent: bool = False,
) -> None:
    """Write the picture as a PNG with its request and session in a text chunk, floats exactly.

    It stands on the session's background; or on none with `transparent`, where the frame tells
    opacity.

    Raises AvatarError where the path cannot be written.
    """
    content = {
        "format_version": FORMAT_VERSION,
        **to_plain(Screenshot(frame.request, avatar_source, session)),
    }
    if transparent and frame.opacity is not None:
        pixels = with_alpha(frame)
    else:
        pixels = frame.rgb if session is None else composited(frame, session)
    info = PngInfo()
    info.add_text(TEXT_KEY, json.dumps(content))
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside, format="PNG", pnginfo=info)


def screenshot_work(
    session: Session, size_px: tuple[int, int], path: Path, transparent: bool
) -> Work:
    """A task that renders a session in a size (width, height) of its own and saves it."""

    def work(avatar: Renderable) -> Pieces:
        yield 0, 1
        frame = avatar.render(session.request(avatar.expressions, *size_px), lambda: False)
        save_screenshot(frame, path, session.avatar, session, transparent)
        return f"Saved {path}"

    return work


def unused(path: Path) -> Path:
    """The path, or one with a number behind the name where a file is there already."""
    numbered = (path.with_stem(f"{path.stem}-{i}") for i in count(1))
    return next(p for p in chain((path,), numbered) if not p.exists())


def read_screenshot(path: Path) -> Screenshot:
    """What `save_screenshot` wrote; raises AvatarError in one line for any other file."""
    content = _read_json(path, _read_text(path))
    take_format_version(content, FORMAT_VERSION, str(path))
    return from_plain(content, Screenshot, str(path))


def session_of(path: Path) -> Session:
    """The session that a screenshot carries or a YAML file holds; AvatarError in one line."""
    if path.suffix.lower() in SESSION_SUFFIXES:
        return read_session(path)
    if path.suffix.lower() != ".png":
        expected = " | ".join((".png", *SESSION_SUFFIXES))
        raise AvatarError(f"{path}: expected a name that ends in {expected}, found another")
    session = read_screenshot(path).session
    if session is None:
        raise AvatarError(f"{path}: expected a session, found a screenshot of an older version")
    return session


def _read_text(path: Path) -> str:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            assert isinstance(image, PngImageFile)
            text = image.text.get(TEXT_KEY)
    except UnidentifiedImageError as error:
        raise AvatarError(f"{path}: expected a PNG, found another file") from error
    # A cut or damaged PNG gives any of these, by the chunk that is hit.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        found = getattr(error, "strerror", None) or one_line(error)
        raise AvatarError(f"{path}: expected a readable PNG, found: {found}") from error
    if text is None:
        raise AvatarError(f"{path}: expected a screenshot of avatar-viewer, found no request in it")
    return text


def _read_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AvatarError(f"{path}: expected the request as JSON, found: {error}") from error
    if not isinstance(content, dict):
        raise AvatarError(f"{path}: expected the request's fields, found {type(content).__name__}")
    return content
