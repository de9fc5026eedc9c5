"""The expression pad: four corner thumbnails and a cursor that blends between them."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import Image

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.state import PAD_CORNERS, ViewerState
from avatar_viewer.viewer.texture import PictureTexture

if TYPE_CHECKING:
    from avatar_viewer.stages import Frame

Point = tuple[float, float]

THUMBNAIL_PX = 76
PAD_PX = 184
GAP_PX = 8
LABEL_PX = 16
WIDTH_PX = 2 * (THUMBNAIL_PX + GAP_PX) + PAD_PX
CURSOR_RADIUS_PX = 7
_PAD_LEFT_PX = THUMBNAIL_PX + GAP_PX
_INSET_PX = CURSOR_RADIUS_PX + 2
"""The pad's 0..1 lies so far inside its frame that the cursor is whole at the edge."""
_SPAN_PX = PAD_PX - 2 * _INSET_PX


def pad_from_pixel(x_px: float, y_px: float) -> Point:
    """Where on the pad a pixel of the panel lies; a thumbnail stands for its corner."""
    for corner in PAD_CORNERS:
        left, top = _thumbnail_origin(corner)
        if 0 <= x_px - left < THUMBNAIL_PX and 0 <= y_px - top < THUMBNAIL_PX:
            return corner
    return (x_px - _PAD_LEFT_PX - _INSET_PX) / _SPAN_PX, (y_px - _INSET_PX) / _SPAN_PX


def pixel_from_pad(x: float, y: float) -> Point:
    return _PAD_LEFT_PX + _INSET_PX + x * _SPAN_PX, _INSET_PX + y * _SPAN_PX


def _thumbnail_origin(corner: Point) -> Point:
    x, y = corner
    return x * (WIDTH_PX - THUMBNAIL_PX), y * (PAD_PX - THUMBNAIL_PX - LABEL_PX)


class PadPanel:
    """Draws the pad and writes its part of the state."""

    def __init__(self, registry: int | str) -> None:
        self._state: ViewerState | None = None
        self._textures = [PictureTexture(registry, THUMBNAIL_PX) for _ in PAD_CORNERS]
        self._thumbnails: tuple[Frame, ...] = ()
        self._drawn: Point | None = None
        self.drawlist = dpg.add_drawlist(WIDTH_PX, PAD_PX)
        with dpg.draw_layer(parent=self.drawlist):
            self._draw_grid()
            self._images = [self._draw_thumbnail(i) for i in range(len(PAD_CORNERS))]
            self._names = [self._draw_name(corner) for corner in PAD_CORNERS]
        self._cursor = dpg.draw_circle(
            (0, 0),
            CURSOR_RADIUS_PX,
            color=theme.TEXT,
            fill=theme.ACCENT,
            thickness=2,
            parent=self.drawlist,
            show=False,
        )

    def adopt(self, state: ViewerState) -> None:
        """Begin with another avatar; its thumbnails come later."""
        self._state = state
        for name, corner in zip(self._names, state.info.corners, strict=True):
            dpg.configure_item(name, text=_shortened(corner.name))
        dpg.configure_item(self._cursor, show=True)
        self.update(())

    def update(self, thumbnails: Sequence[Frame]) -> None:
        """Show the state's cursor and as many thumbnails as there are."""
        if self._state is not None and self._state.pad != self._drawn:
            self._drawn = self._state.pad
            dpg.configure_item(self._cursor, center=pixel_from_pad(*self._drawn))
        if tuple(thumbnails) == self._thumbnails:
            return
        self._thumbnails = tuple(thumbnails)
        for i, (image, texture) in enumerate(zip(self._images, self._textures, strict=True)):
            if i < len(thumbnails):
                small = Image.fromarray(thumbnails[i].rgb).resize(
                    (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX
                )
                texture.upload(np.asarray(small))
            dpg.configure_item(image, show=i < len(thumbnails), **texture.uv())

    def drag_to(self, x_px: float, y_px: float) -> None:
        """Move the cursor to a pixel of the panel."""
        if self._state is not None:
            self._state.move_pad(*pad_from_pixel(x_px, y_px))

    def _draw_grid(self) -> None:
        left, right = _PAD_LEFT_PX, _PAD_LEFT_PX + PAD_PX
        dpg.draw_rectangle((left, 0), (right, PAD_PX), fill=theme.WIDGET, color=theme.LINE)
        for part in (0.25, 0.5, 0.75):
            x, y = pixel_from_pad(part, part)
            dpg.draw_line((x, 0), (x, PAD_PX), color=theme.LINE)
            dpg.draw_line((left, y), (right, y), color=theme.LINE)
        for corner in PAD_CORNERS:
            x, y = _thumbnail_origin(corner)
            far = (x + THUMBNAIL_PX, y + THUMBNAIL_PX)
            dpg.draw_rectangle((x, y), far, fill=theme.WIDGET, color=theme.LINE)

    def _draw_thumbnail(self, index: int) -> int | str:
        x, y = _thumbnail_origin(PAD_CORNERS[index])
        far = (x + THUMBNAIL_PX, y + THUMBNAIL_PX)
        return dpg.draw_image(self._textures[index].tag, (x, y), far, show=False)

    def _draw_name(self, corner: Point) -> int | str:
        x, y = _thumbnail_origin(corner)
        return dpg.draw_text((x, y + THUMBNAIL_PX + 2), "", size=13, color=theme.DIM_TEXT)


def _shortened(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:9]}.."
