"""What the renderer does, how fast, and what went wrong."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp

if TYPE_CHECKING:
    from avatar_viewer.live.live_state import LiveState

RATE_WINDOW_S = 2.0
MAX_STAGES = 10


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
    """Texts only; it shows what it is given."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown: dict[int | str, str] = {}
        self._rate = FrameRate()
        self._frames = 0
        self._messages = 0
        self._message = dpg.add_text("", wrap=width_px)
        self._status = dpg.add_text("", color=theme.ACCENT, wrap=width_px)
        self._speed = dpg.add_text("")
        self._runtime = dpg.add_text("", color=theme.DIM_TEXT)
        with dpg.table(header_row=False, policy=dpg.mvTable_SizingFixedFit):
            dpg.add_table_column(width_fixed=True, init_width_or_weight=150)
            dpg.add_table_column(width_fixed=True, init_width_or_weight=80)
            self._rows = [self._add_row() for _ in range(MAX_STAGES)]

    @property
    def message(self) -> str:
        """The message on show."""
        return self._shown.get(self._message, "")

    def update(self) -> None:
        """Show the live state."""
        now_s = time.perf_counter()
        live, messages = self._app.live, self._app.messages
        if live.frames != self._frames:
            self._frames = live.frames
            self._rate.count(now_s)
        # What a new avatar has to say waits until it is there.
        if messages.count != self._messages and not live.status:
            self._messages = messages.count
            newest = messages.lines[-1]
            self._set(self._message, newest.text)
            colour = theme.ERROR if newest.is_error else theme.TEXT
            dpg.configure_item(self._message, color=colour)
        self._set(self._status, live.status)
        self._show_speed(live, now_s)

    def _show_speed(self, live: LiveState, now_s: float) -> None:
        frame = live.frame
        stages = list(frame.stage_ms.items()) if frame else []
        if frame:
            fps = self._rate.fps(now_s)
            rate = "at rest" if fps is None else f"{fps:.1f} fps"
            kind = "quick" if frame.preview else "full"
            self._set(
                self._speed,
                f"{rate}    {live.latency_ms:.0f} ms from input    {kind}",
            )
            self._set(self._runtime, frame.runtime)
            stages = [*stages[: MAX_STAGES - 1], ("total", sum(ms for _, ms in stages))]
        for i, (row, name, spent) in enumerate(self._rows):
            dpg.configure_item(row, show=i < len(stages))
            if i < len(stages):
                self._set(name, stages[i][0])
                self._set(spent, f"{stages[i][1]:8.1f} ms")

    def _add_row(self) -> tuple[int | str, int | str, int | str]:
        with dpg.table_row(show=False) as row:
            return row, dpg.add_text("", color=theme.DIM_TEXT), dpg.add_text("")

    def _set(self, item: int | str, text: str) -> None:
        if self._shown.get(item, "") != text:
            self._shown[item] = text
            dpg.set_value(item, text)
