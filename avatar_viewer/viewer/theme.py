"""Colours of the window, and the Dear PyGui theme made of them."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import dearpygui.dearpygui as dpg

Colour = tuple[int, int, int]

BACKGROUND: Colour = (24, 25, 28)
PANEL: Colour = (33, 35, 39)
WIDGET: Colour = (50, 53, 59)
HOVERED: Colour = (66, 70, 78)
LINE: Colour = (62, 65, 72)
TEXT: Colour = (222, 224, 228)
DIM_TEXT: Colour = (145, 149, 158)
ACCENT: Colour = (82, 156, 235)
ERROR: Colour = (255, 122, 110)

SCROLLBAR_PX = 8

_COLOURS = {
    dpg.mvThemeCol_WindowBg: BACKGROUND,
    dpg.mvThemeCol_ChildBg: PANEL,
    dpg.mvThemeCol_PopupBg: PANEL,
    dpg.mvThemeCol_Border: LINE,
    dpg.mvThemeCol_Separator: LINE,
    dpg.mvThemeCol_FrameBg: WIDGET,
    dpg.mvThemeCol_FrameBgHovered: HOVERED,
    dpg.mvThemeCol_FrameBgActive: HOVERED,
    dpg.mvThemeCol_Button: WIDGET,
    dpg.mvThemeCol_ButtonHovered: HOVERED,
    dpg.mvThemeCol_ButtonActive: ACCENT,
    dpg.mvThemeCol_Header: WIDGET,
    dpg.mvThemeCol_HeaderHovered: HOVERED,
    dpg.mvThemeCol_HeaderActive: ACCENT,
    dpg.mvThemeCol_SliderGrab: ACCENT,
    dpg.mvThemeCol_SliderGrabActive: ACCENT,
    dpg.mvThemeCol_CheckMark: ACCENT,
    dpg.mvThemeCol_TitleBg: PANEL,
    dpg.mvThemeCol_TitleBgActive: WIDGET,
    dpg.mvThemeCol_Text: TEXT,
    dpg.mvThemeCol_ScrollbarBg: PANEL,
}
_STYLES = {
    dpg.mvStyleVar_WindowPadding: (8, 8),
    dpg.mvStyleVar_FramePadding: (8, 5),
    dpg.mvStyleVar_ItemSpacing: (8, 6),
    dpg.mvStyleVar_FrameRounding: (4,),
    dpg.mvStyleVar_ChildRounding: (6,),
    dpg.mvStyleVar_GrabRounding: (4,),
    dpg.mvStyleVar_ScrollbarSize: (SCROLLBAR_PX,),
    dpg.mvStyleVar_PopupRounding: (4,),
    dpg.mvStyleVar_ChildBorderSize: (0,),
    dpg.mvStyleVar_WindowBorderSize: (0,),
}


def bind_theme() -> None:
    """Make every window of the context look so."""
    with dpg.theme() as theme, dpg.theme_component(dpg.mvAll):
        for target, colour in _COLOURS.items():
            dpg.add_theme_color(target, colour)
        for target, values in _STYLES.items():
            dpg.add_theme_style(target, *values)
    dpg.bind_theme(theme)
