"""The exceptions that callers are expected to handle."""

from __future__ import annotations


class AvatarError(Exception):
    """A problem that the person can mend; its text is one line for them.

    The text names the file or field, what was expected and what was found. The command line
    prints it and exits with code 2; the window shows it and keeps its last good state.
    """


class AvatarErrors(AvatarError):
    """Several problems that were found at once; its text is a headline and a line for each."""


class RenderCancelled(Exception):
    """A render was given up between two steps because nobody waits for it any more."""


def one_line(error: BaseException) -> str:
    """The error as one line, for a message area or a terminal."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def in_lines(error: AvatarError) -> str:
    """The error as it is printed: one line, or one for each problem."""
    if not isinstance(error, AvatarErrors):
        return one_line(error)
    return "\n".join(" ".join(line.split()) for line in str(error).splitlines())
