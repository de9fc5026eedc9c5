"""A look at mouse and keys between two drawings of the window."""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

import dearpygui.dearpygui as dpg

Point = tuple[float, float]


class Seen(NamedTuple):
    """What one look shows."""

    x: int
    """On the screen, in pixels."""
    y: int
    buttons: int
    keys: bytes


class Glance:
    """Sees mouse and keys for far less than a drawing costs.

    Dear PyGui looks for input only when it draws, and shows what follows from it in the drawing
    after that; on a software renderer that is too late for what hangs on the mouse. It asks X;
    where there is none it sees nothing, and all works as without it.
    """

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._before_drawing: Seen | None = None
        self._origin: Point | None = None
        """Where on the screen the window's upper left pixel lies."""
        self._display: ctypes.c_void_p | None = None
        if not sys.platform.startswith("linux"):
            return
        self._x11 = ctypes.CDLL("libX11.so.6")
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._x11.XDefaultRootWindow.restype = ctypes.c_ulong
        if connection := self._x11.XOpenDisplay(None):
            self._display = ctypes.c_void_p(connection)

    def changed(self) -> bool:
        """Whether the mouse is over the window, and it or the keys are not as at the last call."""
        seen = self._look()
        if seen is not None and not _is_over_window(seen):
            seen = None
        before, self._seen = self._seen, seen
        return seen is not None and seen != before

    def mouse(self) -> Point | None:
        """Where the mouse is, in pixels of the window; None where that is not known. The last look
        before a drawing is what `align` goes by."""
        self._before_drawing = seen = self._look()
        if seen is None or self._origin is None:
            return None
        return seen.x - self._origin[0], seen.y - self._origin[1]

    def forget(self) -> None:
        """The window may have been moved: where it lies is not known before the next `align`."""
        self._origin = self._before_drawing = None

    def align(self, drawn: Point) -> None:
        """Learn where the window lies: the drawing that has just ended saw the mouse at `drawn`.

        Window managers put frames around windows and move them; a mouse that rested meanwhile tells
        more than the position that they report.
        """
        before, now = self._before_drawing, self._look()
        if before is not None and now is not None and before[:2] == now[:2]:
            self._origin = now.x - drawn[0], now.y - drawn[1]

    def close(self) -> None:
        if self._display is not None:
            self._x11.XCloseDisplay(self._display)
            self._display = None

    def _look(self) -> Seen | None:
        if self._display is None:
            return None
        root = ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display))
        windows = (ctypes.c_ulong(), ctypes.c_ulong())
        x, y, *in_root = (ctypes.c_int() for _ in range(4))
        buttons = ctypes.c_uint()
        answers = map(ctypes.byref, (*windows, x, y, *in_root, buttons))
        self._x11.XQueryPointer(self._display, root, *answers)
        keys = ctypes.create_string_buffer(32)
        self._x11.XQueryKeymap(self._display, keys)
        return Seen(x.value, y.value, buttons.value, keys.raw)


def _is_over_window(seen: Seen) -> bool:
    left, top = dpg.get_viewport_pos()
    width, height = dpg.get_viewport_client_width(), dpg.get_viewport_client_height()
    return 0 <= seen.x - left < width and 0 <= seen.y - top < height
