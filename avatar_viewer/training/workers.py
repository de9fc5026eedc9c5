"""Several processes that train one model together, by Hugging Face Accelerate.

`accelerate launch -m avatar_viewer train ...` starts a process on every GPU, `torchrun
--nproc_per_node N -m avatar_viewer train ...` N of them on CPUs too. Each draws batches of its own;
gradients are averaged, so that all take the same step. Averaging them here rather than by a wrapper
around the model leaves a loss free to call whatever it likes of its networks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from avatar_viewer.device import best_compute
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import writing

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None


class Workers:
    """This process among those that were launched together; alone where there is no launcher."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints for all."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """What this process trains on."""
        return best_compute().device if self.count == 1 else self._accelerator.device

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in one exchange of float32."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        mean = self._accelerator.reduce(flat, reduction="mean")
        assert isinstance(mean, Tensor)
        parts = mean.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    @contextmanager
    def alone_in(self, folder: Path) -> Iterator[None]:
        """While the block runs no other training does so in the folder; AvatarError where one runs.

        The first process locks it for all. The lock ends with its process, a killed one's too.
        """
        if fcntl is None or not self.is_first:
            yield
            return
        path = folder / ".lock"
        with writing(path):
            file = path.open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AvatarError(
                    f"{folder}: expected no other training in this folder, "
                    "found one that is running"
                ) from error
            except OSError:  # a file system without locks is no reason not to train
                pass
            yield

    @cached_property
    def _accelerator(self):
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise AvatarError(
                "package accelerate: expected by a training of several processes, found none; "
                "pip install avatar-viewer[train]"
            ) from error
        return Accelerator(cpu=not torch.cuda.is_available())
