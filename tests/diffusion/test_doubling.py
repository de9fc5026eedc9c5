"""A convolution of a doubled picture, in two ways."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from avatar_viewer.diffusion.doubling import Doubling


def plain(layer: Doubling, x: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(
        functional.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (16, 12)])
@torch.no_grad()
def test_the_fast_way_answers_the_same(size: tuple[int, int]):
    torch.manual_seed(0)
    layer, x = Doubling(5, 7), torch.randn(2, 5, *size)
    torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
    layer.weight.mul_(2)  # what was kept counts no more
    torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_in_bfloat16():
    torch.manual_seed(0)
    layer, x = Doubling(16, 8), torch.randn(1, 16, 8, 8)
    expected = plain(layer, x)
    found = layer.bfloat16()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.02)


def test_it_learns():
    layer, x = Doubling(3, 4), torch.randn(1, 3, 6, 6, requires_grad=True)
    assert torch.equal(layer(x), plain(layer, x))
    layer(x).square().mean().backward()
    assert x.grad is not None and x.grad.any()
    assert layer.weight.grad is not None and layer.weight.grad.any()
