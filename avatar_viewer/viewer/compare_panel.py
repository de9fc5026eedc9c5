"""A second picture: how the two are shown, and what the second has otherwise."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dearpygui.dearpygui as dpg

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.compared import layer_comparison, quick_comparison
from avatar_viewer.viewer.settings_panel import MAX_SLIDER_STEPS
from avatar_viewer.viewer.state import ViewerState

if TYPE_CHECKING:
    from avatar_viewer.live.session import Comparison

GAP_PX = 8
OFF = "off"
MODES = (OFF, "split", "side by side", "difference")
SAME_LAYER, SAME_STEPS, SAME_DENOISER = "same layer", "same steps", "same denoiser"
DENOISERS: dict[str, bool | None] = {SAME_DENOISER: None, "teacher": True, "student": False}


class ComparePanel:
    """Widgets that write `Session.comparison`; what is chosen while it is off turns it on."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._state: ViewerState | None = None
        self._last: Comparison | None = None
        """What was chosen last; it is kept while the comparison is off."""
        self._shown: object = self
        gap = theme.px(GAP_PX)
        half = (width_px - gap) // 2
        dpg.add_text("Compare with another picture", color=theme.current().accent)
        self._mode = dpg.add_radio_button(
            MODES,
            horizontal=True,
            default_value=OFF,
            enabled=False,
            callback=lambda _, mode: self._set_mode(mode),
        )
        writes: dict[str, Any] = {"callback": self._write, "enabled": False}
        with dpg.group(horizontal=True):
            self._layer = dpg.add_combo(
                default_value=SAME_LAYER, user_data="show", width=half, **writes
            )
            self._steps = dpg.add_slider_int(
                max_value=MAX_SLIDER_STEPS,
                clamped=True,
                format=SAME_STEPS,
                user_data="steps",
                width=half,
                **writes,
            )
        with dpg.group(horizontal=True):
            self._denoiser = dpg.add_combo(
                list(DENOISERS),
                default_value=SAME_DENOISER,
                user_data="teacher",
                width=half,
                **writes,
            )
            writes["on_enter"] = True
            self._seed = dpg.add_input_text(
                hint="same seed", decimal=True, user_data="seed", width=half, **writes
            )
        hint = "Same avatar; or folder or Hub id, then Enter"
        self._avatar = dpg.add_input_text(hint=hint, user_data="avatar", width=width_px, **writes)
        with dpg.group(horizontal=True):
            self._add_preset("Quick with full", "What few steps change (X)", half, quick_comparison)
            self._add_preset("Layer with picture", "Where a layer lies", half, layer_comparison)
        app.text_inputs += [self._steps, self._seed, self._avatar]

    def update(self) -> None:
        """Show the state, which keys may have changed too."""
        if (state := self._app.state) is None:
            return
        if state is not self._state:
            self._adopt(state)
        comparison = state.session.comparison
        if comparison is self._shown:
            return
        self._shown = comparison
        self._last = comparison or self._last
        dpg.set_value(self._mode, comparison.mode if comparison is not None else OFF)
        if (last := self._last) is None:
            from avatar_viewer.live.session import Comparison

            last = Comparison()
        self._show(last)

    def _adopt(self, state: ViewerState) -> None:
        """Begin with another avatar."""
        from avatar_viewer.stages import LAYERS

        self._state = state
        dpg.configure_item(self._layer, items=[SAME_LAYER, *LAYERS])
        widgets = (self._mode, self._layer, self._steps, self._denoiser, self._seed, self._avatar)
        for widget in widgets:
            dpg.enable_item(widget)

    def _show(self, comparison: Comparison) -> None:
        dpg.set_value(self._layer, comparison.show or SAME_LAYER)
        dpg.set_value(self._steps, comparison.steps or 0)
        plural = "" if comparison.steps == 1 else "s"
        shown_as = SAME_STEPS if comparison.steps is None else f"%d step{plural}"
        dpg.configure_item(self._steps, format=shown_as)
        denoiser = next(name for name, chosen in DENOISERS.items() if chosen is comparison.teacher)
        dpg.set_value(self._denoiser, denoiser)
        dpg.set_value(self._seed, "" if comparison.seed is None else str(comparison.seed))
        dpg.set_value(self._avatar, comparison.avatar or "")

    def _set_mode(self, mode: Any) -> None:
        if mode == OFF:
            self._app.change(comparison=None)
        else:
            self._change(mode=mode)

    def _write(self, _: int | str, value: Any, name: str) -> None:
        try:
            self._change(**{name: _meant(name, value)})
        except AvatarError as error:
            self._app.complain(str(error))
        self._shown = self  # what was refused is shown as it was

    def _change(self, **fields: Any) -> None:
        """Compare, and with this much changed."""
        from avatar_viewer.live.session import Comparison

        self._app.change(comparison=replace(self._last or Comparison(), **fields))

    def _add_preset(
        self, label: str, tip: str, width_px: int, make: Callable[[ViewerState], Comparison]
    ) -> None:
        def choose() -> None:
            if (state := self._app.state) is not None:
                mode = self._last.mode if self._last is not None else "split"
                self._app.change(comparison=replace(make(state), mode=mode))

        tooltip(dpg.add_button(label=label, width=width_px, callback=choose), tip)


def _meant(name: str, value: Any) -> Any:
    """The field's value of what a widget holds; None is the first picture's."""
    if name == "show":
        return None if value == SAME_LAYER else value
    if name == "teacher":
        return DENOISERS[value]
    if name == "steps":
        return value or None
    text = value.strip()
    if name == "seed" and text:
        try:
            return int(text)
        except ValueError:
            raise AvatarError(f"comparison seed: expected a whole number, found {text}") from None
    return text or None
