"""The tabs of the side column."""

from __future__ import annotations

import dearpygui.dearpygui as dpg


def tab_around(item: int | str) -> tuple[int | str, int | str] | None:
    """The bar of tabs on which an item lies, and its tab there."""
    tab = dpg.get_item_parent(item)
    while tab and (bar := dpg.get_item_parent(tab)):
        if dpg.get_item_type(tab) == "mvAppItemType::mvTab":
            return bar, tab
        tab = bar
    return None
