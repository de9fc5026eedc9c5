"""The ruler of a timeline: times, frames of which their maker was not sure, and the place."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg
import numpy as np

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.pointer import Point
from avatar_viewer.viewer.text_width import text_width
from avatar_viewer.viewer.timeline import Timeline

if TYPE_CHECKING:
    from avatar_viewer.expression.sequence import ExpressionSequence

HEIGHT_PX, TRACK_TOP_PX, TRACK_PX, TEXT_PX = 34, 18, 10, 13
MARGIN_PX = 7
LOW_CONFIDENCE = 0.5
STEPS_S = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
"""From one time that is written to the next."""
LEAST_STEP_PX = 56


class TimelineRuler:
    """Draws a timeline and takes drags: the place follows them."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._width_px = 1
        self._drawn: tuple[object, ...] = ()
        self._at: float | None = None
        self.drawlist = dpg.add_drawlist(1, theme.px(HEIGHT_PX))
        self._scale = dpg.add_draw_layer(parent=self.drawlist)
        colours, top = theme.current(), theme.px(TRACK_TOP_PX)
        with dpg.draw_layer(parent=self.drawlist):
            bottom = theme.px(HEIGHT_PX)
            self._line = dpg.draw_line(
                (0, top), (0, bottom), color=colours.accent, thickness=theme.px(2)
            )
            self._knob = dpg.draw_circle(
                (0, top), theme.px(5), color=colours.text, fill=colours.accent
            )

    def update(self, width_px: int) -> None:
        """Show the timeline, so wide."""
        sequence = self._timeline.sequence
        if sequence is None:
            return
        drawn = (sequence, width_px)
        if len(self._drawn) != 2 or not all(map(is_, drawn, self._drawn)):
            self._drawn, self._width_px, self._at = drawn, width_px, None
            dpg.configure_item(self.drawlist, width=width_px)
            dpg.delete_item(self._scale, children_only=True)
            self._draw_track(sequence)
            self._draw_times(sequence.duration_s)
        x = self._x(self._timeline.time_s)
        if x != self._at:
            self._at = x
            top = theme.px(TRACK_TOP_PX)
            dpg.configure_item(self._line, p1=(x, top), p2=(x, theme.px(HEIGHT_PX)))
            dpg.configure_item(self._knob, center=(x, top))

    def press(self, button: int, at: Point) -> bool:
        """The left button drags."""
        return button == dpg.mvMouseButton_Left

    def drag(self, button: int, at: Point, by: Point) -> None:
        """Go to the frame at a pixel of the ruler."""
        if (sequence := self._timeline.sequence) is not None:
            margin = theme.px(MARGIN_PX)
            part = (at[0] - margin) / max(1, self._width_px - 2 * margin)
            self._timeline.go(round(part * sequence.duration_s * sequence.header.fps))

    def wheel(self, clicks: float) -> None:
        """Frame by frame."""
        self._timeline.step(round(-clicks))

    def _x(self, time_s: float) -> float:
        sequence, margin = self._timeline.sequence, theme.px(MARGIN_PX)
        part = 0.0 if sequence is None else time_s / sequence.duration_s
        return margin + part * (self._width_px - 2 * margin)

    def _draw_track(self, sequence: ExpressionSequence) -> None:
        colours, top = theme.current(), theme.px(TRACK_TOP_PX)
        bottom = top + theme.px(TRACK_PX)
        dpg.draw_rectangle(
            (self._x(0), top),
            (self._x(sequence.duration_s), bottom),
            fill=colours.widget,
            color=colours.line,
            parent=self._scale,
        )
        if sequence.confidence is None:
            return
        colour = colours.series[1]
        for first, end in unsure_parts(sequence.confidence, self._width_px):
            left, right = (self._x(part * sequence.duration_s) for part in (first, end))
            # One frame of many is less than a pixel, and is to be seen.
            near, far = (left, top), (max(right, left + theme.px(1.5)), bottom)
            dpg.draw_rectangle(near, far, fill=colour, color=colour, parent=self._scale)

    def _draw_times(self, duration_s: float) -> None:
        colour, size = theme.current().dim_text, theme.px(TEXT_PX)
        px_per_s = (self._x(duration_s) - self._x(0)) / duration_s
        wide = (step for step in STEPS_S if step * px_per_s >= theme.px(LEAST_STEP_PX))
        step_s = next(wide, STEPS_S[-1])
        for i in range(int(duration_s / step_s) + 1):
            x, text = self._x(i * step_s), clock(i * step_s, 1 if step_s < 1 else 0)
            if x + text_width(text, size) < self._width_px:
                beside = (x + theme.px(3), 0)
                dpg.draw_text(beside, text, size=size, color=colour, parent=self._scale)
            top, bottom = theme.px(2), theme.px(TRACK_TOP_PX)
            dpg.draw_line((x, top), (x, bottom), color=colour, parent=self._scale)


def unsure_parts(confidence: np.ndarray, most: int) -> list[tuple[float, float]]:
    """Where frames [T] are of low confidence: starts and ends as parts of the whole, each rounded
    outward to one of at most `most` steps."""
    count = len(confidence)
    steps = min(count, max(1, most))
    (low,) = np.nonzero(confidence < LOW_CONFIDENCE)
    is_low = np.zeros(steps + 2, bool)
    is_low[low * steps // count + 1] = True
    edges = np.flatnonzero(np.diff(is_low.astype(np.int8))) / steps
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def clock(time_s: float, digits: int) -> str:
    """Minutes and seconds, such as 0:03.25."""
    minutes, seconds = divmod(round(time_s, digits), 60)
    return f"{minutes:.0f}:{seconds:0{digits + 3 if digits else 2}.{digits}f}"
