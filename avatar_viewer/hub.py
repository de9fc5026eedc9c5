"""Avatars on the Hugging Face Hub."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATTERNS = ("*.yaml", "*.json", "*.safetensors", "README.md")
"""The files of an avatar: nothing that could run code."""


def download(repo_id: str, progress: Callable[[str], None]) -> Path:
    """The folder in which the files of "owner/name" lie, in the Hub's cache; what is there already
    is not fetched again. `progress` is told in words what is being loaded, and how much of it has
    come, from any thread. Raises whatever the Hub's client does."""
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    label = f"{repo_id} from the Hub"
    most_bytes = 0

    class Told(tqdm):
        """The client's bars, in words; it has one of files and, by version, one or two of bytes."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            nonlocal most_bytes
            if self.unit == "B" and self.total:
                most_bytes = max(most_bytes, int(self.n))
                progress(f"{label}: {most_bytes / 1e6:.1f} of {self.total / 1e6:.1f} MB")
            return True

    progress(label)
    return Path(snapshot_download(repo_id, allow_patterns=list(PATTERNS), tqdm_class=Told))
