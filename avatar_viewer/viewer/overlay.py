"""Windows that lie over the others while they are asked for."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp

EDGE_PX = 24
"""What an overlay leaves free of the window on each side."""


class Overlay:
    """One of them: it is made when its name comes into `app.opened`, and made anew when the look
    changes; `fill` makes what is in it."""

    name: str
    title: str
    size: tuple[int, int]
    """Width and height at scale 1, where the window is large enough."""
    has_title = True

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self._made_for: theme.Look | None = None
        self.window: int | str = 0

    @property
    def is_open(self) -> bool:
        return self._made_for is not None

    def update(self) -> None:
        """Show or hide it, as is asked for."""
        wanted = theme.look() if self.name in self._app.opened else None
        if wanted != self._made_for:
            self._made_for = wanted
            if dpg.does_item_exist(self.window):
                self.empty()
                dpg.delete_item(self.window)
            if wanted is not None:
                self._open()

    def fill(self, width_px: int) -> None:
        """Make the widgets; `width_px` is there for them."""

    def empty(self) -> None:
        """It is about to close."""

    def ask_to_close(self) -> None:
        self._app.opened.discard(self.name)

    def _open(self) -> None:
        free = (dpg.get_viewport_client_width(), dpg.get_viewport_client_height())
        largest = [max(1, whole - 2 * EDGE_PX) for whole in free]
        width, height = (min(theme.px(w), m) for w, m in zip(self.size, largest, strict=True))
        with dpg.window(
            label=self.title,
            width=width,
            height=height,
            pos=((free[0] - width) // 2, (free[1] - height) // 2),
            no_collapse=True,
            no_saved_settings=True,
            no_title_bar=not self.has_title,
            on_close=self.ask_to_close,
        ) as self.window:
            theme.raise_window(self.window)
            self.fill(width - theme.px(16) - theme.SCROLLBAR_PX)
