"""Answers that are kept for as long as what they depend on is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KEPT_VIEWS = 2
"""How many views' conditioning is kept, tens of megabytes each: the view that is refined at rest,
and the one before."""

T = TypeVar("T")


class Kept(Generic[T]):
    """The newest answers, by what they depend on."""

    def __init__(self, most: int = KEPT_VIEWS) -> None:
        self._most = most
        self._answers: dict[Hashable, T] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._answers

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The kept answer, or a new one."""
        if key not in self._answers:
            answer = make()
            while len(self._answers) >= self._most:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = answer
        return self._answers[key]

    def clear(self) -> None:
        self._answers.clear()
