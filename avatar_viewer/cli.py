"""The command line: each command is one lazy import and one call.

Nothing heavy is imported here, so that `--help` and the window come at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import tyro

from avatar_viewer import __version__
from avatar_viewer.commands.base import PROGRAM
from avatar_viewer.commands.drive import Transfer
from avatar_viewer.commands.judge import (
    Evaluate,
    EvaluateAblation,
    EvaluateDistillation,
    EvaluateHead,
    EvaluateTransfer,
)
from avatar_viewer.commands.make import Data, DataImport, Fit, Import, Synthesize, Train
from avatar_viewer.commands.show import Bench, Mesh, Render, View
from avatar_viewer.errors import AvatarError, in_lines

DESCRIPTION = """A real-time viewer of diffusion-rendered 3D head avatars.

Without a command it opens the viewer: `avatar-viewer [--ckpt ...]` is `avatar-viewer view ...`.
`avatar-viewer --version` prints the version.
"""

# An option is left out instead of given as None; --debug has no --no-debug.
STYLE = (tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff)
COMMANDS = {
    "view": View,
    "render": Render,
    "mesh": Mesh,
    "train": Train,
    "data": Data,
    "data import": DataImport,
    "data synthesize": Synthesize,
    "import": Import,
    "fit": Fit,
    "transfer": Transfer,
    "bench": Bench,
    "evaluate": Evaluate,
    "evaluate head": EvaluateHead,
    "evaluate ablation": EvaluateAblation,
    "evaluate distillation": EvaluateDistillation,
    "evaluate transfer": EvaluateTransfer,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 2 for an AvatarError, said in one line for each problem."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:  # which may stand before the command too
        words = [*(word for word in words if word != "--debug"), "--debug"]
    if "--version" in words:
        print(f"{PROGRAM} {__version__}")
        return 0
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "view")
    if (two_words := " ".join(words[:2])) in COMMANDS:
        words[:2] = [two_words]
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog=PROGRAM, description=DESCRIPTION, args=words, config=STYLE
    )
    try:
        command.run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output, as `head` does, has had enough; nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as a program that SIGPIPE ends
    except AvatarError as error:
        if command.debug:
            traceback.print_exc()
        print(f"{PROGRAM}: error: {in_lines(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
