"""What the mouse and the keys do."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import help_groups
from avatar_viewer.viewer.overlay import Overlay

KEYS_PX, GAP_PX = 168, 16
Lines = list[tuple[str, str]]


class HelpOverlay(Overlay):
    """The table of all bindings, in two columns."""

    name = "help"
    title = "Mouse and keys"
    size = (960, 640)

    def fill(self, width_px: int) -> None:
        """Group by group."""
        with dpg.group(horizontal=True) as whole:
            for column in balanced(help_groups()):
                column_px = (width_px - theme.px(GAP_PX)) // 2
                with dpg.child_window(width=column_px, auto_resize_y=True):
                    for name, lines in column.items():
                        _add_group(name, lines, column_px - theme.px(KEYS_PX))
        theme.make_dense(whole)


def balanced(groups: dict[str, Lines]) -> tuple[dict[str, Lines], dict[str, Lines]]:
    """The groups in their order in two columns, whose longer one is as short as can be."""
    names = list(groups)

    def height(part: list[str]) -> int:
        return sum(len(groups[name]) + 2 for name in part)

    splits = range(len(names) + 1)
    best = min(splits, key=lambda i: max(height(names[:i]), height(names[i:])))
    return {n: groups[n] for n in names[:best]}, {n: groups[n] for n in names[best:]}


def _add_group(name: str, lines: Lines, wrap_px: int) -> None:
    palette = theme.current()
    dpg.add_text(name, color=palette.accent)
    for given, does in lines:
        with dpg.group(horizontal=True, xoffset=theme.px(KEYS_PX)):
            dpg.add_text(given)
            dpg.add_text(does, color=palette.dim_text, wrap=wrap_px)
    dpg.add_spacer(height=theme.px(6))
