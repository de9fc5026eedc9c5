"""The mouse: which surface a press, a drag or a turn of the wheel is meant for."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer.glance import Glance, Point


class Surface(Protocol):
    """Something drawn that takes drags. Places are pixels from its upper left corner."""

    drawlist: int | str

    def press(self, button: int, at: Point) -> bool:
        """A button went down; whether a drag may begin."""
        ...

    def drag(self, button: int, at: Point, by: Point) -> None:
        """The mouse is at a place, moved by so much since the last call."""
        ...

    def wheel(self, clicks: float) -> None: ...


@dataclass
class _Drag:
    surface: Surface
    button: int
    last: Point


class Pointer:
    """Passes drags on to surfaces; a drag belongs to the surface on which it began."""

    def __init__(self, surfaces: Sequence[Surface], glance: Glance) -> None:
        self._surfaces, self._glance = surfaces, glance
        self._drag: _Drag | None = None
        self._position: Point = (0.0, 0.0)
        self.moved = False
        """Whether the mouse did anything since the last update."""
        self.released = False
        """Whether a drag has just ended."""
        with dpg.handler_registry():
            dpg.add_mouse_click_handler(callback=lambda _, button: self._press(button))
            dpg.add_mouse_wheel_handler(callback=lambda _, clicks: self._turn_wheel(clicks))

    @property
    def is_dragging(self) -> bool:
        return self._drag is not None

    def foresee(self) -> bool:
        """Before the window is drawn: move what is dragged to where the next drawing will see the
        mouse, so that it shows it already; whether it moved."""
        if (drag := self._drag) is None:
            return False
        place = self._glance.mouse()
        if place is None or place == drag.last:
            return False
        self._move(drag, place)
        return True

    def update(self) -> None:
        """After the window was drawn: follow the mouse."""
        position = _mouse()
        self.moved = position != self._position or self._drag is not None
        self._position = position
        self.released = False
        if (drag := self._drag) is None:
            return
        self._glance.align(position)
        self._move(drag, position)
        if not dpg.is_mouse_button_down(drag.button):
            self._drag, self.released = None, True

    def _move(self, drag: _Drag, place: Point) -> None:
        by = (place[0] - drag.last[0], place[1] - drag.last[1])
        drag.last = place
        drag.surface.drag(drag.button, _on(drag.surface, place), by)

    def _press(self, button: int) -> None:
        if self._drag is None and (surface := self._hovered()) is not None:
            position = _mouse()
            if surface.press(button, _on(surface, position)):
                self._glance.forget()
                self._drag = _Drag(surface, button, position)

    def _turn_wheel(self, clicks: float) -> None:
        if (surface := self._hovered()) is not None:
            surface.wheel(clicks)

    def _hovered(self) -> Surface | None:
        return next((s for s in self._surfaces if dpg.is_item_hovered(s.drawlist)), None)


def _mouse() -> Point:
    x, y = dpg.get_mouse_pos(local=False)
    return x, y


def _on(surface: Surface, position: Point) -> Point:
    left, top = dpg.get_item_rect_min(surface.drawlist)
    return position[0] - left, position[1] - top
