"""Several processes that train one model together, by Hugging Face Accelerate.

`accelerate launch -m avatar_viewer train ...` starts a process on every GPU, `torchrun
--nproc_per_node N -m avatar_viewer train ...` N of them on CPUs too. Each draws batches of its own;
gradients are averaged, so that all take the same step. Averaging them here rather than by a wrapper
around the model leaves a loss free to call whatever it likes of its networks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from avatar_viewer.device import best_compute
from avatar_viewer.errors import AvatarError


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
