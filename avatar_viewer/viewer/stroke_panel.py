"""Drawing a path on the pad, and playing it."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import action_button

BUTTON_PX = 100
DRAW, PLAY = "Draw a path", "Play it"


class StrokePanel:
    """Two buttons and a box."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        width = theme.px(BUTTON_PX)
        self._shown: dict[int | str, object] = {}
        with dpg.group(horizontal=True):
            self._draw = action_button(app, "D", DRAW, width)
            self._play = action_button(app, "Shift+D", PLAY, width)
            self._loop = dpg.add_checkbox(
                label="Loop",
                callback=lambda _, chosen: setattr(app.stroke, "loops", chosen),
            )

    def update(self) -> None:
        """Show what is being done."""
        stroke = self._app.stroke
        self._label(self._draw, "Drag now" if stroke.is_armed else DRAW)
        self._label(self._play, "Stop" if stroke.is_playing else PLAY)
        if self._shown.get(self._loop) != stroke.loops:
            self._shown[self._loop] = stroke.loops
            dpg.set_value(self._loop, stroke.loops)

    def _label(self, button: int | str, label: str) -> None:
        if self._shown.get(button) != label:
            self._shown[button] = label
            dpg.configure_item(button, label=label)
