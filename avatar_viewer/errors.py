"""The exceptions that callers are expected to handle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

MOST_PROBLEMS = 20
"""How many of one report are listed; the rest is counted."""


class AvatarError(Exception):
    """A problem that the person can mend; its text is one line for them.

    The text names the file or field, what was expected and what was found. The command line
    prints it and exits with code 2; the window shows it and keeps its last good state.
    """


class AvatarErrors(AvatarError):
    """Several problems that were found at once; its text is a headline and a line for each."""

    def __init__(self, expected: str, problems: Sequence[str]) -> None:
        """The headline says what was expected."""
        self.problems = list(problems)
        lines = [f"{expected}, found {len(problems)}:", *problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"and {len(problems) - MOST_PROBLEMS} more")
        super().__init__("\n".join(lines))


def check_all(expected: str, checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks, and raise in one report what they raise."""
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except AvatarError as error:
            problems += problems_of(error)
    raise_all(expected, problems)


def raise_all(expected: str, problems: Iterable[str]) -> None:
    """Raise one problem as its own line, several as a list under a headline, none not at all."""
    different = list(dict.fromkeys(problems))
    if len(different) == 1:
        raise AvatarError(different[0])
    if different:
        raise AvatarErrors(expected, different)


def problems_of(error: AvatarError) -> list[str]:
    """A line for each."""
    return error.problems if isinstance(error, AvatarErrors) else [str(error)]


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
