"""Names for what is kept, after all that it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def digest_of(*parts: Any) -> str:
    """Sixteen hex digits that change with any part: tensors by name count with their shapes and
    numbers, paths with the bytes of their files, and all else as `repr` writes it."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(part.read_bytes() if part.is_file() else b"none")
        elif isinstance(part, Mapping):
            for name, value in part.items():
                _add(digest, name, value)
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _add(digest: Any, name: str, value: Any) -> None:
    digest.update(repr(name).encode())
    if not isinstance(value, Tensor):
        digest.update(repr(value).encode())
        return
    digest.update(repr((value.shape, value.dtype)).encode())
    digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
