"""The mouse: which panel a press, a drag or a turn of the wheel is meant for."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from dataclasses import dataclass

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer.pad_panel import PadPanel
from avatar_viewer.viewer.view_panel import ViewPanel

Point = tuple[float, float]


@dataclass
class _Drag:
    panel: PadPanel | ViewPanel
    button: int
    last: Point


class Pointer:
    """Passes drags on to the panels; a drag belongs to the panel on which it began."""

    def __init__(self, pad: PadPanel, view: ViewPanel) -> None:
        self._pad = pad
        self._view = view
        self._drag: _Drag | None = None
        self._position: Point = (0.0, 0.0)
        self.moved = False
        """Whether the mouse did anything since the last update."""
        self.released = False
        """Whether a drag has just ended."""
        with dpg.handler_registry():
            dpg.add_mouse_click_handler(callback=lambda _, button: self._press(button))
            dpg.add_mouse_wheel_handler(callback=lambda _, clicks: self._turn_wheel(clicks))

    def update(self) -> None:
        """Follow the mouse; called once per frame of the window."""
        position = _mouse()
        self.moved = position != self._position or self._drag is not None
        self._position = position
        self.released = False
        if self._drag is not None:
            self._follow(self._drag, position)
            if not dpg.is_mouse_button_down(self._drag.button):
                self._drag, self.released = None, True

    def _press(self, button: int) -> None:
        if self._drag is not None:
            return
        if dpg.is_item_hovered(self._view.drawlist):
            self._drag = _Drag(self._view, button, _mouse())
        elif button == dpg.mvMouseButton_Left and dpg.is_item_hovered(self._pad.drawlist):
            self._drag = _Drag(self._pad, button, _mouse())

    def _follow(self, drag: _Drag, position: Point) -> None:
        if drag.panel is self._pad:
            left, top = dpg.get_item_rect_min(self._pad.drawlist)
            self._pad.drag_to(position[0] - left, position[1] - top)
        else:
            dx, dy = position[0] - drag.last[0], position[1] - drag.last[1]
            self._view.drag(drag.button, dx, dy)
            drag.last = position

    def _turn_wheel(self, clicks: float) -> None:
        if dpg.is_item_hovered(self._view.drawlist):
            self._view.wheel(clicks)


def _mouse() -> Point:
    x, y = dpg.get_mouse_pos(local=False)
    return x, y
