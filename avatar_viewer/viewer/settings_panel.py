"""Layer, sampler, steps and seed, and what is drawn while moving."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.state import ViewerState

MAX_SLIDER_STEPS = 50
MAX_SEED = 2**31 - 1
LABEL_PX = 92
GAP_PX = 8
MOVING: dict[str, dict[str, int | None]] = {
    "moving_steps": {"auto steps": None, "1 step": 1, "2 steps": 2, "4 steps": 4},
    "moving_reduction": {"auto size": None, "full size": 1, "half size": 2},
}
"""What can be chosen for pictures while moving: by the state's field, label and value."""


class SettingsPanel:
    """Widgets that write their part of the state."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._state: ViewerState | None = None
        self._widgets: dict[str, int | str] = {}
        self._shown: dict[str, Any] = {}
        common = {"width": width_px - LABEL_PX, "callback": self._write, "enabled": False}
        limits = {"min_clamped": True, "max_clamped": True}
        self._add("show", "Layer", dpg.add_combo, **common)
        self._add("sampler", "Sampler", dpg.add_combo, **common)
        steps = {"min_value": 1, "max_value": MAX_SLIDER_STEPS, "clamped": True}
        self._add("steps", "Steps", dpg.add_slider_int, **common, **steps)
        seeds = {"min_value": 0, "max_value": MAX_SEED, **limits}
        self._add("seed", "Seed", dpg.add_input_int, **common, **seeds)
        self._add_moving(width_px, **common)
        app.text_inputs += self._widgets.values()

    def update(self) -> None:
        """Show the state, which keys may have changed too."""
        if (state := self._app.state) is None:
            return
        if state is not self._state:
            self._adopt(state)
        for name, widget in self._widgets.items():
            value = getattr(state.session, name)
            shown = next((label for label, v in MOVING.get(name, {}).items() if v == value), value)
            if shown != self._shown.get(name):
                self._shown[name] = shown
                dpg.set_value(widget, shown)

    def _adopt(self, state: ViewerState) -> None:
        """Begin with another avatar."""
        from avatar_viewer.stages import LAYERS, SAMPLERS

        self._state = state
        dpg.configure_item(self._widgets["show"], items=LAYERS)
        dpg.configure_item(self._widgets["sampler"], items=SAMPLERS)
        most_steps = max(MAX_SLIDER_STEPS, state.info.steps)
        dpg.configure_item(self._widgets["steps"], max_value=most_steps)
        for widget in self._widgets.values():
            dpg.enable_item(widget)

    def _add(self, name: str, label: str, make: Callable[..., int | str], **options: Any) -> None:
        with dpg.group(horizontal=True, xoffset=LABEL_PX):
            dpg.add_text(label, color=theme.DIM_TEXT)
            self._widgets[name] = make(user_data=name, **options)

    def _add_moving(self, width_px: int, **options: Any) -> None:
        options["width"] = (width_px - LABEL_PX - GAP_PX) // 2
        with dpg.group(horizontal=True):
            dpg.add_text("While moving", color=theme.DIM_TEXT)
            for name, values in MOVING.items():
                widget = dpg.add_combo(items=list(values), user_data=name, **options)
                self._widgets[name] = widget

    def _write(self, _: int | str, value: Any, name: str) -> None:
        self._shown[name] = value
        self._app.change(**{name: MOVING.get(name, {}).get(value, value)})
