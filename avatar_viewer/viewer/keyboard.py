"""Keys to actions, unless they are meant for a widget."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer.actions import MODIFIERS, Action, all_actions
from avatar_viewer.viewer.app import ViewerApp

_SIDES = {"Ctrl": "Control", "Shift": "Shift", "Alt": "Alt"}


class Keyboard:
    """Listens for the keys of all actions."""

    def __init__(self, app: ViewerApp, on_press: Callable[[], None]) -> None:
        """`on_press` is called with each key, whomever it is meant for."""
        self._app = app
        self._down: set[int] = set()
        with dpg.handler_registry():
            for action in all_actions():
                if action.keys:
                    key = getattr(dpg, f"mvKey_{action.key}")
                    dpg.add_key_press_handler(key, callback=self._press, user_data=action)
            dpg.add_key_press_handler(callback=lambda _, __: on_press())
            dpg.add_key_release_handler(callback=lambda _, key: self._down.discard(key))

    def _press(self, _: int | str, key: int, action: Action) -> None:
        """A held key sends presses again and again."""
        if (
            self._is_taken()
            or _held() != action.modifiers
            or (key in self._down and not action.repeats)
        ):
            return
        self._down.add(key)
        action.run(self._app)

    def _is_taken(self) -> bool:
        """Whether keys are meant for a widget or a dialog."""
        app = self._app
        typing = any(map(dpg.is_item_active, filter(dpg.does_item_exist, app.text_inputs)))
        return typing or any(map(dpg.is_item_shown, filter(dpg.does_item_exist, app.dialogs)))


def _held() -> frozenset[str]:
    """The modifiers that are down, or were until this frame: a quick hand, or a script, lets go of
    them in the frame in which the other key is seen."""
    return frozenset(
        name
        for name in MODIFIERS
        for side in "LR"
        if _is_down(getattr(dpg, f"mvKey_{side}{_SIDES[name]}"))
    )


def _is_down(key: int) -> bool:
    return dpg.is_key_down(key) or dpg.is_key_released(key)
