"""Keyframes of camera and pad, and how the way through them goes."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.recorder import PLAY

if TYPE_CHECKING:
    from avatar_viewer.live.camera_path import CameraPath, Keyframe

GAP_PX, BUTTON_PX, TIME_PX, ROW_PX = 8, 56, 70, 30
MOST_ROWS, FEWEST_ROWS = 4, 2
"""Of the list on show; more are scrolled."""
INTERPOLATIONS = ("smooth", "linear")


class PathPanel:
    """Shows and changes the recorder's path."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app, self._recorder = app, app.recorder
        self._shown: CameraPath | None = None
        self._play_label = ""
        self._times: list[int | str] = []
        """Input fields of the rows on show."""
        recorder, gap = self._recorder, theme.px(GAP_PX)
        third, small = (width_px - 2 * gap) // 3, theme.px(BUTTON_PX)
        with dpg.group(horizontal=True):
            dpg.add_button(label="Add keyframe", width=third, callback=lambda: recorder.add())
            dpg.add_button(label="Turntable", width=third, callback=lambda: recorder.turn())
            self._play = dpg.add_button(width=third, callback=lambda: app.toggle(PLAY))
        with dpg.child_window(width=width_px) as self._frame:
            self._list = dpg.add_group()
            self._hint = dpg.add_text(
                "Turn the head, move the pad, and add a keyframe. "
                "Movies follow the way from keyframe to keyframe.",
                color=theme.DIM_TEXT,
                wrap=width_px - 3 * gap,
            )
        with dpg.group(horizontal=True):
            self._interpolation = dpg.add_combo(
                items=INTERPOLATIONS,
                width=third,
                callback=lambda _, chosen: recorder.change_path(interpolation=chosen),
            )
            self._loop = dpg.add_checkbox(
                label="loop: back to the first",
                callback=lambda _, chosen: recorder.change_path(loop=chosen),
            )
        with dpg.group(horizontal=True):
            self._file = dpg.add_input_text(
                default_value=recorder.path_file,
                hint="Path file, .yaml",
                width=width_px - 2 * (small + gap),
                callback=lambda _, text: setattr(recorder, "path_file", text),
            )
            dpg.add_button(label="Load", width=small, callback=lambda: recorder.load_path())
            dpg.add_button(label="Save", width=small, callback=lambda: recorder.save_path())
        app.text_inputs.append(self._file)
        self._show(None)

    def update(self) -> None:
        """Show the path where it has changed."""
        if self._recorder.path is not self._shown:
            self._show(self._recorder.path)
        label = "Stop" if PLAY in self._app.opened else "Play"
        if label != self._play_label:
            self._play_label = label
            dpg.configure_item(self._play, label=label)

    def _show(self, path: CameraPath | None) -> None:
        self._shown = path
        keyframes = path.keyframes if path is not None else ()
        texts = self._app.text_inputs
        texts[:] = [item for item in texts if item not in self._times]
        dpg.delete_item(self._list, children_only=True)
        self._times = [self._add_row(keyframe) for keyframe in keyframes]
        texts += self._times
        rows = min(max(len(keyframes), FEWEST_ROWS), MOST_ROWS)
        dpg.configure_item(self._frame, height=theme.px(ROW_PX * rows))
        dpg.configure_item(self._hint, show=path is None)
        dpg.configure_item(self._interpolation, enabled=path is not None)
        dpg.configure_item(self._loop, enabled=path is not None)
        dpg.set_value(
            self._interpolation, INTERPOLATIONS[0] if path is None else path.interpolation
        )
        dpg.set_value(self._loop, path is not None and path.loop)

    def _add_row(self, keyframe: Keyframe) -> int | str:
        view, (x, y) = keyframe.view, keyframe.pad

        def call(do: Callable[[Keyframe], None]) -> dict[str, Any]:
            return {"callback": lambda: do(keyframe)}

        with dpg.group(horizontal=True, parent=self._list):
            time_s = dpg.add_input_float(
                default_value=keyframe.time_s,
                **{"width": theme.px(TIME_PX), "step": 0, "format": "%.2f s", "on_enter": True},
                callback=lambda _, typed: self._retime(keyframe, typed),
            )
            dpg.add_button(label="Go", **call(self._recorder.go))
            dpg.add_button(label="x", **call(self._recorder.remove))
            angles = f"{view.azimuth_deg:.0f}°, {view.elevation_deg:.0f}°"
            dpg.add_text(f"{angles}   pad {x:.2f}, {y:.2f}", color=theme.DIM_TEXT)
        return time_s

    def _retime(self, keyframe: Keyframe, time_s: float) -> None:
        self._recorder.retime(keyframe, time_s)
        self._shown = None  # a time that was refused is shown as it was
