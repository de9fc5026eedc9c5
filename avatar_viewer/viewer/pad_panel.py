"""The expression pad: four corner thumbnails and a cursor that blends between them."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import Image

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.drawn_picture import DrawnPicture
from avatar_viewer.viewer.pad_geometry import (
    CURSOR_RADIUS_PX,
    PAD_LEFT_PX,
    PAD_PX,
    THUMBNAIL_PX,
    WIDTH_PX,
    corner_at,
    pad_from_pixel,
    pixel,
    pixel_from_pad,
    thumbnail,
    thumbnail_origin,
)
from avatar_viewer.viewer.pad_trail import PadTrail
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.state import PAD_CORNERS
from avatar_viewer.viewer.text_width import shortened

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session
    from avatar_viewer.stages import Frame

NAME_PX = 13
DOUBLE_CLICK_S = 0.35


class PadPanel:
    """Draws the pad and writes its part of the state."""

    def __init__(self, app: ViewerApp, registry: int | str) -> None:
        self._app = app
        self._names_shown: tuple[str, ...] = ()
        self._thumbnails: list[Frame | None] = [None for _ in PAD_CORNERS]
        self._drawn: object = None
        self._played: Point | None = None
        self._pressed: tuple[int | None, float] = (None, 0.0)
        self._marked: int | None = None
        self._told = ""
        with dpg.group() as around:  # a drawlist has no tooltip
            self.drawlist = dpg.add_drawlist(theme.px(WIDTH_PX), theme.px(PAD_PX))
        with dpg.draw_layer(parent=self.drawlist) as layer:
            self._draw_grid()
            self._pictures = [DrawnPicture(registry, layer) for _ in PAD_CORNERS]
            self._names = [self._draw_name(corner) for corner in PAD_CORNERS]
        self._trail = PadTrail(self.drawlist, pixel_from_pad)
        accent = theme.current().accent
        self._mark = dpg.draw_rectangle(
            (0, 0), (1, 1), parent=self.drawlist, color=accent, thickness=theme.px(2), show=False
        )
        self._cursor = dpg.draw_circle(
            (0, 0),
            theme.px(CURSOR_RADIUS_PX),
            color=theme.current().text,
            thickness=theme.px(2),
            parent=self.drawlist,
            show=False,
        )
        with dpg.tooltip(around, show=False) as self._tooltip:
            self._tooltip_name = dpg.add_text()
            dpg.add_text("Double-click: another one from the library", color=theme.DIM_TEXT)

    @property
    def is_moving(self) -> bool:
        """Whether the next drawing will differ though nobody touches anything."""
        return self._app.stroke.is_playing or self._trail.is_fading

    def update(self) -> None:
        """Show the state's cursor and corners, and as many thumbnails as there are."""
        if (state := self._app.state) is None:
            return
        now_s = time.perf_counter()
        self._play(now_s)
        session = state.session
        drawn = (session.pad, session.driven is None)
        if drawn != self._drawn:
            self._drawn, at = drawn, pixel_from_pad(*session.pad)
            fill = theme.current().accent if session.driven is None else theme.current().widget
            dpg.configure_item(self._cursor, center=at, fill=fill, show=True)
        self._trail.follow(session.pad, now_s)
        self._trail.show_path(self._app.stroke.places)
        self._show_names(session)
        self._show_mark()
        self._show_thumbnails(self._app.live.thumbnails)

    def press(self, button: int, at: Point) -> bool:
        """The left button drags; twice on a thumbnail, it asks for another expression there."""
        if button != dpg.mvMouseButton_Left:
            return False
        corner, now_s = corner_at(*at), time.perf_counter()
        (last, last_s), self._pressed = self._pressed, (corner, now_s)
        if corner is not None and corner == last and now_s - last_s < DOUBLE_CLICK_S:
            self._pressed = (None, 0.0)
            self._app.target_corner = corner
            self._app.opened.add("library")
            return False
        is_shift_down = dpg.is_key_down(dpg.mvKey_LShift) or dpg.is_key_down(dpg.mvKey_RShift)
        self._app.stroke.press(is_shift_down)
        return True

    def drag(self, button: int, at: Point, by: Point) -> None:
        """Move the cursor to a pixel of the panel."""
        if (state := self._app.state) is not None:
            state.move_pad(*pad_from_pixel(*at))
            self._app.stroke.add(state.session.pad, time.perf_counter())

    def wheel(self, clicks: float) -> None:
        """Nothing."""

    def _play(self, now_s: float) -> None:
        """Move the cursor along the path that was drawn, until it is moved otherwise."""
        state, stroke = self._app.state, self._app.stroke
        assert state is not None
        if self._played not in (None, state.session.pad):
            stroke.stop()
        self._played = stroke.place(now_s)
        if self._played is not None:
            state.move_pad(*self._played)

    def _show_names(self, session: Session) -> None:
        names = tuple(corner.name for corner in session.corners)
        if names != self._names_shown:
            self._names_shown = names
            for item, name in zip(self._names, names, strict=True):
                dpg.configure_item(item, text=shortened(name, THUMBNAIL_PX, NAME_PX))
        hovered = names[corner] if (corner := self._hovered()) is not None else ""
        if hovered != self._told:
            self._told = hovered
            dpg.configure_item(self._tooltip, show=hovered != "")
            dpg.set_value(self._tooltip_name, hovered)

    def _hovered(self) -> int | None:
        """Whose thumbnail is under the mouse."""
        if not dpg.is_item_hovered(self.drawlist):
            return None
        (x, y), (left, top) = (
            dpg.get_mouse_pos(local=False),
            dpg.get_item_rect_min(self.drawlist),
        )
        return corner_at(x - left, y - top)

    def _show_mark(self) -> None:
        """Which corner the library fills."""
        if self._app.target_corner == self._marked:
            return
        self._marked = self._app.target_corner
        dpg.configure_item(self._mark, show=self._marked is not None)
        if self._marked is not None:
            near, far = thumbnail(self._marked, margin=1)
            dpg.configure_item(self._mark, pmin=near, pmax=far)

    def _show_thumbnails(self, thumbnails: tuple[Frame, ...]) -> None:
        for i, picture in enumerate(self._pictures):
            frame = thumbnails[i] if i < len(thumbnails) else None
            if frame is self._thumbnails[i]:
                continue
            self._thumbnails[i] = frame
            if frame is None:
                picture.hide()
                continue
            small = Image.fromarray(frame.rgb).resize(
                (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX
            )
            picture.show(np.asarray(small))
            picture.put(*thumbnail(i))

    def _draw_grid(self) -> None:
        fill, line = theme.current().widget, theme.current().line
        near, far = pixel(PAD_LEFT_PX, 0), pixel(PAD_LEFT_PX + PAD_PX, PAD_PX)
        dpg.draw_rectangle(near, far, fill=fill, color=line)
        for part in (0.25, 0.5, 0.75):
            x, y = pixel_from_pad(part, part)
            dpg.draw_line((x, near[1]), (x, far[1]), color=line)
            dpg.draw_line((near[0], y), (far[0], y), color=line)
        for index in range(len(PAD_CORNERS)):
            dpg.draw_rectangle(*thumbnail(index), fill=fill, color=line)

    def _draw_name(self, corner: Point) -> int | str:
        x, y = thumbnail_origin(corner)
        at = pixel(x, y + THUMBNAIL_PX + 1)
        return dpg.draw_text(at, "", size=theme.px(NAME_PX), color=theme.current().dim_text)
