"""Sliders of one of the session's fields that is numbers in a row."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp

NUMBER_PX = 48


class Sliders:
    """Sliders of such a field, in which no numbers at all stand for zeros."""

    def __init__(self, app: ViewerApp, field: str, most: float) -> None:
        """They go from -`most` to `most`."""
        self._app, self._field, self._most = app, field, most
        self._shown: tuple[float, ...] | None = None
        self.rows: list[int | str] = []
        self.widgets: list[int | str] = []
        self.numbers: list[int | str] = []
        with dpg.item_handler_registry() as self._handlers:
            dpg.add_item_clicked_handler(
                dpg.mvMouseButton_Right, callback=lambda _, clicked: self._zero(clicked[1])
            )

    def add(self, label: str, label_px: int, width_px: int) -> None:
        """One more, in the present container."""
        with dpg.group(horizontal=True, xoffset=label_px) as row:
            dpg.add_text(label, color=theme.current().dim_text)
            with dpg.group(horizontal=True):
                # Its own number would lie under its grab.
                slider = dpg.add_slider_float(
                    width=width_px - label_px - theme.px(NUMBER_PX),
                    min_value=-self._most,
                    max_value=self._most,
                    clamped=True,
                    format="",
                    callback=lambda _, value, index: self._write(index, value),
                    user_data=len(self.widgets),
                )
                self.numbers.append(dpg.add_text())
        dpg.bind_item_handler_registry(slider, self._handlers)
        self.rows.append(row)
        self.widgets.append(slider)
        self._app.text_inputs.append(slider)

    def update(self, values: tuple[float, ...]) -> None:
        """Show the session's."""
        if values == self._shown:
            return
        self._shown = values
        rows = zip(self.widgets, self.numbers, self._padded(values), strict=True)
        for slider, number, value in rows:
            dpg.set_value(slider, value)
            dpg.set_value(number, f"{value:.2f}")

    def reset(self) -> None:
        """All to zero."""
        self._app.change(**{self._field: ()})
        self._shown = None

    def _write(self, index: int, value: float) -> None:
        if (state := self._app.state) is None:
            return
        values = self._padded(getattr(state.session, self._field))
        # Python's NaN is neither less nor more than anything.
        values[index] = min(max(value, -self._most), self._most) if value == value else 0.0
        self._app.change(**{self._field: tuple(values) if any(values) else ()})
        self._shown = None  # what was refused or clamped is shown as it is

    def _zero(self, slider: int | str) -> None:
        self._write(self.widgets.index(slider), 0.0)

    def _padded(self, values: Sequence[float]) -> list[float]:
        count = len(self.widgets)
        return [*values, *[0.0] * count][:count]
