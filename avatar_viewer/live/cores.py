"""How the render thread shares the processor with the window's."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

NICENESS = 5
"""How much less urgent than the window's thread the render thread is: with each, about a fifth less
of a core that both want."""


def let_others_go_first() -> None:
    """The window must follow the mouse while all cores render. Linux gives threads priorities of
    their own; those that torch, numba and OpenVINO start from this one inherit its."""
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, niceness)


class Cores:
    """On how many of them torch and the rasterizer work, for the thread that calls `share`."""

    def __init__(self) -> None:
        self.window_needs_one = False
        """Where no graphics card draws the window, the processor does. Threads that wait for each
        other then wait for the window too: on two cores, one thread draws as many pictures beside
        the window as two, or more, and each is there earlier."""
        self._all: int | None = None

    def share(self, moving: bool) -> None:
        """Before a picture: while it is `moving`, the window has to draw as often."""
        # The window starts the render thread before torch is imported.
        if (torch := sys.modules.get("torch")) is None:
            return
        cores = self._all = self._all or torch.get_num_threads()
        if moving and self.window_needs_one:
            cores = max(1, cores - 1)
        torch.set_num_threads(cores)
