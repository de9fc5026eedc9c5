"""Sliders that move the pad's blend: along the head model's own directions, and by ARKit units."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.sliders import Sliders

if TYPE_CHECKING:
    from avatar_viewer.head.expression_space import ExpressionSpace

MAX_DIRECTIONS, MOST_DEVIATIONS = 8, 3.0
RESET_PX, LABEL_PX, UNIT_LABEL_PX, UNITS_PX = 64, 84, 132, 190
HOW = "Ctrl+click on a slider: type a number. Right click on it: back to 0."


class SlidersPanel:
    """Both groups of them, as far as the avatar has any."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._space: ExpressionSpace | None = None
        self._searched = ""
        with dpg.group(show=False) as self._none:
            dpg.add_text("This avatar has no sliders", color=theme.current().dim_text)
        with dpg.group(show=False) as self._direction_group:
            self._directions = Sliders(app, "directions", MOST_DEVIATIONS)
            about = "Ways in which its expressions differ most, in standard deviations."
            _heading("Directions", about, self._directions, width_px)
            for i in range(MAX_DIRECTIONS):
                label = f"Direction {i + 1}"
                self._directions.add(label, theme.px(LABEL_PX), width_px)
        with dpg.collapsing_header(label="Face units (ARKit)", show=False) as self._unit_group:
            self._units = Sliders(app, "units", 1.0)
            about = "What phones and face trackers measure: 1 is the whole movement."
            _heading("Units", about, self._units, width_px)
            self._search = dpg.add_input_text(hint="Search", width=width_px)
            with dpg.child_window(height=theme.px(UNITS_PX), width=width_px, border=True):
                within_px = width_px - theme.px(8) - theme.SCROLLBAR_PX
                for name in ARKIT_UNITS:
                    self._units.add(name, theme.px(UNIT_LABEL_PX), within_px)
        app.text_inputs.append(self._search)

    def update(self) -> None:
        """Show the state, and only the sliders that do something."""
        if (state := self._app.state) is None:
            return
        if state.space is not self._space:
            self._adopt(state.space)
        self._directions.update(state.session.directions)
        self._units.update(state.session.units)
        search = dpg.get_value(self._search).strip().casefold()
        if search != self._searched:
            self._searched = search
            for row, name in zip(self._units.rows, ARKIT_UNITS, strict=True):
                dpg.configure_item(row, show=search in name.casefold())

    def _adopt(self, space: ExpressionSpace) -> None:
        """Begin with another avatar."""
        self._space = space
        count = len(space.directions)
        for i, row in enumerate(self._directions.rows):
            dpg.configure_item(row, show=i < count)
        dpg.configure_item(self._direction_group, show=count > 0)
        dpg.configure_item(self._unit_group, show=space.units is not None)
        dpg.configure_item(self._none, show=count == 0 and space.units is None)


def _heading(text: str, about: str, sliders: Sliders, width_px: int) -> None:
    button_px = theme.px(RESET_PX)
    with dpg.group(horizontal=True, xoffset=width_px - button_px):
        with dpg.group():  # a tooltip would count as one more in the row
            tooltip(dpg.add_text(text), f"{about}\n{HOW}")
        button = dpg.add_button(label="Reset", width=button_px, callback=lambda: sliders.reset())
    tooltip(button, "All of these back to 0")
