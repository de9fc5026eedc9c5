"""The line between two pictures that share a square, which can be dragged."""

from __future__ import annotations

from dataclasses import replace

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.picture_places import Place
from avatar_viewer.viewer.pointer import Point

REACH_PX = 10
HANDLE_PX = 11
ARROW_PX = 4
WHITE, DARK = (255, 255, 255), (20, 21, 24)


class SplitLine:
    """Drawn with a handle in its middle; it writes `Comparison.split`."""

    def __init__(self, app: ViewerApp, drawlist: int | str) -> None:
        self._app = app
        self._places: tuple[Place, ...] | None = None
        self.is_taken = False
        """Whether the drag that goes on is of the line."""
        self._layer = dpg.add_draw_layer(parent=drawlist, show=False)
        ends, parent = ((0, 0), (0, 1)), self._layer
        self._lines = [
            dpg.draw_line(*ends, color=(*DARK, 120), thickness=4, parent=parent),
            dpg.draw_line(*ends, color=WHITE, thickness=2, parent=parent),
        ]
        self._handle = dpg.draw_circle((0, 0), 1, color=DARK, fill=WHITE, parent=parent)
        corners = ((0, 0), (0, 1), (1, 1))
        self._arrows = [
            dpg.draw_triangle(*corners, color=DARK, fill=DARK, parent=parent) for _ in range(2)
        ]

    def update(self, places: tuple[Place, ...] | None) -> None:
        """Draw it between the two places; None hides it."""
        if places == self._places:
            return
        self._places = places
        dpg.configure_item(self._layer, show=places is not None)
        if places is None:
            self.is_taken = False
            return
        (x, top), bottom = places[1].near, places[0].far[1]
        for line in self._lines:
            dpg.configure_item(line, p1=(x, top), p2=(x, bottom))
        y, arrow = (top + bottom) / 2, theme.px(ARROW_PX)
        dpg.configure_item(self._handle, center=(x, y), radius=theme.px(HANDLE_PX))
        for item, way in zip(self._arrows, (-1, 1), strict=True):
            base = x + way * arrow / 2
            dpg.configure_item(
                item, p1=(base, y - arrow), p2=(base, y + arrow), p3=(base + way * arrow * 1.2, y)
            )

    def take(self, may_drag: bool, at: Point) -> None:
        """A button went down there: whether it takes hold of the line."""
        places = self._places
        self.is_taken = (
            may_drag
            and places is not None
            and abs(at[0] - places[1].near[0]) <= theme.px(REACH_PX)
            and places[0].top <= at[1] < places[0].top + places[0].side
        )

    def move(self, at: Point) -> None:
        """To the mouse, within the picture."""
        state, places = self._app.state, self._places
        if state is None or places is None or (comparison := state.session.comparison) is None:
            return
        part = (at[0] - places[0].left) / places[0].side
        self._app.change(comparison=replace(comparison, split=min(max(part, 0.0), 1.0)))
