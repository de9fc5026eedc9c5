"""Where the eyes look: an eye whose iris can be dragged."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import tooltip
from avatar_viewer.viewer.pointer import Point

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session

SIDE_PX, IRIS_PX, PUPIL_PX, BUTTON_PX = 90, 15, 7, 100
DOUBLE_CLICK_S = 0.35
FOLLOWS = "follows the expression"


def gaze_from_pixel(x_px: float, y_px: float) -> Point:
    """Yaw and pitch; what lies outside is moved to the edge.

    A subject seen from the front looks to its own left where it looks to the right of the picture.
    """
    middle, reach = theme.px(SIDE_PX) / 2, theme.px(SIDE_PX / 2 - IRIS_PX)
    yaw, pitch = (x_px - middle) / reach, (middle - y_px) / reach
    return min(max(yaw, -1.0), 1.0), min(max(pitch, -1.0), 1.0)


def pixel_from_gaze(yaw: float, pitch: float) -> Point:
    middle, reach = theme.px(SIDE_PX) / 2, theme.px(SIDE_PX / 2 - IRIS_PX)
    return middle + yaw * reach, middle - pitch * reach


class GazePanel:
    """Shows where the eyes look, and writes the session's gaze."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        self._app = app
        self._shown: Session | None = None
        self._pressed_s = 0.0
        with dpg.group(horizontal=True, show=False) as self._group:
            self.drawlist = dpg.add_drawlist(theme.px(SIDE_PX), theme.px(SIDE_PX))
            with dpg.group():
                dpg.add_text("Gaze")
                self._text = dpg.add_text(FOLLOWS, color=theme.current().dim_text)
                button = dpg.add_button(
                    label="Reset",
                    width=theme.px(BUTTON_PX),
                    callback=lambda: self.reset(),
                )
        tooltip(button, "Follow the expression; a double-click on the eye does so too")
        self._iris, self._pupil = self._draw_eye()

    def update(self) -> None:
        """Show the state's, or the blend's where none is chosen."""
        if (state := self._app.state) is None or state.session is self._shown:
            return
        from avatar_viewer.head.nphm import GAZE_DIM

        session = self._shown = state.session
        has_gaze = state.info.expression_dim > GAZE_DIM
        dpg.configure_item(self._group, show=has_gaze)
        if not has_gaze:
            return
        yaw, pitch = session.gaze or _mean_gaze(session.expression(state.space).values[-GAZE_DIM:])
        at = pixel_from_gaze(min(max(yaw, -1), 1), min(max(pitch, -1), 1))
        colours = theme.current()
        colour = colours.dim_text if session.gaze is None else colours.accent
        dpg.configure_item(self._iris, center=at, fill=colour, color=colour)
        dpg.configure_item(self._pupil, center=at)
        chosen = f"{_side(yaw, 'right', 'left')}, {_side(pitch, 'up', 'down')}"
        dpg.set_value(self._text, FOLLOWS if session.gaze is None else chosen)

    def reset(self) -> None:
        """The eyes look as the expression says."""
        self._app.change(gaze=None)

    def press(self, button: int, at: Point) -> bool:
        """The left button drags; twice, it lets go of the eyes."""
        if button != dpg.mvMouseButton_Left:
            return False
        now_s = time.perf_counter()
        is_double = now_s - self._pressed_s < DOUBLE_CLICK_S
        self._pressed_s = 0.0 if is_double else now_s
        if is_double:
            self.reset()
        return not is_double

    def drag(self, button: int, at: Point, by: Point) -> None:
        """Look to a pixel of the eye."""
        self._app.change(gaze=gaze_from_pixel(*at))

    def wheel(self, clicks: float) -> None:
        """Nothing."""

    def _draw_eye(self) -> tuple[int | str, int | str]:
        colours, side = theme.current(), theme.px(SIDE_PX)
        middle = (side / 2, side / 2)
        line = {"color": colours.line, "parent": self.drawlist}
        dpg.draw_rectangle((0, 0), (side, side), fill=colours.widget, rounding=theme.px(6), **line)
        dpg.draw_line((side / 2, 0), (side / 2, side), **line)
        dpg.draw_line((0, side / 2), (side, side / 2), **line)
        dpg.draw_circle(middle, theme.px(SIDE_PX / 2 - 2), thickness=theme.px(1.5), **line)
        iris = dpg.draw_circle(
            middle, theme.px(IRIS_PX), fill=colours.dim_text, parent=self.drawlist
        )
        pupil = dpg.draw_circle(
            middle,
            theme.px(PUPIL_PX),
            fill=colours.background,
            color=colours.background,
            parent=self.drawlist,
        )
        return iris, pupil


def _mean_gaze(values: tuple[float, ...]) -> Point:
    """Yaw and pitch of both eyes together."""
    left_yaw, left_pitch, right_yaw, right_pitch = values
    return (left_yaw + right_yaw) / 2, (left_pitch + right_pitch) / 2


def _side(amount: float, positive: str, negative: str) -> str:
    """In words, of the picture."""
    return f"{abs(amount):.0%} {positive if amount >= 0 else negative}"
