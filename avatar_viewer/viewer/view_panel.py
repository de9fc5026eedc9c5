"""The picture: shown without distortion, turned, moved and zoomed with the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.texture import PictureTexture

if TYPE_CHECKING:
    from avatar_viewer.stages import Frame

FIRST_TEXTURE_PX = 256
"""A larger avatar gets a larger texture; the cost of each frame of the window grows with it."""
NOTE_PX = 20
NOTE_ASPECT = 7 / 13
"""Width by height of a letter of Dear PyGui's own font."""


class ViewPanel:
    """Draws the newest frame and writes the view into the state."""

    def __init__(self, app: ViewerApp, registry: int | str) -> None:
        self._app = app
        self._registry = registry
        self._frame: Frame | None = None
        self._size_px = (0, 0)
        self._note = ""
        self.texture = PictureTexture(registry, FIRST_TEXTURE_PX)
        self.drawlist = dpg.add_drawlist(1, 1)
        self._image = self._draw_image()
        self._text = dpg.draw_text(
            (0, 0), "", size=NOTE_PX, color=theme.DIM_TEXT, parent=self.drawlist
        )

    @property
    def picture_px(self) -> int:
        """The side of the picture on the screen: it fills the shorter side of the panel."""
        return max(1, min(self._size_px))

    def resize(self, width_px: int, height_px: int) -> None:
        """Fit into this much of the window."""
        if (width_px, height_px) != self._size_px:
            self._size_px = (width_px, height_px)
            dpg.configure_item(self.drawlist, width=width_px, height=height_px)
            self._place()

    def update(self) -> bool:
        """Show the newest frame, or a note while there is none; whether it was uploaded."""
        frame = self._app.live.frame
        note = "" if frame is not None else self._app.note
        if note != self._note:
            self._note = note
            dpg.configure_item(self._text, text=note)
            self._place()
        if frame is self._frame:
            return False
        old, self._frame = self._frame, frame
        dpg.configure_item(self._image, show=frame is not None)
        if frame is None or (old is not None and frame.rgb is old.rgb):
            return False
        self._make_room(max(frame.rgb.shape[:2]))
        self.texture.upload(frame.rgb)
        dpg.configure_item(self._image, **self.texture.uv())
        return True

    def press(self, button: int, at: Point) -> bool:
        """Every button drags."""
        return True

    def drag(self, button: int, at: Point, by: Point) -> None:
        """A drag over the picture: the left button turns, the others move."""
        if (state := self._app.state) is None:
            return
        move = state.orbit if button == dpg.mvMouseButton_Left else state.pan
        move(by[0] / self.picture_px, by[1] / self.picture_px)

    def wheel(self, clicks: float) -> None:
        if self._app.state is not None:
            self._app.state.zoom(clicks)

    def _make_room(self, size_px: int) -> None:
        """A larger picture gets a larger texture; it never shrinks, for deleting ones leaks."""
        if size_px > self.texture.size_px:
            dpg.delete_item(self._image)
            dpg.delete_item(self.texture.tag)
            self.texture = PictureTexture(self._registry, size_px, self.texture.uploads)
            self._image = self._draw_image()
            dpg.configure_item(self._image, show=True)
            self._place()

    def _draw_image(self) -> int | str:
        return dpg.draw_image(self.texture.tag, (0, 0), (1, 1), show=False, parent=self.drawlist)

    def _place(self) -> None:
        width, height = self._size_px
        left, top = (width - self.picture_px) / 2, (height - self.picture_px) / 2
        far = (left + self.picture_px, top + self.picture_px)
        dpg.configure_item(self._image, pmin=(left, top), pmax=far)
        note_width = len(self._note) * NOTE_PX * NOTE_ASPECT
        at = (max(0, (width - note_width) / 2), (height - NOTE_PX) / 2)
        dpg.configure_item(self._text, pos=at)
