"""When the window is drawn next: often while something happens, seldom at rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

AWAKE_S = 1.0
"""Without anything new for so long, the window is at rest."""
GLANCE_S, AWAKE_GLANCE_S = 1 / 50, 1 / 200
"""How often the window looks for input between drawings: at rest, and while something happens."""


class Pace(NamedTuple):
    """How often the window is drawn."""

    share: float
    """Drawing takes this part of the time, and leaves the rest to the renderer; within limits:"""
    least_s: float
    most_s: float
    """From one drawing to the next."""

    def pause_s(self, drawing_s: float) -> float:
        """How long to wait after drawing for so long."""
        return min(max(drawing_s / self.share, self.least_s), self.most_s) - drawing_s


AWAKE = Pace(share=0.25, least_s=1 / 60, most_s=1 / 15)
AT_REST = Pace(share=0.03, least_s=1 / 30, most_s=1 / 2)
FOLLOWING = Pace(share=0.6, least_s=1 / 60, most_s=1 / 40)
BESIDE_PICTURES = Pace(share=0.15, least_s=1 / 60, most_s=1 / 10)
"""A graphics card draws so fast that the limit is `least_s`, and input is seen at once. Where the
processor draws, `most_s` is the limit, and a look between drawings sees the input, after which it
is drawn as often as `FOLLOWING` says: what follows the mouse must not hang behind. But while
pictures are on their way, each of them has a drawing, and more would keep the next one from the
cores."""


class Rhythm:
    """The pauses between drawings."""

    def __init__(self, look: Callable[[], bool]) -> None:
        """`look` sees input between drawings, and whether there is any."""
        self._look = look
        self._woken = threading.Event()
        self._awake_until_s = 0.0

    def wake(self) -> None:
        """End the present pause, or the next one; from any thread."""
        self._woken.set()

    def stay_awake(self) -> None:
        """Something happens, so more may follow."""
        self._awake_until_s = time.perf_counter() + AWAKE_S

    def pause(self, drawing_s: float, pictures_come: bool) -> None:
        """Wait until the window is due after a drawing of so long, or there is something new."""
        now_s = time.perf_counter()
        at_rest = now_s > self._awake_until_s
        pace, following = (AT_REST if at_rest else AWAKE), FOLLOWING
        if pictures_come:
            pace = following = BESIDE_PICTURES
        due_s, following_s = (now_s + each.pause_s(drawing_s) for each in (pace, following))
        glance_s = GLANCE_S if at_rest else AWAKE_GLANCE_S
        while (left_s := due_s - time.perf_counter()) > 0:
            if self._woken.wait(min(left_s, glance_s)):
                break
            if self._look():
                due_s = min(due_s, following_s)
        self._woken.clear()
