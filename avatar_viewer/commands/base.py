"""What all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

PROGRAM = "avatar-viewer"

Source = Annotated[
    str | None,
    tyro.conf.arg(metavar="FOLDER|HUB_ID", help_behavior_hint="(default: the embedded avatar)"),
]
Optional = tyro.conf.arg(help_behavior_hint="(optional)")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has."""

    debug: bool = False
    """Show tracebacks of errors."""

    def run(self) -> None:
        """Do it; raises AvatarError for what the person can mend."""
        raise NotImplementedError
