"""Reads a torch checkpoint in a process of its own and hands its tensors on as safetensors.

    python -m avatar_viewer.head.unpickle CHECKPOINT OUT

`weights_only` loading builds nothing but tensors and plain containers; even so no pickle is ever
opened by the process that the person works in.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from avatar_viewer.errors import AvatarError, one_line

PARTS = ("decoder_state_dict", "latent_codes_state_dict")
"""Of a checkpoint; its optimizers are left behind."""


def unpickled(checkpoint: Path) -> dict[str, Tensor]:
    """The float32 tensors of a checkpoint's PARTS by "part/name"; AvatarError in one line."""
    from avatar_viewer.weights import load_tensors  # heavy, and the process below needs it not

    if not checkpoint.is_file():
        raise AvatarError(f"{checkpoint}: expected a torch checkpoint, found none")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tensors.safetensors"
        done = subprocess.run(
            [sys.executable, "-m", "avatar_viewer.head.unpickle", str(checkpoint), str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            found = (done.stderr.strip().splitlines() or ["its reader was killed"])[-1]
            if not found.startswith("expected"):
                found = f"expected a torch checkpoint, found: {found}"
            raise AvatarError(f"{checkpoint}: {found}")
        try:
            return load_tensors(out)
        except AvatarError as error:
            raise AvatarError(str(error).replace(str(out), str(checkpoint))) from error


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """The same in this process: only for one that does nothing else."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged or unsafe file
        raise AvatarError(
            f"expected a torch checkpoint of tensors, found: {one_line(error)[:200]}"
        ) from error
    tensors = {}
    for part in PARTS:
        state = content.get(part) if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise AvatarError(f"expected {part}, found none")
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise AvatarError(
                    f"expected {part}.{name} as a tensor, found {type(value).__name__}"
                )
            if value.layout != torch.strided or not value.is_floating_point() or value.is_meta:
                raise AvatarError(
                    f"expected {part}.{name} as a dense tensor of floats, "
                    f"found {value.layout} {value.dtype} on {value.device}"
                )
            tensors[f"{part}/{str(name).removeprefix('module.')}"] = value.float().clone()
    return tensors


if __name__ == "__main__":
    try:
        save_file(read_tensors(Path(sys.argv[1])), Path(sys.argv[2]))
    except AvatarError as known:
        sys.exit(str(known))
