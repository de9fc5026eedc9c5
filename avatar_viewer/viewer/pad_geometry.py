"""Where what lies on the expression pad: its thumbnails left and right of its field.

Constants are lengths at scale 1 of the window, and pixels are those of the screen.
"""

from __future__ import annotations

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.state import PAD_CORNERS

THUMBNAIL_PX = 76
PAD_PX = 184
GAP_PX = 8
LABEL_PX = 16
WIDTH_PX = 2 * (THUMBNAIL_PX + GAP_PX) + PAD_PX
CURSOR_RADIUS_PX = 7
PAD_LEFT_PX = THUMBNAIL_PX + GAP_PX
_INSET_PX = CURSOR_RADIUS_PX + 2
"""The pad's 0..1 lies so far inside its frame that the cursor is whole at the edge."""
_SPAN_PX = PAD_PX - 2 * _INSET_PX


def pad_from_pixel(x_px: float, y_px: float) -> Point:
    """Where on the pad a pixel of the panel lies; a thumbnail stands for its corner."""
    if (corner := corner_at(x_px, y_px)) is not None:
        return PAD_CORNERS[corner]
    x, y = x_px / theme.look().scale, y_px / theme.look().scale
    return (x - PAD_LEFT_PX - _INSET_PX) / _SPAN_PX, (y - _INSET_PX) / _SPAN_PX


def pixel_from_pad(x: float, y: float) -> Point:
    return pixel(PAD_LEFT_PX + _INSET_PX + x * _SPAN_PX, _INSET_PX + y * _SPAN_PX)


def corner_at(x_px: float, y_px: float) -> int | None:
    """Whose thumbnail lies at a pixel of the panel."""
    x, y = x_px / theme.look().scale, y_px / theme.look().scale
    for index, corner in enumerate(PAD_CORNERS):
        left, top = thumbnail_origin(corner)
        if 0 <= x - left < THUMBNAIL_PX and 0 <= y - top < THUMBNAIL_PX:
            return index
    return None


def pixel(x: float, y: float) -> Point:
    """The pixel at a place at scale 1."""
    return x * theme.look().scale, y * theme.look().scale


def thumbnail_origin(corner: Point) -> Point:
    x, y = corner
    return x * (WIDTH_PX - THUMBNAIL_PX), y * (PAD_PX - THUMBNAIL_PX - LABEL_PX)


def thumbnail(index: int, margin: float = 0.0) -> tuple[Point, Point]:
    """The pixels of two opposite corners of a thumbnail."""
    x, y = thumbnail_origin(PAD_CORNERS[index])
    far = (x + THUMBNAIL_PX - margin, y + THUMBNAIL_PX - margin)
    return pixel(x + margin, y + margin), pixel(*far)
