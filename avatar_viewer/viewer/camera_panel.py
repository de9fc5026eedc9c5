"""The camera in numbers: usual views, sliders, a turntable, and the clipboard."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dearpygui.dearpygui as dpg

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import FRONT, PASTE_VIEW, PRESETS, TURNTABLE, turn_to
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import action_button, tooltip
from avatar_viewer.viewer.camera_text import view_from_text, view_to_text
from avatar_viewer.viewer.state import MAX_ZOOM, ViewerState
from avatar_viewer.viewer.tabs import tab_around

if TYPE_CHECKING:
    from avatar_viewer.raster.camera import Orbit

GAP_PX = 8
FOV_DEG = (5.0, 60.0)
FARTHEST = 2.0
"""Times the avatar's own distance; the wheel goes farther."""
FASTEST_DEG_S, USUAL_DEG_S = 120.0, 30.0
LONGEST_STEP_S = 0.2
"""After a pause of the window the turntable goes on where it was."""
TURNING = {False: "Turntable", True: "Stop turning"}
"""What the button is called."""
SLIDERS: dict[str, tuple[str, float, float]] = {
    "azimuth_deg": ("azimuth %.1f°", -180.0, 180.0),
    "elevation_deg": ("elevation %.1f°", -89.0, 89.0),
    "distance": ("distance %.2f", 0.1, 10.0),
    "fov_deg": ("field of view %.1f°", *FOV_DEG),
}
"""By the view's field: format, least and most; of the distance until there is an avatar."""
TIPS = {
    "azimuth_deg": "0: in front; more: on the subject's left",
    "elevation_deg": "More: from above",
    "distance": "From the head, in the avatar's units",
    "fov_deg": "The distance changes with it, so that the head keeps its size",
}


class CameraPanel:
    """Widgets that write the state's view."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._state: ViewerState | None = None
        self._shown: dict[str, Any] = {}
        self._turning = False
        self._turned_s: float | None = None
        gap = theme.px(GAP_PX)
        half = (width_px - gap) // 2
        self._add_presets((width_px - (len(PRESETS) - 1) * gap) // len(PRESETS))
        self._sliders: dict[str, int | str] = {}
        for pair in (("azimuth_deg", "elevation_deg"), ("distance", "fov_deg")):
            with dpg.group(horizontal=True):
                for name in pair:
                    self._sliders[name] = self._add_slider(name, half)
        with dpg.group(horizontal=True):
            self._turntable = action_button(app, "T", TURNING[False], half)
            self._speed = dpg.add_slider_float(
                width=half,
                default_value=USUAL_DEG_S,
                min_value=-FASTEST_DEG_S,
                max_value=FASTEST_DEG_S,
                format="%.0f° per second",
            )
        with dpg.group(horizontal=True):
            action_button(app, "Ctrl+Shift+C", "Copy view", half)
            # Not read by us: Dear PyGui ends the process where the clipboard holds no text.
            self._pasted = dpg.add_input_text(
                width=half, hint="Paste a view here", callback=lambda _, text, __: self._paste(text)
            )
            tooltip(self._pasted, "A copied view, by Ctrl+V")
        app.text_inputs += [*self._sliders.values(), self._speed, self._pasted]

    def update(self) -> None:
        """Turn the turntable, and show the view."""
        if PASTE_VIEW in self._app.opened:
            self._app.opened.discard(PASTE_VIEW)
            if (tab := tab_around(self._pasted)) is not None:
                dpg.set_value(*tab)
            dpg.focus_item(self._pasted)
        if (state := self._app.state) is None:
            return
        if state is not self._state:
            self._adopt(state)
        turning = TURNTABLE in self._app.opened
        self._turn(state, turning, time.perf_counter())
        for name, slider in self._sliders.items():
            value = getattr(state.session.view, name)
            if self._shown.get(name) != value:
                self._shown[name] = value
                dpg.set_value(slider, value)
        if turning != self._turning:
            self._turning = turning
            dpg.configure_item(self._turntable, label=TURNING[turning])

    def _adopt(self, state: ViewerState) -> None:
        """Begin with another avatar."""
        self._state, self._turned_s = state, None
        usual = state.info.default_view.distance
        dpg.configure_item(
            self._sliders["distance"], min_value=usual / MAX_ZOOM, max_value=usual * FARTHEST
        )
        for slider in self._sliders.values():
            dpg.enable_item(slider)

    def _turn(self, state: ViewerState, turning: bool, now_s: float) -> None:
        """As far as the turntable has gone since the last time."""
        before_s, self._turned_s = self._turned_s, now_s if turning else None
        if turning and before_s is not None:
            degrees = dpg.get_value(self._speed) * min(now_s - before_s, LONGEST_STEP_S)
            state.change(view=state.session.view.orbited(degrees, 0))

    def _add_presets(self, width_px: int) -> None:
        app = self._app
        with dpg.group(horizontal=True):
            for name, azimuth_deg in PRESETS.items():
                if name == FRONT:
                    action_button(app, "F", name, width_px)
                    continue
                button = dpg.add_button(
                    label=name,
                    width=width_px,
                    user_data=azimuth_deg,
                    callback=lambda _, __, azimuth_deg: turn_to(app, azimuth_deg),
                )
                tooltip(button, f"{abs(azimuth_deg):.0f}° to that side")

    def _add_slider(self, name: str, width_px: int) -> int | str:
        shown_as, least, most = SLIDERS[name]
        slider = dpg.add_slider_float(
            width=width_px,
            format=shown_as,
            min_value=least,
            max_value=most,
            enabled=False,
            user_data=name,
            callback=self._write,
        )
        tooltip(slider, TIPS[name], "Ctrl+click to type")
        return slider

    def _write(self, _: int | str, value: float, name: str) -> None:
        """A typed number may be any; what no camera can have is said."""
        self._shown[name] = None
        if self._app.state is None:
            return
        view = self._app.state.session.view
        try:
            changed = with_fov(view, value) if name == "fov_deg" else replace(view, **{name: value})
        except AvatarError as error:
            self._app.complain(str(error))
        else:
            self._app.change(view=changed)

    def _paste(self, text: str) -> None:
        """Take a view; another text is said, and nothing changes."""
        if not text.strip():
            return
        dpg.set_value(self._pasted, "")
        try:
            self._app.change(view=view_from_text(text))
        except AvatarError as error:
            self._app.complain(str(error))


def with_fov(view: Orbit, fov_deg: float) -> Orbit:
    """Through another lens, at the distance where the head is as large; AvatarError outside
    (0, 180)."""
    other = replace(view, fov_deg=fov_deg)
    before, after = (math.tan(math.radians(v.fov_deg) / 2) for v in (view, other))
    return replace(other, distance=view.distance * before / after)


def copy_view(app: ViewerApp) -> None:
    """To the clipboard, as YAML."""
    if app.state is not None:
        dpg.set_clipboard_text(view_to_text(app.state.session.view))
        app.say("Copied the view")
