"""What the window has told the person."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

MOST_MESSAGES = 500


@dataclass(frozen=True)
class Message:
    """One line."""

    text: str
    is_error: bool = False
    link: Path | None = None
    """The file or folder that it speaks of."""
    said_s: float = field(default_factory=time.time)
    """On the clock of `time.time`."""


class Messages:
    """The newest lines, oldest first."""

    def __init__(self) -> None:
        self.lines: list[Message] = []
        self.count = 0
        """How many there have been: the newest one's serial number."""
        self.put_away = 0
        """The serial number of the newest one that need not be shown any more."""

    def say(self, text: str, *, is_error: bool = False, link: Path | None = None) -> None:
        self.lines = [*self.lines[1 - MOST_MESSAGES :], Message(text, is_error, link)]
        self.count += 1
