"""A picture on a drawlist, and small texts over it."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.text_width import text_width
from avatar_viewer.viewer.texture import add_texture

LABEL_PX, PADDING_PX, CORNER_PX = 14, 5, 4
LABEL_TEXT, LABEL_GROUND = (255, 255, 255), (20, 21, 24, 190)
"""Readable on every picture, whatever the theme."""


class DrawnPicture:
    """A texture and what draws it; nothing is uploaded twice."""

    def __init__(self, registry: int | str, parent: int | str) -> None:
        self._registry = registry
        self._place: tuple[Point, Point, tuple[float, float]] | None = None
        self.rgb: np.ndarray | None = None
        """What is on show."""
        self.uploads = 0
        """How many pictures have been sent to the graphics driver."""
        self._texture = add_texture(registry, np.zeros((1, 1, 3), np.uint8))
        self.image = dpg.draw_image(self._texture, (0, 0), (1, 1), show=False, parent=parent)

    def show(self, rgb: np.ndarray | None) -> bool:
        """Show a picture, uint8 [H,W,3], or none; whether it was uploaded."""
        if rgb is self.rgb:
            return False
        if rgb is not None:
            before, self._texture = self._texture, add_texture(self._registry, rgb)
            self.uploads += 1
            dpg.configure_item(self.image, texture_tag=self._texture)
            dpg.delete_item(before)
        self.rgb = rgb
        self._configure()
        return rgb is not None

    def put(self, near: Point, far: Point, strip: tuple[float, float] = (0.0, 1.0)) -> None:
        """Draw between two corners the strip of it that lies between two parts of its width."""
        self._place = near, far, strip
        self._configure()

    def hide(self) -> None:
        """Draw it nowhere."""
        self._place = None
        self._configure()

    def _configure(self) -> None:
        if self._place is None or self.rgb is None:
            dpg.configure_item(self.image, show=False)
            return
        near, far, (start, end) = self._place
        height, width = self.rgb.shape[:2]
        # Between centres of texels: beyond them filtering would mix in the opposite edge.
        left, top = 0.5 / width, 0.5 / height
        inner = 1 - 2 * left
        dpg.configure_item(
            self.image,
            show=near[0] < far[0],
            pmin=near,
            pmax=far,
            uv_min=(left + start * inner, top),
            uv_max=(left + end * inner, 1 - top),
        )


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
