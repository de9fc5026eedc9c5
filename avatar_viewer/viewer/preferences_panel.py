"""What a person prefers whatever avatar is on show."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dearpygui.dearpygui as dpg

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import SCALES
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.overlay import Overlay
from avatar_viewer.viewer.preferences import Preferences

LABEL_PX = 92
CHOICES: dict[str, dict[str, Any]] = {
    "theme": {name: name for name in theme.PALETTES},
    "ui_scale": {f"{scale:.0%}": scale for scale in SCALES},
    "screenshot_scale": {"the avatar's own": 1, "2 times": 2, "3 times": 3, "4 times": 4},
}
"""By field: what can be chosen and how it is shown."""


class PreferencesPanel:
    """Widgets that write through `app.prefer`."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown: Preferences | None = None
        self._widgets: dict[str, int | str] = {}
        self._errors: dict[str, int | str] = {}
        wide = {"width": width_px - theme.px(LABEL_PX)}
        self._add("theme", "Theme", dpg.add_combo, items=list(CHOICES["theme"]), **wide)
        self._add("ui_scale", "Size", dpg.add_combo, items=list(CHOICES["ui_scale"]), **wide)
        dpg.add_text("Screenshots", color=theme.current().accent)
        typed = {"on_enter": True, **wide}
        hint = "the current folder"
        self._add("screenshot_folder", "Folder", dpg.add_input_text, hint=hint, **typed)
        self._add("screenshot_name", "Name", dpg.add_input_text, **typed)
        sizes = list(CHOICES["screenshot_scale"])
        self._add("screenshot_scale", "Size", dpg.add_combo, items=sizes, **wide)
        self._add("screenshot_transparent", "Transparent", dpg.add_checkbox)
        self._explain()

    @property
    def fields(self) -> list[int | str]:
        """All widgets."""
        return list(self._widgets.values())

    def update(self) -> None:
        """Show the preferences, which keys may have changed too."""
        preferences = self._app.preferences
        if preferences is self._shown:
            return
        self._shown = preferences
        for name, widget in self._widgets.items():
            dpg.set_value(widget, _as_shown(name, getattr(preferences, name)))

    def _add(self, name: str, label: str, make: Callable[..., int | str], **options: Any) -> None:
        palette = theme.current()
        with dpg.group(horizontal=True, xoffset=theme.px(LABEL_PX)):
            dpg.add_text(label, color=palette.dim_text)
            widget = make(user_data=name, callback=self._write, **options)
        self._widgets[name] = widget
        if make is dpg.add_input_text:
            wrap = theme.px(LABEL_PX) + options["width"]
            self._errors[name] = dpg.add_text("", color=palette.error, wrap=wrap, show=False)
            self._app.text_inputs.append(widget)

    def _explain(self) -> None:
        tooltip(self._widgets["screenshot_folder"], "Where screenshots are saved", "Enter")
        pattern = "{date}, {time}, {name} (of the avatar) and {layer} are filled in"
        tooltip(self._widgets["screenshot_name"], pattern, "Enter")

    def _write(self, _: int | str, value: Any, name: str) -> None:
        """What is refused is said below its field, and nothing changes."""
        meant = CHOICES.get(name, {}).get(value, value)
        problem = ""
        try:
            if name == "screenshot_folder":
                meant = _folder(value)
            replace(self._app.preferences, **{name: meant})
            self._app.prefer(**{name: meant})
        except AvatarError as error:
            problem = str(error)
        if name in self._errors:
            dpg.set_value(self._errors[name], problem)
            dpg.configure_item(self._errors[name], show=bool(problem))


class Settings(Overlay):
    """The window of the preferences."""

    name = "settings"
    title = "Settings"
    size = (420, 280)

    def fill(self, width_px: int) -> None:
        """The panel, in the whole width."""
        self._panel = PreferencesPanel(self._app, width_px)

    def empty(self) -> None:
        """Its fields are gone."""
        inputs = self._app.text_inputs
        inputs[:] = [item for item in inputs if item not in self._panel.fields]

    def update(self) -> None:
        """Show it where asked for, and what is preferred."""
        super().update()
        if self.is_open:
            self._panel.update()


def _as_shown(name: str, value: Any) -> str | bool:
    if name == "ui_scale":
        return f"{value:.0%}"
    if name in CHOICES:
        return next(label for label, chosen in CHOICES[name].items() if chosen == value)
    return value if isinstance(value, bool) else str(value or "")


def _folder(text: str) -> Path | None:
    """The folder that was typed; none stands for the current one."""
    if not (text := text.strip()):
        return None
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir():
        raise AvatarError(f"{folder}: expected a folder, found none")
    return folder
