"""Lines behind the pad's cursor: where it was just now, and the path that was drawn."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.pointer import Point

TRAIL_S = 2.0
BANDS = 10
"""Lines of one strength each; the oldest is the faintest."""
WIDTH_PX, PATH_PX = 3, 1.5
STRONGEST, PATH_STRENGTH = 170, 120


class PadTrail:
    """Draws both; `pixel_of` tells a place's pixel."""

    def __init__(self, drawlist: int | str, pixel_of: Callable[[float, float], Point]) -> None:
        self._pixel_of = pixel_of
        self._past: deque[tuple[float, Point]] = deque()
        """Places, and when the cursor was last there; the newest is where it is."""
        self._path_shown = 0
        red, green, blue = theme.current().accent
        alphas = [STRONGEST * (i + 1) // BANDS for i in range(BANDS)]
        self._path = _line(drawlist, (*theme.current().dim_text, PATH_STRENGTH), PATH_PX)
        self._bands = [_line(drawlist, (red, green, blue, a), WIDTH_PX) for a in alphas]

    @property
    def is_fading(self) -> bool:
        """Whether there is a trail, which the next drawings must show fainter."""
        return len(self._past) > 1

    def follow(self, place: Point, now_s: float) -> None:
        """The cursor is there now."""
        past = self._past
        if past and past[-1][1] == place:
            past.pop()
        past.append((now_s, place))
        was_fading = self.is_fading
        while now_s - past[0][0] > TRAIL_S:
            past.popleft()
        if was_fading:
            self._draw(now_s)

    def show_path(self, places: Sequence[Point]) -> None:
        """Draw a path; it only grows, or begins anew."""
        if len(places) != self._path_shown:
            self._path_shown = len(places)
            _draw(self._path, [self._pixel_of(*place) for place in _distinct(places)])

    def _draw(self, now_s: float) -> None:
        lines: list[list[Point]] = [[] for _ in self._bands]
        before: Point | None = None
        for then_s, place in self._past:
            age = min((now_s - then_s) / TRAIL_S, 1)
            line = lines[min(int((1 - age) * BANDS), BANDS - 1)]
            pixel = self._pixel_of(*place)
            if not line and before is not None:
                line.append(before)
            line.append(pixel)
            before = pixel
        for band, line in zip(self._bands, lines, strict=True):
            _draw(band, line)


def _line(drawlist: int | str, colour: tuple[int, ...], thickness: float) -> int | str:
    return dpg.draw_polyline(
        [[0, 0], [0, 0]],
        parent=drawlist,
        color=colour,
        thickness=theme.px(1) * thickness,
        show=False,
    )


def _draw(line: int | str, pixels: list[Point]) -> None:
    """Lines of fewer than two points are none."""
    if len(pixels) > 1:
        dpg.configure_item(line, points=pixels, show=True)
    else:
        dpg.configure_item(line, show=False)


def _distinct(places: Sequence[Point]) -> list[Point]:
    return [p for i, p in enumerate(places) if i == 0 or p != places[i - 1]]
