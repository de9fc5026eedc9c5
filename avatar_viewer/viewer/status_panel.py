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
from avatar_viewer.viewer.text_width import shortened

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


class StatusLine:
    """How fast pictures come, or what is being loaded."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app, self._width_px = app, width_px
        self._shown = ("", "")
        self._rate = FrameRate()
        self._frames = 0
        self._loading = dpg.add_text("", color=theme.current().accent, show=False)
        self._speed = dpg.add_text("")

    def update(self) -> None:
        """Show the live state."""
        now_s, live = time.perf_counter(), self._app.live
        if live.frames != self._frames:
            self._frames = live.frames
            self._rate.count(now_s)
        status = shortened(live.status, self._width_px, theme.px(theme.FONT_PX))
        shown = (status, self._speed_of(live, now_s))
        if shown != self._shown:
            self._shown = shown
            for item, text in zip((self._loading, self._speed), shown, strict=True):
                dpg.set_value(item, text)
            dpg.configure_item(self._loading, show=bool(live.status))
            dpg.configure_item(self._speed, show=not live.status)

    def _speed_of(self, live: LiveState, now_s: float) -> str:
        if (frame := live.frame) is None:
            return ""
        fps = self._rate.fps(now_s)
        rate = "at rest" if fps is None else f"{fps:.1f} pictures/s"
        kind = "quick" if frame.preview else "full"
        return f"{rate}    {live.latency_ms:.0f} ms from input    {kind}"


class StatusPanel:
    """What renders, what it takes, and the plot of the stages; it shows what it is given."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._frames = 0
        self._shown = ""
        self._memory_s = 0.0
        self._memory = ""
        self._takes = dpg.add_text("", color=theme.current().dim_text)
        self._plot = StagePlot(width_px)

    def update(self) -> None:
        """Show the live state."""
        now_s, live = time.perf_counter(), self._app.live
        if live.frames != self._frames and live.frame is not None:
            self._frames = live.frames
            self._plot.add(live.frame.stage_ms)
        if now_s - self._memory_s > MEMORY_EVERY_S:
            self._memory_s, self._memory = now_s, _memory()
        runtime = live.frame.runtime if live.frame is not None else ""
        where = f"{runtime} on the {'CPU' if gpu_mb() is None else 'GPU'}" if runtime else ""
        takes = "    ".join(filter(None, (where, self._memory)))
        if takes != self._shown:
            self._shown = takes
            dpg.set_value(self._takes, takes)


def _memory() -> str:
    """What the process takes, in words."""
    resident, gpu = resident_mb(os.getpid())[0], gpu_mb()
    named = (("memory", resident), ("GPU memory", gpu))
    return "    ".join(f"{mb / 1000:.2f} GB {name}" for name, mb in named if mb is not None)
