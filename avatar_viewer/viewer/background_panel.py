"""What stands behind the head: a colour or a picture."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.compose import background_picture
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip

if TYPE_CHECKING:
    from avatar_viewer.stages import Frame

GAP_PX, CLEAR_PX = 8, 60
WHITE = (255, 255, 255)
NO_OPACITY = "This avatar cannot tell where its head ends."
ANOTHER_LAYER = "Layers stand on white; the image has a background."


class BackgroundPanel:
    """Widgets that write the session's background; without effect they are grey."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown: tuple[object, ...] = (self,)
        self._hint = ""
        gap, clear = theme.px(GAP_PX), theme.px(CLEAR_PX)
        dpg.add_text("Background", color=theme.current().accent)
        self._colour = dpg.add_color_edit(
            WHITE, no_alpha=True, width=width_px, callback=self._write_colour
        )
        with dpg.group(horizontal=True):
            self._path = dpg.add_input_text(
                hint="Picture file, then Enter",
                width=width_px - clear - gap,
                on_enter=True,
                callback=lambda _, text: self._open(text),
            )
            self._clear = dpg.add_button(
                label="Clear",
                width=clear,
                callback=lambda: app.change(background=WHITE, background_picture=None),
            )
        self._hint_text = dpg.add_text("", color=theme.DIM_TEXT, wrap=width_px, show=False)
        tooltip(self._path, "It covers the picture, cropped around its middle", "Enter")
        self._controls = (self._colour, self._path, self._clear)
        app.text_inputs += [self._colour, self._path]

    def update(self) -> None:
        """Show the state, and whether it has an effect."""
        if (state := self._app.state) is None:
            return
        session = state.session
        shown = (session.background, session.background_picture)
        if shown != self._shown:
            self._shown = shown
            dpg.set_value(self._colour, (*session.background, 255))
            dpg.set_value(self._path, str(session.background_picture or ""))
        if (hint := _hint(self._app.live.frame)) != self._hint:
            self._hint = hint
            dpg.set_value(self._hint_text, hint)
            dpg.configure_item(self._hint_text, show=bool(hint))
            for control in self._controls:
                theme.set_grey(control, bool(hint))

    def _write_colour(self) -> None:
        red, green, blue = (round(level) for level in dpg.get_value(self._colour)[:3])
        self._app.change(background=(red, green, blue))

    def _open(self, text: str) -> None:
        """A picture that cannot be read is said, and nothing changes."""
        path = Path(text.strip()).expanduser().absolute() if text.strip() else None
        try:
            if path is not None:
                background_picture(path, 1, 1)
        except AvatarError as error:
            self._app.complain(str(error))
        else:
            self._app.change(background_picture=path)


def _hint(frame: Frame | None) -> str:
    """Why a background has no effect on this picture; empty where it has."""
    if frame is None or frame.opacity is not None:
        return ""
    return NO_OPACITY if frame.request.show == "image" else ANOTHER_LAYER
