"""A picture on a drawlist, and small texts over it."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.picture_places import Place
from avatar_viewer.viewer.text_width import text_width
from avatar_viewer.viewer.texture import PictureTexture

FIRST_TEXTURE_PX = 256
"""A larger avatar gets a larger texture; the cost of each frame of the window grows with it."""
LABEL_PX, PADDING_PX, CORNER_PX = 14, 5, 4
LABEL_TEXT, LABEL_GROUND = (255, 255, 255), (20, 21, 24, 190)
"""Readable on every picture, whatever the theme."""


class DrawnPicture:
    """A texture and what draws it; nothing is uploaded twice."""

    def __init__(self, registry: int | str, parent: int | str) -> None:
        self._registry, self._parent = registry, parent
        self._place: Place | None = None
        self.rgb: np.ndarray | None = None
        """What is on show."""
        self.texture = PictureTexture(registry, FIRST_TEXTURE_PX)
        self.image = self._draw()

    def show(self, rgb: np.ndarray | None) -> bool:
        """Show a picture, uint8 [H,W,3], or none; whether it was uploaded."""
        if rgb is self.rgb:
            return False
        self.rgb = rgb
        if rgb is not None:
            self._make_room(max(rgb.shape[:2]))
            self.texture.upload(rgb)
        self._configure()
        return rgb is not None

    def put(self, place: Place | None) -> None:
        """Draw it there, or nowhere."""
        self._place = place
        self._configure()

    def _configure(self) -> None:
        place = self._place
        if place is None or self.rgb is None or place.near[0] >= place.far[0]:
            dpg.configure_item(self.image, show=False)
            return
        uv = self.texture.uv()
        (left, top), (right, bottom) = uv["uv_min"], uv["uv_max"]
        dpg.configure_item(
            self.image,
            show=True,
            pmin=place.near,
            pmax=place.far,
            uv_min=(left + place.start * (right - left), top),
            uv_max=(left + place.end * (right - left), bottom),
        )

    def _make_room(self, size_px: int) -> None:
        """A larger picture gets a larger texture; it never shrinks, for deleting ones leaks."""
        if size_px > self.texture.size_px:
            dpg.delete_item(self.image)
            dpg.delete_item(self.texture.tag)
            self.texture = PictureTexture(self._registry, size_px, self.texture.uploads)
            self.image = self._draw()

    def _draw(self) -> int | str:
        return dpg.draw_image(self.texture.tag, (0, 0), (1, 1), show=False, parent=self._parent)


class Label:
    """A line of text on a ground of its own."""

    def __init__(self, parent: int | str) -> None:
        self._shown: object = None
        self._ground = dpg.draw_rectangle(
            (0, 0),
            (1, 1),
            color=(0, 0, 0, 0),
            fill=LABEL_GROUND,
            rounding=CORNER_PX,
            show=False,
            parent=parent,
        )
        self._text = dpg.draw_text((0, 0), "", color=LABEL_TEXT, show=False, parent=parent)

    def show(self, text: str, x: float = 0, y: float = 0, *, from_right: bool = False) -> None:
        """With the upper left corner, or the upper right one, there; an empty text hides it."""
        size, padding = theme.px(LABEL_PX), theme.px(PADDING_PX)
        width = text_width(text, size) + 2 * padding if text else 0.0
        left = x - width if from_right else x
        wanted = (text, left, y, width, size)
        if wanted == self._shown:
            return
        self._shown = wanted
        far = (left + width, y + label_height())
        dpg.configure_item(self._ground, show=bool(text), pmin=(left, y), pmax=far)
        at = (left + padding, y + padding / 2)
        dpg.configure_item(self._text, show=bool(text), text=text, pos=at, size=size)


def label_height() -> int:
    return theme.px(LABEL_PX) + theme.px(PADDING_PX)
