"""The list of a library: a small picture and a name for each expression."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.text_width import shortened
from avatar_viewer.viewer.texture import add_texture

if TYPE_CHECKING:
    from avatar_viewer.expression.library import SavedExpression
    from avatar_viewer.stages import ExpressionCode

PICTURE_PX = 40
REGISTRY = "library pictures"
TO_THE_END = -1.0
"""As Dear PyGui's place to scroll to."""


@dataclass(frozen=True)
class Entry:
    """One expression to choose."""

    name: str
    expression: ExpressionCode
    saved: SavedExpression | None = None
    """None for the avatar's own."""


class LibraryList:
    """Shows entries; its rows are made anew only when these change."""

    def __init__(
        self, width_px: int, height_px: int, hint: str, choose: Callable[[Entry], None]
    ) -> None:
        """`choose` hears which entry was clicked; `hint` stands in place of none."""
        self._choose, self._hint, self._width_px = choose, hint, width_px
        self._shown: tuple[object, ...] | None = None
        self._selectables: list[tuple[int | str, Entry]] = []
        self._marked: Entry | None = None
        self._pictures: dict[ExpressionCode, int | str] = {}
        if dpg.does_item_exist(REGISTRY):  # of the column before this one
            dpg.delete_item(REGISTRY)
        self._registry = dpg.add_texture_registry(tag=REGISTRY)
        with dpg.theme() as centred, dpg.theme_component(dpg.mvSelectable):
            dpg.add_theme_style(dpg.mvStyleVar_SelectableTextAlign, 0, 0.5)
        self.window = dpg.add_child_window(width=width_px, height=height_px, border=True)
        dpg.bind_item_theme(self.window, centred)

    def has_picture(self, expression: ExpressionCode) -> bool:
        return expression in self._pictures

    def add_picture(self, expression: ExpressionCode, rgb: np.ndarray) -> None:
        """Give an expression its picture, uint8 [H,W,3]."""
        self._pictures[expression] = add_texture(self._registry, rgb)

    def show(self, entries: Sequence[Entry], chosen: Entry | None) -> None:
        """Show these; `chosen` is marked."""
        rows = tuple((entry, self._pictures.get(entry.expression)) for entry in entries)
        if rows != self._shown:
            self._shown = rows
            dpg.delete_item(self.window, children_only=True)
            self._selectables = [(self._add_row(*row), row[0]) for row in rows]
            if not rows:
                dpg.add_text(self._hint, parent=self.window, color=theme.current().dim_text)
            self._marked = None
            if rows and rows[-1][0] == chosen:
                dpg.set_y_scroll(self.window, TO_THE_END)
        if self._marked is None or chosen != self._marked:
            self._marked = chosen
            for selectable, entry in self._selectables:
                dpg.set_value(selectable, entry == chosen)

    def _add_row(self, entry: Entry, picture: int | str | None) -> int | str:
        side = theme.px(PICTURE_PX)
        left_px = self._width_px - side - theme.px(40)
        with dpg.group(horizontal=True, parent=self.window):
            if picture is None:
                dpg.add_spacer(width=side, height=side)
            else:
                dpg.add_image(picture, width=side, height=side)
            return dpg.add_selectable(
                label=shortened(entry.name, left_px, theme.px(theme.FONT_PX)),
                height=side,
                user_data=entry,
                callback=lambda _, __, entry: self._click(entry),
            )

    def _click(self, entry: Entry) -> None:
        self._marked = None  # Dear PyGui has changed the mark by itself
        self._choose(entry)
