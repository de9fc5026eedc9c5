"""What the renderer does, how fast, and what it takes."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.memory import gpu_mb, resident_mb
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.stage_plot import StagePlot

if TYPE_CHECKING:
    from avatar_viewer.live.live_state import LiveState

RATE_WINDOW_S = 2.0
MEMORY_EVERY_S = 1.0


class FrameRate:
    """New pictures per second over the last two seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def count(self, now_s: float) -> None:
        self._times_s.append(now_s)

    def fps(self, now_s: float) -> float | None:
        """None when too few pictures came lately to tell, as at rest."""
        while self._times_s and now_s - self._times_s[0] > RATE_WINDOW_S:
            self._times_s.popleft()
        if len(self._times_s) < 3:
            return None
        return (len(self._times_s) - 1) / (self._times_s[-1] - self._times_s[0])


class StatusPanel:
    """Two lines and the plot of the stages; it shows what it is given."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        palette = theme.current()
        self._app = app
        self._shown: dict[int | str, str] = {}
        self._rate = FrameRate()
        self._frames = 0
        self._memory_s = 0.0
        self._memory = ""
        self._loading = dpg.add_text("", color=palette.accent, wrap=width_px, show=False)
        self._speed = dpg.add_text("")
        self._takes = dpg.add_text("", color=palette.dim_text)
        self._plot = StagePlot(width_px)

    def update(self) -> None:
        """Show the live state."""
        now_s, live = time.perf_counter(), self._app.live
        if live.status != self._shown.get(self._loading, ""):
            dpg.configure_item(self._loading, show=bool(live.status))
            dpg.configure_item(self._speed, show=not live.status)
            self._set(self._loading, live.status)
        if live.frames != self._frames and live.frame is not None:
            self._frames = live.frames
            self._rate.count(now_s)
            self._plot.add(live.frame.stage_ms)
        self._show_speed(live, now_s)
        if now_s - self._memory_s > MEMORY_EVERY_S:
            self._memory_s, self._memory = now_s, _memory()
        runtime = live.frame.runtime if live.frame is not None else ""
        where = f"{runtime} on the {'CPU' if gpu_mb() is None else 'GPU'}" if runtime else ""
        self._set(self._takes, "    ".join(filter(None, (where, self._memory))))

    def _show_speed(self, live: LiveState, now_s: float) -> None:
        if (frame := live.frame) is None:
            return
        fps = self._rate.fps(now_s)
        rate = "at rest" if fps is None else f"{fps:.1f} pictures/s"
        kind = "quick" if frame.preview else "full"
        self._set(self._speed, f"{rate}    {live.latency_ms:.0f} ms from input    {kind}")

    def _set(self, item: int | str, text: str) -> None:
        if self._shown.get(item, "") != text:
            self._shown[item] = text
            dpg.set_value(item, text)


def _memory() -> str:
    """What the process takes, in words."""
    resident, gpu = resident_mb(os.getpid())[0], gpu_mb()
    named = (("memory", resident), ("GPU memory", gpu))
    return "    ".join(f"{mb / 1000:.2f} GB {name}" for name, mb in named if mb is not None)
