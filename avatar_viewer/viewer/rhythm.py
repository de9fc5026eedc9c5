"""When the window is drawn next: often while something happens, seldom at rest."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from typing import NamedTuple

import dearpygui.dearpygui as dpg

AWAKE_S = 1.0
"""Without anything new for so long, the window is at rest."""
GLANCE_S = 1 / 50
"""How often a window at rest looks for input between drawings."""


class Pace(NamedTuple):
    """How often the window is drawn."""

    share: float
    """Drawing takes this part of the time, and leaves the rest to the renderer; within limits:"""
    least_s: float
    most_s: float
    """From one drawing to the next."""

    def pause_s(self, drawing_s: float) -> float:
        """How long to wait after drawing for so long."""
        return min(max(drawing_s / self.share, self.least_s), self.most_s) - drawing_s


AWAKE = Pace(share=0.25, least_s=1 / 60, most_s=1 / 15)
AT_REST = Pace(share=0.03, least_s=1 / 30, most_s=1 / 2)
"""A graphics card draws so fast that the limit is `least_s`, and input is seen at once. Where the
processor draws, `most_s` is the limit, and a `Glance` sees the input."""


class Rhythm:
    """The pauses between drawings."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._awake_until_s = 0.0
        self._drawing_s = 0.0  # since the last pause
        self._glance: Glance | None = None

    def watch(self) -> None:
        """At rest, look for input between drawings too; the window must be open."""
        self._glance = Glance()

    def wake(self) -> None:
        """End the present pause, or the next one; from any thread."""
        self._woken.set()

    def stay_awake(self) -> None:
        """Something happens, so more may follow."""
        self._awake_until_s = time.perf_counter() + AWAKE_S

    def count(self, drawing_s: float) -> None:
        """The window was drawn for so long."""
        self._drawing_s += drawing_s

    def pause(self) -> None:
        """Wait until the window is due, or there is something new."""
        now_s = time.perf_counter()
        at_rest = now_s > self._awake_until_s
        due_s = now_s + (AT_REST if at_rest else AWAKE).pause_s(self._drawing_s)
        self._drawing_s = 0.0
        while (left_s := due_s - time.perf_counter()) > 0:
            if self._woken.wait(min(left_s, GLANCE_S) if at_rest else left_s):
                break
            if at_rest and self._glance is not None and self._glance.changed():
                break
        self._woken.clear()

    def close(self) -> None:
        if self._glance is not None:
            self._glance.close()


class Glance:
    """Notices mouse and keys between drawings, for far less than a drawing costs.

    It asks X; where there is none it notices nothing, and input is seen at the next drawing.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int, int, bytes] | None = None
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
        before, self._seen = self._seen, self._look()
        return self._seen is not None and self._seen != before

    def close(self) -> None:
        if self._display is not None:
            self._x11.XCloseDisplay(self._display)
            self._display = None

    def _look(self) -> tuple[int, int, int, bytes] | None:
        """The mouse's place on the screen, its buttons, and the keys; None off the window."""
        if self._display is None:
            return None
        root = ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display))
        windows = (ctypes.c_ulong(), ctypes.c_ulong())
        x, y, *in_root = (ctypes.c_int() for _ in range(4))
        buttons = ctypes.c_uint()
        answers = map(ctypes.byref, (*windows, x, y, *in_root, buttons))
        self._x11.XQueryPointer(self._display, root, *answers)
        left, top = dpg.get_viewport_pos()
        width, height = dpg.get_viewport_client_width(), dpg.get_viewport_client_height()
        if not (0 <= x.value - left < width and 0 <= y.value - top < height):
            return None
        keys = ctypes.create_string_buffer(32)
        self._x11.XQueryKeymap(self._display, keys)
        return x.value, y.value, buttons.value, keys.raw
