"""A convolution of what is first doubled in size, at less than half of the work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Which of a kernel's three rows (or columns) fall on one pixel of the small picture: every other
pixel of the large one sees two of them on the same."""


class Doubling(nn.Conv2d):
    """Pixels repeated 2 x 2, then a 3 x 3 convolution.

    Where nothing is learned, a CPU computes the same by a transposed convolution of the small
    picture: four products for each answer and channel in place of nine.
    """

    def __init__(self, channels: int, answers: int) -> None:
        super().__init__(channels, answers, 3, padding=1)
        self._kept: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,h,w] -> [B,answers,2h,2w]."""
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if x.device.type != "cpu" or learns or torch.compiler.is_compiling():
            return super().forward(functional.interpolate(x, scale_factor=2))
        return functional.conv_transpose2d(x, self._transposed(), self.bias, stride=2, padding=1)

    def _transposed(self) -> Tensor:
        """[C,answers,4,4]; kept while the weights last."""
        key = (self.weight.data_ptr(), self.weight._version)
        if self._kept is None or self._kept[0] != key:
            taps = torch.tensor(TAPS)
            kernel = taps @ self.weight.detach().float() @ taps.T
            kernel = kernel.transpose(0, 1).to(self.weight)
            self._kept = key, kernel.contiguous(memory_format=torch.channels_last)
        return self._kept[1]
