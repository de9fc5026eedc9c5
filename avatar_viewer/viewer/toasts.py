"""The newest messages, as cards over the lower left corner of the view."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.desktop import copy_text, open_path
from avatar_viewer.viewer.messages import Message

MOST_CARDS = 3
SHOWN_S = {False: 6.0, True: 20.0}
"""How long a message stays, by whether it is an error."""
TEXT_PX = 340
MARGIN_PX = 16
GAP_PX = 8


@dataclass(eq=False)
class Card:
    """One message on show."""

    message: Message
    window: int | str
    gone_s: float
    """When it goes, on the clock of `time.perf_counter`."""
    place: tuple[int, int] | None = None


class Toasts:
    """Makes a card of each new message, and moves the others up."""

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self._count = 0
        self._look = theme.look()
        self._cards: list[Card] = []
        self.lift_px = 0
        """Height at the foot of the window that cards leave free."""

    @property
    def texts(self) -> list[str]:
        """The messages on show, oldest first."""
        return [card.message.text for card in self._cards]

    def update(self) -> None:
        """Follow the app's messages."""
        now_s, messages = time.perf_counter(), self._app.messages
        if theme.look() != self._look:
            self._look = theme.look()
            cards = [self._card(card.message, card.gone_s) for card in self._cards]
            self._keep([])
            self._cards = cards
        missing = min(messages.count - self._count, MOST_CARDS)
        self._count = messages.count
        for message in messages.lines[len(messages.lines) - missing :]:
            self._cards.append(self._card(message, now_s + SHOWN_S[message.is_error]))
        are_put_away = messages.put_away == messages.count
        current = [c for c in self._cards[-MOST_CARDS:] if now_s < c.gone_s and not are_put_away]
        self._keep(current)
        self._place()

    def _card(self, message: Message, gone_s: float) -> Card:
        with dpg.window(
            autosize=True,
            min_size=(1, 1),
            pos=(0, dpg.get_viewport_client_height()),
            no_title_bar=True,
            no_resize=True,
            no_move=True,
            no_scrollbar=True,
            no_focus_on_appearing=True,
            no_saved_settings=True,
        ) as window:
            theme.raise_window(window, message.is_error)
            card = Card(message, window, gone_s)
            self._fill(card)
        return card

    def _fill(self, card: Card) -> None:
        message, palette = card.message, theme.current()
        colour = palette.error if message.is_error else palette.text
        with dpg.group(horizontal=True):
            dpg.add_text(message.text, wrap=theme.px(TEXT_PX), color=colour)
            close = dpg.add_button(label="×", small=True, callback=lambda: self._close(card))
            tooltip(close, "Put away", "Escape")
        if message.link is not None:
            link: Path = message.link
            with dpg.group(horizontal=True):
                open_link = partial(open_path, self._app, link)
                copy_link = partial(copy_text, self._app, str(link))
                dpg.add_button(label="Open", small=True, callback=lambda: open_link())
                dpg.add_button(label="Copy path", small=True, callback=lambda: copy_link())

    def _place(self) -> None:
        """A card's height is known once it has been drawn; until then it lies below the window."""
        x = theme.px(MARGIN_PX)
        bottom = dpg.get_viewport_client_height() - self.lift_px - x
        for card in reversed(self._cards):
            height = dpg.get_item_rect_size(card.window)[1]
            bottom -= height
            place = (x, bottom) if height else None
            if place is not None and place != card.place:
                card.place = place
                dpg.set_item_pos(card.window, list(place))
            bottom -= theme.px(GAP_PX)

    def _close(self, card: Card) -> None:
        card.gone_s = 0.0

    def _keep(self, cards: list[Card]) -> None:
        """Remove all others."""
        for card in self._cards:
            if card not in cards:
                dpg.delete_item(card.window)
        self._cards = cards
