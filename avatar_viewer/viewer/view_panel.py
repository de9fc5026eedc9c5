"""The picture: shown without distortion, compared with another one, and turned, moved and zoomed
with the mouse."""

from __future__ import annotations

from dataclasses import replace
from operator import is_
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.compose import composited
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import LENS
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.compared import difference
from avatar_viewer.viewer.drawn_picture import DrawnPicture
from avatar_viewer.viewer.picture_places import Place, places
from avatar_viewer.viewer.pixel_lens import PixelLens
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.split_line import SplitLine
from avatar_viewer.viewer.text_width import text_width
from avatar_viewer.viewer.view_labels import ViewLabels

if TYPE_CHECKING:
    from avatar_viewer.live.session import ComparisonMode
    from avatar_viewer.stages import Frame

NOTE_PX = 20


class ViewPanel:
    """Draws the newest frames and writes the view into the state."""

    def __init__(self, app: ViewerApp, registry: int | str) -> None:
        self._app = app
        self._registry = registry
        self._size_px = (1, 1)
        self._mode: ComparisonMode | None = None
        self._seen: tuple[object, ...] = ()
        self._placed: object = None
        self._note: object = None
        self._bad_background: object = None
        self._whole: list[np.ndarray] = []
        """The pictures that are shown, or whose difference is."""
        self.drawlist = dpg.add_drawlist(1, 1)
        self._layer = dpg.add_draw_layer(parent=self.drawlist)
        self._pictures = [DrawnPicture(registry, self._layer)]
        self._split = SplitLine(app, self.drawlist)
        self._labels = ViewLabels(self.drawlist)
        self._lens = PixelLens(self.drawlist)
        self._text = dpg.draw_text((0, 0), "", parent=self.drawlist)

    @property
    def picture_px(self) -> float:
        """The side of a picture on the screen."""
        return self._places[0].side

    @property
    def uploads(self) -> int:
        """How many pictures have been sent to the graphics driver."""
        return sum(picture.uploads for picture in self._pictures)

    @property
    def _places(self) -> tuple[Place, ...]:
        state = self._app.state
        comparison = state.session.comparison if state is not None else None
        return places(self._size_px, self._mode, comparison.split if comparison else 1.0)

    def resize(self, width_px: int, height_px: int) -> None:
        """Fit into this much of the window."""
        if (width_px, height_px) != self._size_px:
            self._size_px = (width_px, height_px)
            dpg.configure_item(self.drawlist, width=width_px, height=height_px)

    def update(self) -> bool:
        """Show the newest frames, or a note while there is none; whether any was uploaded."""
        app = self._app
        frame, state = app.live.frame, app.state
        uploaded = self._show_pictures(frame, app.live.other)
        drawn = self._places
        if drawn != self._placed:
            self._placed = drawn
            for i, picture in enumerate(self._pictures):
                if i < len(drawn):
                    picture.put(drawn[i].near, drawn[i].far, drawn[i].strip)
                else:
                    picture.hide()
        self._show_note("" if frame is not None else app.note)
        self._split.update(drawn if self._mode == "split" else None)
        self._labels.update(state, frame, self._mode, drawn)
        self._show_lens(drawn)
        return uploaded

    def press(self, button: int, at: Point) -> bool:
        """Every button drags."""
        self._split.take(button == dpg.mvMouseButton_Left, at)
        return True

    def drag(self, button: int, at: Point, by: Point) -> None:
        """A drag over the picture: the left button turns, the others move."""
        if (state := self._app.state) is None:
            return
        if self._split.is_taken:
            self._split.move(at)
            return
        move = state.orbit if button == dpg.mvMouseButton_Left else state.pan
        move(by[0] / self.picture_px, by[1] / self.picture_px)

    def wheel(self, clicks: float) -> None:
        if self._app.state is not None:
            self._app.state.zoom(clicks)

    def _show_pictures(self, frame: Frame | None, other: Frame | None) -> bool:
        """Upload what is new; whether there was any."""
        session = self._app.state.session if self._app.state is not None else None
        comparison = session.comparison if session is not None else None
        # While the second picture is on its way, the first one has the room.
        if frame is None or other is None or other.rgb.shape != frame.rgb.shape:
            comparison = None
        self._mode = comparison.mode if comparison is not None else None
        frames = [] if frame is None else [frame]
        if self._mode is not None and other is not None:
            frames.append(other)
        on = (None, None) if session is None else (session.background, session.background_picture)
        seen = (self._mode, *on, *(part for f in frames for part in (f.rgb, f.opacity)))
        if len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return False
        self._seen = seen
        self._whole = [self._on_background(each) for each in frames]
        shown = [difference(*self._whole)] if self._mode == "difference" else self._whole
        if len(shown) > len(self._pictures):
            self._pictures.append(DrawnPicture(self._registry, self._layer))
            self._placed = None
        rgbs = (*shown, None, None)
        return any([picture.show(rgb) for picture, rgb in zip(self._pictures, rgbs, strict=False)])

    def _on_background(self, frame: Frame) -> np.ndarray:
        if (state := self._app.state) is None:
            return frame.rgb
        session = state.session
        if session.background_picture is not None:
            try:
                if session.background_picture is not self._bad_background:
                    return composited(frame, session)
            except AvatarError as error:
                self._bad_background = session.background_picture
                self._app.complain(str(error))
            session = replace(session, background_picture=None)
        return composited(frame, session)

    def _show_note(self, note: str) -> None:
        wanted = (note, self._size_px, theme.look())
        if wanted == self._note:
            return
        self._note = wanted
        size = theme.px(NOTE_PX)
        width, height = self._size_px
        at = (max(0.0, (width - text_width(note, size)) / 2), (height - size) / 2)
        colour = theme.current().dim_text
        dpg.configure_item(self._text, text=note, pos=at, size=size, color=colour)

    def _show_lens(self, drawn: tuple[Place, ...]) -> None:
        """Magnify what is below the mouse, where that is wanted."""
        alt = any(map(dpg.is_key_down, (dpg.mvKey_LAlt, dpg.mvKey_RAlt)))
        if not (alt or LENS in self._app.opened) or not dpg.is_item_hovered(self.drawlist):
            self._lens.hide()
            return
        (x, y), (left, top) = dpg.get_mouse_pos(local=False), dpg.get_item_rect_min(self.drawlist)
        mouse = (x - left, y - top)
        for picture, place in zip(self._pictures, drawn, strict=False):
            at = place.on_picture(mouse)
            if at is not None and picture.rgb is not None:
                names = ("A", "B") if len(self._whole) > 1 else ("",)
                named = list(zip(names, self._whole, strict=True))
                self._lens.show(mouse, self._size_px, at, picture.rgb, named)
                return
        self._lens.hide()
