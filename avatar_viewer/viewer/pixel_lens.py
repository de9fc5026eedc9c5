"""A magnifier beside the mouse: the pixels around it, and the colour of the one below it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.drawn_picture import Label, label_height
from avatar_viewer.viewer.pointer import Point

AROUND = 6
"""Pixels in each direction that are shown."""
CELL_PX, DISTANCE_PX, MARGIN_PX = 12, 18, 4
FRAME: tuple[int, int, int] = (20, 21, 24)
MAX_LINES = 3
_COUNT = 2 * AROUND + 1


class PixelLens:
    """Drawn as squares, for a texture would be smoothed."""

    def __init__(self, drawlist: int | str) -> None:
        self._shown: object = None
        self._rgb: np.ndarray | None = None
        self._layer = dpg.add_draw_layer(parent=drawlist, show=False)
        border = {"color": FRAME, "thickness": 2, "parent": self._layer}
        self._frame = dpg.draw_rectangle((0, 0), (1, 1), fill=FRAME, **border)
        self._cells = [
            dpg.draw_rectangle((0, 0), (1, 1), color=(0, 0, 0, 0), parent=self._layer)
            for _ in range(_COUNT**2)
        ]
        self._middle = [
            dpg.draw_rectangle((0, 0), (1, 1), color=colour, parent=self._layer)
            for colour in ((0, 0, 0), (255, 255, 255))
        ]
        self._lines = [Label(self._layer) for _ in range(MAX_LINES)]

    def hide(self) -> None:
        if self._shown is not None:
            self._shown, self._rgb = None, None
            dpg.configure_item(self._layer, show=False)

    def show(
        self,
        mouse: Point,
        size_px: tuple[int, int],
        on_picture: Point,
        rgb: np.ndarray,
        named: Sequence[tuple[str, np.ndarray]],
    ) -> None:
        """Magnify `rgb` at a place (parts of its width and height), beside the mouse and within a
        view of that size, and tell that pixel's colour in each of the named pictures."""
        height, width = rgb.shape[:2]
        x, y = (int(part * size) for part, size in zip(on_picture, (width, height), strict=True))
        wanted = (mouse, size_px, x, y, theme.look(), tuple(name for name, _ in named))
        if wanted == self._shown and rgb is self._rgb:
            return
        self._shown, self._rgb = wanted, rgb
        texts = [f"x {x}   y {y}", *(_described(name, each[y, x]) for name, each in named)]
        self._place(mouse, size_px, texts)
        for cell, colour in zip(self._cells, surroundings(rgb, x, y).reshape(-1, 3), strict=True):
            dpg.configure_item(cell, fill=colour.tolist())
        dpg.configure_item(self._layer, show=True)

    def _place(self, mouse: Point, size_px: tuple[int, int], texts: list[str]) -> None:
        cell, margin = theme.px(CELL_PX), theme.px(MARGIN_PX)
        side = _COUNT * cell
        line_px = label_height() + margin
        whole = (side, side + margin + len(texts) * line_px)
        left, top = (
            _beside(at, length, limit, theme.px(DISTANCE_PX))
            for at, length, limit in zip(mouse, whole, size_px, strict=True)
        )
        dpg.configure_item(self._frame, pmin=(left, top), pmax=(left + side, top + side))
        for item, (row, column) in zip(self._cells, product(range(_COUNT), repeat=2), strict=True):
            near = (left + column * cell, top + row * cell)
            dpg.configure_item(item, pmin=near, pmax=(near[0] + cell, near[1] + cell))
        for item, grown in zip(self._middle, (1, 0), strict=True):
            near = (left + AROUND * cell - grown, top + AROUND * cell - grown)
            far = (near[0] + cell + 2 * grown, near[1] + cell + 2 * grown)
            dpg.configure_item(item, pmin=near, pmax=far)
        for i, label in enumerate(self._lines):
            at = (left, top + side + margin + i * line_px)
            label.show(texts[i] if i < len(texts) else "", *at)


def surroundings(rgb: np.ndarray, x: int, y: int) -> np.ndarray:
    """The pixels around one, uint8 [2*AROUND+1,2*AROUND+1,3]; the frame's colour off the
    picture."""
    found = np.full((_COUNT, _COUNT, 3), FRAME, np.uint8)
    rows, columns = (np.arange(at - AROUND, at + AROUND + 1) for at in (y, x))
    in_rows = (rows >= 0) & (rows < rgb.shape[0])
    in_columns = (columns >= 0) & (columns < rgb.shape[1])
    found[np.ix_(in_rows, in_columns)] = rgb[np.ix_(rows[in_rows], columns[in_columns])]
    return found


def _beside(at: float, length: float, limit: float, distance: float) -> float:
    """Where something so long begins: after the mouse, or before it where there is no room."""
    after = at + distance
    return after if after + length <= limit else max(0.0, at - distance - length)


def _described(name: str, colour: np.ndarray) -> str:
    r, g, b = colour.tolist()
    text = f"{r} {g} {b}   #{r:02x}{g:02x}{b:02x}"
    return f"{name}   {text}" if name else text
