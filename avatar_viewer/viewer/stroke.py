"""A path that is drawn on the pad and played again; it knows no widgets."""

from __future__ import annotations

from bisect import bisect_right

Point = tuple[float, float]

LONGEST_S = 120.0
"""A longer path ends there."""


class Stroke:
    """Where the pad's cursor was drawn, and when; times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.is_armed = False
        """Whether the next drag on the pad is drawn."""
        self.is_drawing = False
        self.loops = True
        self.places: list[Point] = []
        self._times_s: list[float] = []
        self._start_s: float | None = None

    @property
    def is_playing(self) -> bool:
        return self._start_s is not None

    @property
    def duration_s(self) -> float:
        return self._times_s[-1] - self._times_s[0] if self.places else 0.0

    def press(self, is_drawn: bool) -> None:
        """A drag begins; it is drawn if `is_drawn`, or if that was asked for before."""
        self.stop()
        self.is_drawing, self.is_armed = is_drawn or self.is_armed, False
        if self.is_drawing:
            self.places, self._times_s = [], []

    def add(self, place: Point, now_s: float) -> None:
        """The cursor is there, by hand: it is drawn if this drag is, and nothing is played."""
        self.stop()
        if self.is_drawing:
            self.places.append(place)
            self._times_s.append(now_s)
            self.is_drawing = self.duration_s < LONGEST_S

    def arm(self) -> None:
        """Have the next drag drawn; or not, where that was asked for already."""
        self.stop()
        self.is_armed = not self.is_armed

    def play_or_stop(self, now_s: float) -> bool:
        """Whether there is anything to play."""
        if self.is_playing:
            self.stop()
        else:
            self.play(now_s)
        return self.duration_s > 0

    def play(self, now_s: float) -> None:
        """From the start; nothing where no path was drawn."""
        self.is_drawing = self.is_armed = False
        self._start_s = now_s if self.duration_s > 0 else None

    def stop(self) -> None:
        self._start_s = None

    def place(self, now_s: float) -> Point | None:
        """Where the cursor is to be, as fast as it was drawn; None while nothing is played."""
        if self._start_s is None:
            return None
        since_s = now_s - self._start_s
        if since_s >= self.duration_s:
            if not self.loops:
                self.stop()
                return self.places[-1]
            since_s %= self.duration_s
        at_s = self._times_s[0] + since_s
        after = bisect_right(self._times_s, at_s, hi=len(self._times_s) - 1)
        (x0, y0), (x1, y1) = self.places[after - 1 : after + 1]
        start_s, end_s = self._times_s[after - 1 : after + 1]
        part = (at_s - start_s) / (end_s - start_s) if end_s > start_s else 1.0
        return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
