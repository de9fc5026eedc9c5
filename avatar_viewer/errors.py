"""The exceptions that callers are expected to handle."""

from __future__ import annotations


class AvatarError(Exception):
    """A problem that the person can mend; its text is one line for them.

    The text names the file or field, what was expected and what was found; where many are found at
    once, each has a line. The command line prints it and exits with code 2; the window shows it and
    keeps its last good state.
    """


class RenderCancelled(Exception):
    """A render was given up between two steps because nobody waits for it any more."""


def in_lines(error: AvatarError) -> str:
    """The error as it is printed: one line for each problem."""
    return "\n".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())


def one_line(error: BaseException) -> str:
    """The error as one line, for a message area or a terminal."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
