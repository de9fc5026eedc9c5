"""A long task of the render thread, such as a recording: done in pieces, whenever nothing else is
wanted, so that the window stays alive meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeAlias

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.live_state import TaskProgress

if TYPE_CHECKING:
    from avatar_viewer.live.renderable import Renderable

Pieces: TypeAlias = Generator[tuple[int, int], None, str]
"""Yields (pieces done, pieces in all) after each piece, and returns a line for the person. Closed
when it is cancelled: what it has begun to write it removes in `finally`."""
Work: TypeAlias = "Callable[[Renderable], Pieces]"
"""Begins a task with the avatar of that moment."""


class Task:
    """One task while it runs; the render thread calls all of it but `__init__`."""

    def __init__(self, label: str, work: Work) -> None:
        self._work = work
        self._pieces: Pieces | None = None
        self.cancelled = False
        """May be set from any thread; the task then ends before its next piece."""
        self.progress = TaskProgress(label, 0, 0, time.perf_counter())

    def advance(self, avatar: Renderable) -> str | None:
        """Do one piece; the task's closing line when that was the last one.

        Raises AvatarError when it was cancelled, and what the work raises.
        """
        if self.cancelled:
            self.close()
            raise AvatarError(f"{self.progress.label}: cancelled, nothing was written")
        if self._pieces is None:
            self._pieces = self._work(avatar)
        try:
            done, total = next(self._pieces)
        except StopIteration as ended:
            return ended.value
        before = self.progress
        self.progress = TaskProgress(before.label, done, total, before.started_s)
        return None

    def close(self) -> None:
        """Give up."""
        if self._pieces is not None:
            self._pieces.close()
