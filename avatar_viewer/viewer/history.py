"""Undo and redo of values."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

MOST_STEPS = 200


class History(Generic[T]):
    """Values in the order in which they were left; equal ones in a row are one."""

    def __init__(self, present: T) -> None:
        self._past: list[T] = []
        self._present = present
        self._future: list[T] = []

    def record(self, present: T) -> None:
        """What is there now, once it has settled: a whole drag is one step."""
        if present == self._present:
            return
        self._past = [*self._past[1 - MOST_STEPS :], self._present]
        self._present, self._future = present, []

    def undo(self, present: T) -> T:
        """The value before `present`, or `present` where there is none."""
        self.record(present)
        if self._past:
            self._future.append(self._present)
            self._present = self._past.pop()
        return self._present

    def redo(self, present: T) -> T:
        """The value that was undone last, or `present` where there is none."""
        self.record(present)
        if self._future:
            self._past.append(self._present)
            self._present = self._future.pop()
        return self._present
