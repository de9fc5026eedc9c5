"""The expression pad: four corner thumbnails and a cursor that blends between them."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import Image

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.state import PAD_CORNERS
from avatar_viewer.viewer.texture import PictureTexture

if TYPE_CHECKING:
    from avatar_viewer.stages import Frame

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

    def __init__(self, app: ViewerApp, registry: int | str) -> None:
        self._app = app
        self._names_shown: tuple[str, ...] = ()
        self._textures = [PictureTexture(registry, THUMBNAIL_PX) for _ in PAD_CORNERS]
        self._thumbnails: list[Frame | None] = [None for _ in PAD_CORNERS]
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

    def update(self) -> None:
        """Show the state's cursor and corners, and as many thumbnails as there are."""
        if (state := self._app.state) is None:
            return
        session = state.session
        if session.pad != self._drawn:
            self._drawn = session.pad
            dpg.configure_item(self._cursor, center=pixel_from_pad(*self._drawn), show=True)
        names = tuple(corner.name for corner in session.corners)
        if names != self._names_shown:
            self._names_shown = names
            for item, name in zip(self._names, names, strict=True):
                dpg.configure_item(item, text=_shortened(name))
        self._show_thumbnails(self._app.live.thumbnails)

    def _show_thumbnails(self, thumbnails: tuple[Frame, ...]) -> None:
        for i, (image, texture) in enumerate(zip(self._images, self._textures, strict=True)):
            frame = thumbnails[i] if i < len(thumbnails) else None
            if frame is self._thumbnails[i]:
                continue
            self._thumbnails[i] = frame
            if frame is not None:
                small = Image.fromarray(frame.rgb).resize(
                    (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX
                )
                texture.upload(np.asarray(small))
            dpg.configure_item(image, show=frame is not None, **texture.uv())

    def press(self, button: int, at: Point) -> bool:
        """The left button drags."""
        return button == dpg.mvMouseButton_Left

    def drag(self, button: int, at: Point, by: Point) -> None:
        """Move the cursor to a pixel of the panel."""
        if self._app.state is not None:
            self._app.state.move_pad(*pad_from_pixel(*at))

    def wheel(self, clicks: float) -> None:
        """Nothing."""

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
