"""Pictures on another background than white, where the frame tells opacity."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from avatar_viewer.errors import AvatarError

# The window imports this before torch.
if TYPE_CHECKING:
    from avatar_viewer.live.session import Session
    from avatar_viewer.stages import Frame

WHITE = (255, 255, 255)


def composited(frame: Frame, session: Session) -> np.ndarray:
    """The picture on the session's background, uint8 [H,W,3]; as it is where that is white, or
    where the frame tells no opacity.

    Raises AvatarError for a background picture that cannot be read.
    """
    rgb, opacity, path = frame.rgb, frame.opacity, session.background_picture
    if opacity is None or (path is None and session.background == WHITE):
        return rgb
    behind = np.array(session.background, np.uint8)
    if path is not None:
        behind = background_picture(path, rgb.shape[1], rgb.shape[0])
    seen_through = 1 - opacity[..., None] / np.float32(255)
    return _to_uint8(rgb + seen_through * (behind - np.float32(255)))


def with_alpha(frame: Frame) -> np.ndarray:
    """The picture without background, uint8 [H,W,4]; its colours are not multiplied by alpha."""
    height, width = frame.rgb.shape[:2]
    if frame.opacity is None:
        return np.dstack([frame.rgb, np.full((height, width), 255, np.uint8)])
    darker = 255 - frame.rgb.astype(np.float32)
    share = np.maximum(frame.opacity, 1)[..., None] / np.float32(255)
    return np.dstack([_to_uint8(255 - darker / share), frame.opacity])


def background_picture(path: Path, width: int, height: int) -> np.ndarray:
    """A picture file as uint8 [height,width,3]: scaled to cover, cropped around the middle.

    It is read anew when the file changes. Raises AvatarError in one line.
    """
    try:
        found = path.stat()
        return _covering(path, (found.st_mtime_ns, found.st_size), width, height)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels"
        raise AvatarError(f"{path}: expected at most {limit}, found more") from error
    # A cut or damaged picture gives any of these, by its format.
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "another or a damaged file"
        raise AvatarError(f"{path}: expected a picture, found: {reason}") from error


@lru_cache(maxsize=4)
def _covering(path: Path, _: tuple[int, int], width: int, height: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS))


def _to_uint8(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels).clip(0, 255).astype(np.uint8)
