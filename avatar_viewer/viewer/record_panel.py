"""Movies: rendered picture by picture along the path, or of what the window shows."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.recorder import LIVE

LABEL_PX, GAP_PX, CANCEL_PX = 92, 8, 72
MAX_SIDE_PX = 4096
LIVE_LABEL = "Record window (V)"


class RecordPanel:
    """Chooses what goes into a movie, has it made, and shows how far it is."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app, self._recorder = app, app.recorder
        self._fields: dict[str, int | str] = {}
        """Widgets by the recorder's field."""
        self._values: dict[str, Any] = {}
        self._shown: dict[int | str, dict[str, Any]] = {}
        recorder, gap = self._recorder, theme.px(GAP_PX)
        wide = width_px - theme.px(LABEL_PX)
        half, two = (wide - gap) // 2, (width_px - gap) // 2
        limits = {"step": 0, "min_clamped": True, "max_clamped": True, "width": half}
        seconds = {"min_value": 0.01, "max_value": 3600.0, "format": "%.2f s", **limits}
        fps = {"min_value": 1.0, "max_value": 240.0, "format": "%g fps", **limits}
        sides = {"min_value": 1, "max_value": MAX_SIDE_PX, **limits}
        dpg.add_separator()
        with _row("Length, rate"):
            self._add("seconds", dpg.add_input_float, **seconds)
            self._add("fps", dpg.add_input_float, **fps)
        with _row("Size, pixels"):
            self._add("width", dpg.add_input_int, **sides)
            self._add("height", dpg.add_input_int, **sides)
        with _row("Expressions"):
            self._add(
                "sequence_file",
                dpg.add_input_text,
                **{"hint": "Sequence, .npz, then Enter", "width": wide, "on_enter": True},
                then=recorder.load_sequence,
            )
        with _row("File"):
            hint = "By date; .mp4 .webm .gif .png"
            self._add("out", dpg.add_input_text, hint=hint, width=wide)
            with dpg.tooltip(self._fields["out"]):
                dpg.add_text("PNGs: name-%04d.png, or a folder's name without a suffix.")
        with _row(""):
            self._add("transparent", dpg.add_checkbox, label="without background (PNGs)")
        with dpg.group(horizontal=True):
            dpg.add_button(label="Record movie", width=two, callback=lambda: recorder.record())
            self._live = dpg.add_button(
                label=LIVE_LABEL, width=two, callback=lambda: app.toggle(LIVE)
            )
        cancel_px = theme.px(CANCEL_PX)
        with dpg.group(horizontal=True, show=False) as self._task:
            self._bar = dpg.add_progress_bar(width=width_px - cancel_px - gap)
            dpg.add_button(
                label="Cancel", width=cancel_px, callback=lambda: app.renderer.cancel_task()
            )
        app.text_inputs += [w for name, w in self._fields.items() if name != "transparent"]

    def update(self) -> None:
        """Go on with what is recorded; show what has changed."""
        recorder = self._recorder
        recorder.update(time.perf_counter())
        for name, widget in self._fields.items():
            value = getattr(recorder, name)
            if value != self._values.get(name):
                self._values[name] = value
                dpg.set_value(widget, value)
        label, live = LIVE_LABEL, recorder.live
        if live is not None:
            label = f"Stop, {live.count / live.fps:.0f} s (V)"
        self._configure(self._live, label=label)
        self._show_task()

    def close(self) -> None:
        """The window is closing."""
        self._recorder.close()

    def _show_task(self) -> None:
        task = self._app.live.task
        self._configure(self._task, show=task is not None)
        if task is not None and task.total > 0:
            from avatar_viewer.live.export import progress_text

            elapsed_s = time.perf_counter() - task.started_s
            self._configure(self._bar, overlay=progress_text(task.done, task.total, elapsed_s))
            dpg.set_value(self._bar, task.done / task.total)

    def _add(
        self,
        name: str,
        make: Callable[..., int | str],
        then: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        """A widget that writes this field of the recorder."""

        def write(_: int | str, value: Any) -> None:
            self._values[name] = value
            setattr(self._recorder, name, value)
            then()

        self._fields[name] = make(callback=write, **options)

    def _configure(self, item: int | str, **options: Any) -> None:
        if self._shown.get(item) != options:
            self._shown[item] = options
            dpg.configure_item(item, **options)


@contextmanager
def _row(label: str) -> Iterator[None]:
    with dpg.group(horizontal=True, xoffset=theme.px(LABEL_PX)):
        dpg.add_text(label, color=theme.DIM_TEXT)
        with dpg.group(horizontal=True):
            yield
