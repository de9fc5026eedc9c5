"""All messages, with their times."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.desktop import copy_text, open_path
from avatar_viewer.viewer.messages import Message
from avatar_viewer.viewer.overlay import Overlay

TIME_PX = 72


class LogPanel(Overlay):
    """The newest line is the lowest one."""

    name = "log"
    title = "Log"
    size = (640, 420)

    def fill(self, width_px: int) -> None:
        """The lines so far, above the button that copies them."""
        self._shown = 0
        self._width_px = width_px
        self._lines = dpg.add_child_window(height=-theme.px(36))
        theme.make_dense(self._lines)
        dpg.add_button(label="Copy all", callback=lambda: copy_text(self._app, self.text))

    @property
    def text(self) -> str:
        """As it is copied."""
        return "\n".join(
            f"{_clock(m)}  {'error: ' if m.is_error else ''}{m.text}"
            for m in self._app.messages.lines
        )

    def update(self) -> None:
        """Add the lines that are new."""
        super().update()
        messages = self._app.messages
        if not self.is_open or self._shown == messages.count:
            return
        missing = min(messages.count - self._shown, len(messages.lines))
        for message in messages.lines[len(messages.lines) - missing :]:
            self._add(message)
        self._shown = messages.count
        dpg.set_y_scroll(self._lines, -1.0)

    def _add(self, message: Message) -> None:
        palette = theme.current()
        with dpg.group(horizontal=True, xoffset=theme.px(TIME_PX), parent=self._lines):
            dpg.add_text(_clock(message), color=palette.dim_text)
            with dpg.group():
                colour = palette.error if message.is_error else palette.text
                wrap = self._width_px - theme.px(TIME_PX)
                dpg.add_text(message.text, color=colour, wrap=wrap)
                if (link := message.link) is not None:
                    dpg.add_button(
                        label="Open", small=True, callback=lambda: open_path(self._app, link)
                    )


def _clock(message: Message) -> str:
    return time.strftime("%H:%M:%S", time.localtime(message.said_s))
