"""Whether a window can open at all.

Dear PyGui aborts the whole process where it cannot, so this asks first, as it would itself.
"""

from __future__ import annotations

import ctypes
import os
import sys

from avatar_viewer.errors import AvatarError

HEADLESS_COMMAND = "avatar-viewer render --out F.png"
_answered: set[str] = set()
"""Displays that this process is connected to."""


def require_display() -> None:
    """Raises AvatarError, naming the command that needs no window, where none can open."""
    if not sys.platform.startswith("linux"):
        return
    name = os.environ.get("DISPLAY", "")
    if not name:
        wayland = os.environ.get("WAYLAND_DISPLAY")
        found = "WAYLAND_DISPLAY alone (XWayland is needed)" if wayland else "none"
        raise _no_window(f"DISPLAY: expected an X display, found {found}")
    x11 = _library("libX11.so.6", "libx11-6")
    _library("libGL.so.1", "libgl1")
    if name in _answered:
        return
    x11.XOpenDisplay.restype = ctypes.c_void_p
    # It stays open: some servers (Xvfb) begin anew when their last client goes, and would not
    # answer the window that opens next.
    if not x11.XOpenDisplay(None):
        raise _no_window(f"DISPLAY: expected an X display, found no answer from {name}")
    _answered.add(name)


def _library(name: str, debian_package: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        expected = f"{name} (Debian package {debian_package})"
        raise _no_window(f"window: expected {expected}, found none") from error


def _no_window(problem: str) -> AvatarError:
    return AvatarError(f"{problem}; without a window use: {HEADLESS_COMMAND}")


def prepare_process() -> None:
    """What must be so before a window opens and torch is loaded; AvatarError without a display."""
    require_display()
    # OpenMP reads this when torch is loaded. By default its threads spin at every barrier, which
    # slows rendering severalfold where the cores also have the window to draw, or other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
