"""Expressions to choose from: the avatar's own and those that the person has saved."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.library_editor import LibraryEditor
from avatar_viewer.viewer.library_list import Entry, LibraryList
from avatar_viewer.viewer.state import PAD_CORNERS
from avatar_viewer.viewer.tabs import tab_around

if TYPE_CHECKING:
    from avatar_viewer.stages import Frame
    from avatar_viewer.viewer.state import ViewerState

LIST_PX = 200
FIRST_CORNER = 3


class LibraryPanel:
    """Puts expressions into the pad's corners, and keeps the person's."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._corner = FIRST_CORNER
        self._searched = ""
        self._shown: tuple[object, ...] = (None,)
        self._search = dpg.add_input_text(hint="Search", width=width_px)
        with dpg.group(horizontal=True):
            text = dpg.add_text("A click fills corner", color=theme.current().dim_text)
            corners = [str(i + 1) for i in range(len(PAD_CORNERS))]
            self._corners = dpg.add_radio_button(
                corners,
                horizontal=True,
                default_value=corners[FIRST_CORNER],
                callback=lambda _, label: self._set_corner(label),
            )
        tooltip(text, "Of the pad. It is shown there without the sliders.\nUndo with", "Ctrl+Z")
        self._list = LibraryList(width_px, theme.px(LIST_PX), "None of that name", self._apply)
        self._tab = tab_around(self._list.window)
        self._editor = LibraryEditor(app, width_px)
        app.text_inputs.append(self._search)

    def update(self) -> None:
        """Show what the present avatar can show."""
        self._follow_tab()
        app, editor = self._app, self._editor
        if (state := app.state) is None:
            return
        search = dpg.get_value(self._search)
        # Values of which a new one is another object: pictures cannot be compared.
        values = (state, app.library.library, app.live.thumbnails, app.live.frame, editor.chosen)
        if search == self._searched and all(map(is_, values, self._shown)):
            return
        self._searched, self._shown = search, values
        entries = self._entries(state, search)
        self._take_pictures(entries)
        self._list.show(entries, editor.chosen)

    def _entries(self, state: ViewerState, search: str) -> list[Entry]:
        from avatar_viewer.expression.library import matches

        own = [Entry(c.name, c.expression) for c in state.info.corners if matches(search, c.name)]
        saved = self._app.library.library.found(search, state.info.expression_dim)
        return own + [Entry(e.name, e.expression, e) for e in saved]

    def _take_pictures(self, entries: list[Entry]) -> None:
        """As they were saved, or else from what is on show."""
        from avatar_viewer.expression.library import picture_of, picture_text, small_picture

        live = self._app.live
        frames: list[Frame] = list(live.thumbnails)
        if live.frame is not None and not live.frame.preview and live.frame.request.show == "image":
            frames.append(live.frame)
        on_show = {frame.request.expression: frame.rgb for frame in frames}
        for entry in entries:
            if self._list.has_picture(entry.expression):
                continue
            picture = picture_of(entry.saved.picture) if entry.saved is not None else None
            if picture is None and entry.expression in on_show:
                picture = small_picture(on_show[entry.expression])
                if entry.saved is not None:
                    self._editor.keep_picture(entry.saved, picture_text(picture))
            if picture is not None:
                self._list.add_picture(entry.expression, picture)

    def _apply(self, entry: Entry) -> None:
        """Put an expression into the corner, and show it as it was saved."""
        if (state := self._app.state) is None:
            return
        from avatar_viewer.avatar_info import Corner

        self._editor.choose(entry)
        corners = list(state.session.corners)
        corners[self._corner] = Corner(entry.name, entry.expression)
        self._app.change(
            corners=tuple(corners),
            pad=PAD_CORNERS[self._corner],
            **{"directions": (), "units": (), "gaze": None},
            **{"driven": None, "head_pose_deg": None},
        )

    def _follow_tab(self) -> None:
        """Come to the front when a corner asks; the corner is marked while the tab is there."""
        app, tab = self._app, self._tab
        if "library" in app.opened:
            app.opened.discard("library")
            if app.target_corner is not None:
                self._corner = app.target_corner
                dpg.set_value(self._corners, str(self._corner + 1))
            if tab is not None:
                dpg.set_value(*tab)
        is_in_front = tab is None or dpg.get_value(tab[0]) == tab[1]
        app.target_corner = self._corner if is_in_front else None

    def _set_corner(self, label: str) -> None:
        self._corner = int(label) - 1
