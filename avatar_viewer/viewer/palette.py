"""A search over everything that can be done."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import Action, all_actions
from avatar_viewer.viewer.overlay import Overlay

KEYS_PX = 110


def found(query: str, actions: Sequence[Action]) -> list[Action]:
    """The actions that a query may mean: first those with its words, then those with its letters
    in their order."""
    words = query.lower().split()

    def rank(action: Action) -> tuple[int, int] | None:
        text = action.does.lower()
        places = [text.find(word) for word in words]
        if -1 not in places:
            return 0, min(places, default=0)
        letters = iter(text)
        return (1, 0) if all(letter in letters for letter in "".join(words)) else None

    ranked = [(place, action) for action in actions if (place := rank(action)) is not None]
    return [action for _, action in sorted(ranked, key=lambda pair: pair[0])]


class CommandPalette(Overlay):
    """A field, and below it what is found; the arrow keys choose, Enter does it."""

    name = "palette"
    title = "Find"
    size = (520, 380)
    has_title = False

    def fill(self, width_px: int) -> None:
        """The field, which has the keys at once, and the list."""
        app = self._app
        self._keys_at_px = width_px - theme.px(KEYS_PX)
        self._field = dpg.add_input_text(
            width=-1, hint="What to do", callback=lambda _, text: self._search(text)
        )
        self._list = dpg.add_child_window()
        theme.make_dense(self._list)
        with dpg.handler_registry() as self._handlers:
            for key, deed in {
                dpg.mvKey_Up: lambda: self._choose(self._chosen - 1),
                dpg.mvKey_Down: lambda: self._choose(self._chosen + 1),
                dpg.mvKey_Return: lambda: self._do(self._chosen),
                dpg.mvKey_NumPadEnter: lambda: self._do(self._chosen),
                dpg.mvKey_Escape: self.ask_to_close,
            }.items():
                dpg.add_key_press_handler(key, callback=lambda _, __, do: do(), user_data=deed)
            dpg.add_mouse_click_handler(callback=self._close_unless_hovered)
        app.dialogs.append(self.window)
        self._search("")
        dpg.focus_item(self._field)

    def empty(self) -> None:
        """Give the keys back."""
        self._app.dialogs.remove(self.window)
        dpg.delete_item(self._handlers)

    def _search(self, query: str) -> None:
        self._found = found(query, all_actions())
        dpg.delete_item(self._list, children_only=True)
        palette = theme.current()
        self._rows = []
        for i, action in enumerate(self._found):
            with dpg.group(horizontal=True, xoffset=self._keys_at_px, parent=self._list):
                row = dpg.add_selectable(
                    label=action.does, user_data=i, callback=lambda _, __, i: self._do(i)
                )
                dpg.add_text(action.shown_keys, color=palette.dim_text)
            self._rows.append(row)
        if not self._found:
            dpg.add_text("Nothing of that name", color=palette.dim_text, parent=self._list)
        self._chosen = 0
        self._choose(0)

    def _choose(self, place: int) -> None:
        self._chosen = min(max(place, 0), max(0, len(self._rows) - 1))
        for i, row in enumerate(self._rows):
            dpg.set_value(row, i == self._chosen)
        if len(self._rows) > 1:
            part = self._chosen / (len(self._rows) - 1)
            dpg.set_y_scroll(self._list, part * dpg.get_y_scroll_max(self._list))

    def _do(self, place: int) -> None:
        self.ask_to_close()
        if place < len(self._found):
            self._found[place].run(self._app)

    def _close_unless_hovered(self) -> None:
        x, y = dpg.get_mouse_pos(local=False)
        left, top = dpg.get_item_pos(self.window)
        width, height = dpg.get_item_rect_size(self.window)
        if not (left <= x < left + width and top <= y < top + height):
            self.ask_to_close()
