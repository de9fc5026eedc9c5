"""The strip below the picture while an expression sequence is open: its place, and buttons."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import action_button, tooltip
from avatar_viewer.viewer.text_width import shortened
from avatar_viewer.viewer.timeline import SPEEDS
from avatar_viewer.viewer.timeline_ruler import HEIGHT_PX, LOW_CONFIDENCE, TimelineRuler, clock

if TYPE_CHECKING:
    from avatar_viewer.expression.sequence import ExpressionSequence

PADDING_PX, GAP_PX, LINE_GAP_PX = 8, 8, 6
TITLE_PX, ROW_PX = 22, 26
PLACE_PX, MORE_PX = 190, 360
CLOSE_PX, STEP_PX, PLAY_PX, SPEED_PX, USE_PX = 26, 30, 62, 64, 92
BUTTON_GROUPS_PX = (214, 282, 196)
"""Widths of the groups of buttons, which lie side by side as far as there is room."""


class TimelinePanel:
    """Shows the app's timeline."""

    def __init__(self, app: ViewerApp, parent: int | str) -> None:
        self._app, self._timeline = app, app.timeline
        self._width_px = 0
        self._rows: list[list[int]] = []
        self._shown: dict[int | str, Any] = {}
        with dpg.child_window(
            parent=parent, show=False, no_scrollbar=True, always_use_window_padding=True
        ) as self.window:
            self._add_title()
            self.ruler = TimelineRuler(app.timeline)
            self._lines = [dpg.add_group(horizontal=True) for _ in BUTTON_GROUPS_PX]
            makers = (self._add_moves, self._add_ways, self._add_uses)
            self._groups = [self._grouped(make) for make in makers]

    @property
    def height_px(self) -> int:
        """What the strip takes of the window; 0 without a sequence."""
        if self._timeline.sequence is None:
            return 0
        parts = (TITLE_PX, HEIGHT_PX, *[ROW_PX] * len(self._rows))
        return theme.px(2 * PADDING_PX + sum(parts) + LINE_GAP_PX * (len(parts) - 1))

    def resize(self, width_px: int) -> None:
        """Fit into this width of the window."""
        if width_px == self._width_px:
            return
        self._width_px = width_px
        rows = rows_of([theme.px(w) for w in BUTTON_GROUPS_PX], self._inner_px, theme.px(GAP_PX))
        if rows != self._rows:
            self._rows = rows
            for line, groups in zip(self._lines, rows, strict=False):
                for group in groups:
                    dpg.move_item(self._groups[group], parent=line)
            for i, line in enumerate(self._lines):
                dpg.configure_item(line, show=i < len(rows))
        dpg.configure_item(self.window, width=width_px, height=self.height_px)
        dpg.configure_item(self._title, xoffset=self._inner_px - theme.px(CLOSE_PX))

    def update(self) -> None:
        """Show where the sequence is, and how it is played."""
        timeline, state = self._timeline, self._app.state
        is_open = timeline.sequence is not None
        self._set(self.window, show=is_open, height=self.height_px)
        if timeline.sequence is None or state is None:
            return
        self.ruler.update(self._inner_px)
        self._show_title(timeline.sequence)
        self._set(self._play, label="Pause" if timeline.is_playing else "Play")
        self._value(self._speed, f"{timeline.speed:g}x")
        self._value(self._loop, timeline.loops)
        self._value(self._head, timeline.turns_head)
        self._value(self._gaze, state.session.gaze is None)
        self._set(self._head, show=timeline.sequence.head_pose_deg is not None)
        for item, corner in zip(self._corners, state.session.corners, strict=True):
            self._set(item, label=corner.name)

    def _show_title(self, sequence: ExpressionSequence) -> None:
        timeline = self._timeline
        place = f"{clock(timeline.time_s, 2)}   frame {timeline.frame + 1} of {timeline.count}"
        # What there is room for beside the place.
        room_px = self._inner_px - theme.px(CLOSE_PX + GAP_PX * 5 + PLACE_PX)
        name = Path(timeline.file).name
        self._value(self._name, shortened(name, room_px, theme.px(theme.FONT_PX)))
        self._value(self._place, place)
        told, is_wide = "", room_px > theme.px(MORE_PX)
        if not timeline.is_followed:
            told = "the pad is shown"
        self._value(self._told, told if is_wide else "")
        confidence = sequence.confidence
        is_unsure = confidence is not None and bool((confidence < LOW_CONFIDENCE).any())
        self._set(self._unsure, show=is_wide and is_unsure)

    @property
    def _inner_px(self) -> int:
        return max(1, self._width_px - 2 * theme.px(PADDING_PX))

    def _add_title(self) -> None:
        with dpg.group(horizontal=True) as self._title:
            colours = theme.current()
            with dpg.group(horizontal=True):
                self._name = dpg.add_text("")
                self._place = dpg.add_text("")
                self._unsure = dpg.add_text("■ low confidence", color=colours.series[1], show=False)
                self._told = dpg.add_text("", color=colours.dim_text)
            close = dpg.add_button(
                label="×", width=theme.px(CLOSE_PX), small=True, callback=self._call("close")
            )
        tooltip(close, "Close the sequence: back to the pad")

    def _add_moves(self) -> None:
        step, app = theme.px(STEP_PX), self._app
        action_button(app, "Home", "|<", step)
        action_button(app, "Comma", "<", step)
        self._play = action_button(app, "Spacebar", "Play", theme.px(PLAY_PX))
        action_button(app, "Period", ">", step)
        action_button(app, "End", ">|", step)

    def _add_ways(self) -> None:
        timeline, app = self._timeline, self._app
        self._speed = dpg.add_combo(
            [f"{speed:g}x" for speed in SPEEDS],
            width=theme.px(SPEED_PX),
            callback=lambda _, chosen: setattr(timeline, "speed", float(chosen[:-1])),
        )
        tooltip(self._speed, "Times as fast", "Shift+,  Shift+.")
        self._loop = _box("Loop", lambda on: setattr(timeline, "loops", on), "Again and again")
        self._gaze = _box(
            "Gaze",
            lambda on: app.change(gaze=None if on else (0.0, 0.0)),
            "The eyes look as in the sequence, or straight ahead",
        )
        self._head = _box(
            "Head",
            lambda on: setattr(timeline, "turns_head", on),
            "The head turns as in the sequence",
        )

    def _add_uses(self) -> None:
        button = dpg.add_button(label="To corner", width=theme.px(USE_PX))
        tooltip(button, "Put this frame into a corner of the pad", "Ctrl+1 to Ctrl+4")
        with dpg.popup(button, mousebutton=dpg.mvMouseButton_Left, min_size=(1, 1)):
            dpg.add_text("In place of", color=theme.current().dim_text)
            self._corners = [
                dpg.add_selectable(callback=self._call("set_corner", corner)) for corner in range(4)
            ]
        action_button(self._app, "B", "To library", theme.px(USE_PX))

    def _grouped(self, make: Callable[[], None]) -> int | str:
        with dpg.group(horizontal=True, parent=self._lines[0]) as group:
            make()
        return group

    def _call(self, name: str, *arguments: Any) -> Callable[[], None]:
        return lambda: getattr(self._timeline, name)(*arguments)

    def _value(self, item: int | str, value: object) -> None:
        if dpg.get_value(item) != value:
            dpg.set_value(item, value)

    def _set(self, item: int | str, **options: Any) -> None:
        if self._shown.get(item) != options:
            self._shown[item] = options
            dpg.configure_item(item, **options)


def rows_of(widths: Sequence[float], room: float, gap: float) -> list[list[int]]:
    """The indices of what lies in each row, in their order; each row has one at least."""
    rows: list[list[int]] = [[]]
    left = room
    for i, width in enumerate(widths):
        if rows[-1] and width > left:
            rows.append([])
            left = room
        rows[-1].append(i)
        left -= width + gap
    return rows


def _box(label: str, write: Callable[[bool], None], about: str) -> int | str:
    box = dpg.add_checkbox(label=label, callback=lambda _, on: write(on))
    tooltip(box, about)
    return box
