"""From a decoder's answer to bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_viewer.diffusion import picture_kernel
from avatar_viewer.diffusion.finished_picture import finished, plain_finished
from avatar_viewer.errors import AvatarError


@pytest.mark.parametrize("colours", [3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_compiled_pass_writes_the_same_bytes(
    colours: int, dtype: torch.dtype, layout: torch.memory_format
):
    torch.manual_seed(0)
    # Also beyond -1 and 1, and halfway between two bytes.
    pictures = torch.randn(2, colours, 24, 40)
    pictures[1] = torch.randint(-3, 512, pictures[1].shape) / 255 - 1
    for picture in pictures.to(dtype).contiguous(memory_format=layout):
        (rgb, opacity, finite), plain = (
            way(picture) for way in (picture_kernel.finished, plain_finished)
        )
        assert rgb.shape == (24, 40, 3) and rgb.dtype == np.uint8 and finite
        np.testing.assert_array_equal(rgb, plain[0])
        assert (opacity is None) == (plain[1] is None) == (colours == 3)
        if colours == 4:
            np.testing.assert_array_equal(opacity, plain[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (3, 23, 39), (1, 12, 7)])
def test_what_is_not_finite_is_no_picture(value: float, place: tuple[int, int, int]):
    picture = torch.zeros(4, 24, 40)
    picture[place] = value
    assert not plain_finished(picture)[2]
    with pytest.raises(AvatarError, match="picture: expected finite colours, found NaN or inf"):
        finished(picture)
