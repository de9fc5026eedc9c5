"""Writes the tables of docs/viewer.md from the tables that the window obeys.

python -m avatar_viewer.viewer.write_docs        (in a source checkout)
"""

from __future__ import annotations

from pathlib import Path

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer.actions import GROUPS, help_groups

PAGE = Path("docs/viewer.md")
BEGIN, END = "<!-- keys -->", "<!-- end of keys -->"
"""What stands between these lines is written here, the rest by hand."""


def with_tables(page: str) -> str:
    """The page with its tables anew; AvatarError where it has no place for them."""
    before, begins, rest = page.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise AvatarError(f"{PAGE}: expected the lines {BEGIN} and {END}, found not both")
    return f"{before}{BEGIN}\n{tables()}{END}{after}"


def tables() -> str:
    """What the mouse and the keys do, and what only the palette finds, as Markdown."""
    keyless = [action.does for group in GROUPS.values() for action in group if not action.keys]
    found = "".join(f"- {does}\n" for does in keyless)
    keys = "".join(_table(name, lines) for name, lines in help_groups().items() if lines)
    return f"{keys}\n### Only in the palette\n\n{found}"


def _table(name: str, lines: list[tuple[str, str]]) -> str:
    rows = "".join(f"| {given} | {does} |\n" for given, does in lines)
    return f"\n### {name}\n\n| | |\n|---|---|\n{rows}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
