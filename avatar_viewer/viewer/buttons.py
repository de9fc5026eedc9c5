"""Buttons of actions, and what is said of them while the mouse rests there."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import action_of
from avatar_viewer.viewer.app import ViewerApp

TOOLTIP_DELAY_S = 0.4


def tooltip(item: int | str, text: str, keys: str = "") -> None:
    """Say something of a widget, and which keys do the same."""
    with dpg.tooltip(item, delay=TOOLTIP_DELAY_S), dpg.group(horizontal=True):
        dpg.add_text(text)
        if keys:
            dpg.add_text(keys, color=theme.current().dim_text)


def action_button(app: ViewerApp, keys: str, label: str, width_px: int) -> int | str:
    """A button that does what those keys do."""
    action = action_of(keys)
    button = dpg.add_button(label=label, width=width_px, callback=lambda: action.run(app))
    tooltip(button, action.does, action.shown_keys)
    return button
