"""How the window looks: the colours of its themes, its font and the scale of both.

Panels read `current()` and `px()` when they make or draw their widgets: a change of either makes
the side column anew, and overlays when they are opened next.
"""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dearpygui.dearpygui as dpg

from avatar_viewer.config import FONT_FOLDER
from avatar_viewer.viewer.preferences import ThemeName

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """The colours of one theme."""

    background: Colour
    """Behind the picture."""
    panel: Colour
    widget: Colour
    hovered: Colour
    selected: Colour
    """Behind text that is chosen."""
    line: Colour
    text: Colour
    dim_text: Colour
    accent: Colour
    error: Colour
    series: tuple[Colour, ...]
    """Of parts of a plot, in turn."""


PALETTES: dict[ThemeName, Palette] = {
    "dark": Palette(
        background=(24, 25, 28),
        panel=(33, 35, 39),
        widget=(50, 53, 59),
        hovered=(66, 70, 78),
        selected=(40, 84, 130),
        line=(62, 65, 72),
        text=(222, 224, 228),
        dim_text=(145, 149, 158),
        accent=(82, 156, 235),
        error=(255, 122, 110),
        series=(
            *((82, 156, 235), (240, 178, 84), (108, 196, 130), (214, 118, 180)),
            *((150, 130, 230), (90, 200, 210), (226, 128, 96), (170, 176, 188)),
        ),
    ),
    "light": Palette(
        background=(222, 224, 228),
        panel=(245, 246, 248),
        widget=(224, 227, 232),
        hovered=(206, 211, 219),
        selected=(178, 208, 244),
        line=(198, 202, 210),
        text=(30, 32, 37),
        dim_text=(92, 97, 107),
        accent=(30, 106, 196),
        error=(186, 36, 28),
        series=(
            *((46, 120, 206), (222, 146, 30), (52, 150, 82), (186, 76, 148)),
            *((112, 88, 204), (30, 150, 164), (206, 92, 56), (120, 126, 138)),
        ),
    ),
}
FONT_PX = 16
SCROLLBAR_PX = 8
_FONT_FILE = FONT_FOLDER / "DejaVuSansCondensed.ttf"
_STYLES = {
    dpg.mvStyleVar_WindowPadding: (8, 8),
    dpg.mvStyleVar_FramePadding: (8, 4),
    dpg.mvStyleVar_ItemSpacing: (8, 6),
    dpg.mvStyleVar_CellPadding: (4, 2),
    dpg.mvStyleVar_FrameRounding: (4,),
    dpg.mvStyleVar_ChildRounding: (6,),
    dpg.mvStyleVar_WindowRounding: (6,),
    dpg.mvStyleVar_GrabRounding: (4,),
    dpg.mvStyleVar_GrabMinSize: (12,),
    dpg.mvStyleVar_ScrollbarSize: (SCROLLBAR_PX,),
    dpg.mvStyleVar_PopupRounding: (4,),
}


_PAINTED: dict[str, tuple[str, ...]] = {
    "background": ("WindowBg",),
    "panel": (
        *("ChildBg", "PopupBg", "TitleBg", "TitleBgCollapsed", "MenuBarBg", "ScrollbarBg"),
        *("Tab", "TabUnfocused"),
    ),
    "widget": (
        *("FrameBg", "Button", "Header", "TitleBgActive", "ScrollbarGrab", "TableHeaderBg"),
        *("TabActive", "TabUnfocusedActive", "ResizeGrip"),
    ),
    "hovered": (
        *("FrameBgHovered", "FrameBgActive", "ButtonHovered", "HeaderHovered", "TabHovered"),
        *("ScrollbarGrabHovered", "ScrollbarGrabActive", "ResizeGripHovered"),
    ),
    "selected": ("ButtonActive", "HeaderActive", "TextSelectedBg"),
    "line": ("Border", "Separator", "TableBorderLight", "TableBorderStrong"),
    "text": ("Text",),
    "dim_text": ("TextDisabled",),
    "accent": (
        *("SliderGrab", "SliderGrabActive", "CheckMark", "ResizeGripActive", "NavHighlight"),
        "PlotHistogram",
    ),
}
"""What Dear PyGui paints with each of the palette's colours, as in its mvThemeCol_ constants."""


@dataclass(frozen=True)
class Look:
    """What the window looks like."""

    theme: ThemeName = "dark"
    scale: float = 1.0


_look = Look()


def look() -> Look:
    """How the window looks now; compare two to see whether it has changed."""
    return _look


def current() -> Palette:
    """The colours of the theme on show."""
    return PALETTES[_look.theme]


def px(size: float) -> int:
    """A length in pixels at the present scale, of one at scale 1."""
    return round(size * _look.scale)


def __getattr__(name: str) -> Colour:
    """`theme.DIM_TEXT` is short for `theme.current().dim_text`."""
    if name.isupper() and name.lower() in Palette.__dataclass_fields__:
        return getattr(current(), name.lower())
    raise AttributeError(name)


def bind_font() -> None:
    """Give the context its font; its glyphs are made as they are needed, crisp at every scale."""
    with dpg.font_registry():
        dpg.bind_font(dpg.add_font(str(_FONT_FILE), FONT_PX))


def bind_theme(name: ThemeName = "dark", scale: float = 1.0) -> None:
    """Make every window of the context look so, and widgets that are made from now on."""
    global _look
    _look = Look(name, scale)
    dpg.bind_theme(made("whole window", _fill_whole))
    dpg.set_global_font_scale(scale)


def make_plain(window: int | str) -> None:
    """Draw no border around a window, and no round corners."""

    def fill() -> None:
        with dpg.theme_component(dpg.mvWindowAppItem):
            dpg.add_theme_style(dpg.mvStyleVar_WindowBorderSize, 0)
            dpg.add_theme_style(dpg.mvStyleVar_WindowRounding, 0)

    dpg.bind_item_theme(window, made("plain window", fill))


def make_clear(child: int | str) -> None:
    """Let a child window show the ground that it stands on: to fill it again takes time."""

    def fill() -> None:
        with dpg.theme_component(dpg.mvChildWindow):
            dpg.add_theme_color(dpg.mvThemeCol_ChildBg, (0, 0, 0, 0))

    dpg.bind_item_theme(child, made("clear child window", fill))


def raise_window(window: int | str, is_error: bool = False) -> None:
    """Make a window stand out from those below it."""
    border = current().error if is_error else current().hovered

    def fill() -> None:
        with dpg.theme_component(dpg.mvWindowAppItem):
            dpg.add_theme_color(dpg.mvThemeCol_WindowBg, current().panel)
            dpg.add_theme_color(dpg.mvThemeCol_Border, border)
            dpg.add_theme_style(dpg.mvStyleVar_WindowBorderSize, 1)

    dpg.bind_item_theme(window, made(f"raised window {is_error}", fill))


def make_dense(item: int | str) -> None:
    """Lines of text in it lie as close as lines of a text do, not as widgets do."""

    def fill() -> None:
        with dpg.theme_component(dpg.mvAll):
            dpg.add_theme_style(dpg.mvStyleVar_FramePadding, px(8), 0)
            dpg.add_theme_style(dpg.mvStyleVar_ItemSpacing, px(8), px(4))

    dpg.bind_item_theme(item, made("dense text", fill))


def set_grey(item: int | str, is_grey: bool) -> None:
    """Disable a widget that has no effect now, and make it look so; or enable it again."""

    def fill() -> None:
        with dpg.theme_component(dpg.mvAll, enabled_state=False):
            for name in ("Text", "TextDisabled"):
                painted = getattr(dpg, f"mvThemeCol_{name}")
                dpg.add_theme_color(painted, (*current().dim_text, 120))
            for name in ("FrameBg", "Button"):
                for state in ("", "Hovered", "Active"):
                    painted = getattr(dpg, f"mvThemeCol_{name}{state}")
                    dpg.add_theme_color(painted, current().panel)

    dpg.configure_item(item, enabled=not is_grey)
    dpg.bind_item_theme(item, made("grey widget", fill) if is_grey else 0)


def made(name: str, fill: Callable[[], None]) -> str:
    """The tag of a Dear PyGui theme of that name, which is filled once for each look.

    It is never deleted: that fails while it is bound, and takes the tag from the next one.
    """
    tag = f"{name} {_look}"
    if not dpg.does_item_exist(tag):
        with dpg.theme(tag=tag):
            fill()
    return tag


def _fill_whole() -> None:
    with dpg.theme_component(dpg.mvAll):
        for colour, targets in _PAINTED.items():
            for target in targets:
                painted = getattr(dpg, f"mvThemeCol_{target}")
                dpg.add_theme_color(painted, getattr(current(), colour))
        for style, values in _STYLES.items():
            dpg.add_theme_style(style, *map(px, values))
        for style in (dpg.mvStyleVar_ChildBorderSize, dpg.mvStyleVar_WindowBorderSize):
            dpg.add_theme_style(style, 0)
