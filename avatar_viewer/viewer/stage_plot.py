"""How long each stage of the last pictures took: a stacked plot, and what its colours mean."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from operator import add
from typing import Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme

MOST_PICTURES = 60
MAX_STAGES = 9
PLOT_PX = 72
TOTAL = "total"
OTHERS = "others"


class StageTimes:
    """The last pictures' times, by stage, in the order in which stages were first seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._pictures: deque[dict[str, float]] = deque(maxlen=MOST_PICTURES)

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """One more picture; what no longer has a place of its own is counted as others."""
        picture: dict[str, float] = {}
        for name, ms in stage_ms.items():
            if name not in self.names and len(self.names) == MAX_STAGES - 1:
                self.names.append(OTHERS)
            elif name not in self.names and len(self.names) < MAX_STAGES:
                self.names.append(name)
            shown = name if name in self.names else OTHERS
            picture[shown] = picture.get(shown, 0.0) + ms
        self._pictures.append(picture)

    @property
    def newest(self) -> dict[str, float]:
        """Milliseconds by stage of the last picture, with their sum."""
        picture = self._pictures[-1]
        shown = {name: picture[name] for name in self.names if name in picture}
        return {**shown, TOTAL: sum(shown.values())}

    def stacked(self) -> list[list[float]]:
        """For each stage, and before them a line of zeros: up to where it reaches at each
        picture, oldest first."""
        rows = [[picture.get(name, 0.0) for picture in self._pictures] for name in self.names]
        zeros = [0.0] * len(self._pictures)
        return list(accumulate([zeros, *rows], lambda below, row: list(map(add, below, row))))


class StagePlot:
    """Shows `StageTimes`; it changes only when a picture is added."""

    def __init__(self, width_px: int) -> None:
        self._times = StageTimes()
        self._shown: dict[int | str, str] = {}
        with dpg.group(show=False) as self._group:
            self._add_plot(width_px)
            self._add_legend(width_px)

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """One more picture."""
        self._times.add(stage_ms)
        dpg.show_item(self._group)
        stacked = self._times.stacked()
        x = list(range(MOST_PICTURES - len(stacked[0]), MOST_PICTURES))
        if len(x) == 1:  # one picture is a line too
            x, stacked = [x[0] - 1, x[0]], [row * 2 for row in stacked]
        for series, below, above in zip(self._series, stacked, stacked[1:], strict=False):
            dpg.configure_item(series, x=x, y1=below, y2=above, show=True)
        highest = max(stacked[-1])
        dpg.set_axis_limits(self._axis, 0, highest or 1.0)
        self._set(self._highest, f"to {highest:.0f} ms")
        self._show_legend(self._times.newest)

    @property
    def legend(self) -> dict[str, str]:
        """What is listed: times by stage."""
        return {
            dpg.get_value(name): dpg.get_value(spent)
            for cell, _, name, spent in self._cells
            if dpg.is_item_shown(cell)
        }

    def _add_plot(self, width_px: int) -> None:
        with dpg.group(horizontal=True, xoffset=width_px - theme.px(96)):
            palette = theme.current()
            dpg.add_text("Time of the last pictures", color=palette.dim_text)
            self._highest = dpg.add_text("", color=palette.dim_text)
        bare: dict[str, Any] = dict.fromkeys(
            ("no_tick_labels", "no_tick_marks", "no_gridlines"), True
        )
        with dpg.plot(
            width=width_px,
            height=theme.px(PLOT_PX),
            no_inputs=True,
            no_menus=True,
            no_mouse_pos=True,
            no_frame=True,
        ) as plot:
            dpg.set_axis_limits(dpg.add_plot_axis(dpg.mvXAxis, **bare), 0, MOST_PICTURES - 1)
            with dpg.plot_axis(dpg.mvYAxis, **bare) as self._axis:
                self._series = [self._add_series(i) for i in range(MAX_STAGES)]
        dpg.bind_item_theme(plot, theme.made("stage plot", _fill_plot_theme))

    def _add_series(self, index: int) -> int | str:
        series = dpg.add_shade_series([], [], y2=[], show=False)
        look = theme.made(f"stage {index}", partial(_fill_series_theme, index))
        dpg.bind_item_theme(series, look)
        return series

    def _add_legend(self, width_px: int) -> None:
        """Cells of two columns."""
        columns = 2
        cell_px = width_px // columns
        with dpg.table(header_row=False, policy=dpg.mvTable_SizingFixedFit) as table:
            for share in (0.62, 0.38) * columns:
                width = round(cell_px * share) - theme.px(8)
                dpg.add_table_column(width_fixed=True, init_width_or_weight=width)
            self._cells = []
            for row in range((MAX_STAGES + columns) // columns):
                with dpg.table_row():
                    for column in range(columns):
                        self._cells.append(self._add_cell(row * columns + column))
        theme.make_dense(table)

    def _add_cell(self, index: int) -> tuple[int | str, int | str, int | str, int | str]:
        palette = theme.current()
        with dpg.group(horizontal=True, show=False) as cell:
            swatch = dpg.add_text("■", color=_colour(index))
            name = dpg.add_text("", color=palette.dim_text)
        return cell, swatch, name, dpg.add_text("")

    def _show_legend(self, newest: Mapping[str, float]) -> None:
        for i, (cell, swatch, name, spent) in enumerate(self._cells):
            dpg.configure_item(cell, show=i < len(newest))
            dpg.configure_item(spent, show=i < len(newest))
            if i < len(newest):
                stage, ms = list(newest.items())[i]
                colour = (0, 0, 0, 0)
                if stage != TOTAL:
                    colour = _colour(self._times.names.index(stage))
                dpg.configure_item(swatch, color=colour)
                self._set(name, stage)
                self._set(spent, f"{ms:.1f} ms")

    def _set(self, item: int | str, text: str) -> None:
        if self._shown.get(item, "") != text:
            self._shown[item] = text
            dpg.set_value(item, text)


def _colour(index: int) -> theme.Colour:
    series = theme.current().series
    return series[index % len(series)]


def _fill_plot_theme() -> None:
    palette, plots = theme.current(), dpg.mvThemeCat_Plots
    with dpg.theme_component(dpg.mvAll):
        for target in (dpg.mvPlotCol_PlotBg, dpg.mvPlotCol_FrameBg):
            dpg.add_theme_color(target, palette.background, category=plots)
        dpg.add_theme_color(dpg.mvPlotCol_PlotBorder, palette.line, category=plots)
        dpg.add_theme_style(dpg.mvPlotStyleVar_PlotPadding, 0, 0, category=plots)


def _fill_series_theme(index: int) -> None:
    with dpg.theme_component(dpg.mvShadeSeries):
        for target in (dpg.mvPlotCol_Fill, dpg.mvPlotCol_Line):
            dpg.add_theme_color(target, _colour(index), category=dpg.mvThemeCat_Plots)
