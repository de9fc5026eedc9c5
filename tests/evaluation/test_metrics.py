"""PSNR and SSIM against their definitions, and the box that they are taken in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.metrics import (
    HEAD_LOWEST_M,
    HEAD_MARGIN,
    Box,
    head_box,
    joined,
    pixel_scores,
    psnr,
    ssim_map,
)
from avatar_viewer.stages import GBuffer

WHOLE = Box(0, 0, 32, 32)


def noise_picture(seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (size, size, 3), np.uint8)


def test_psnr_of_a_known_error():
    truth = noise_picture()
    off_by_ten = truth + np.uint8(10)
    assert psnr(off_by_ten, truth) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(truth, off_by_ten) == psnr(off_by_ten, truth)
    one_channel = truth.copy()
    one_channel[..., 1] += 30
    assert psnr(one_channel, truth) == pytest.approx(10 * np.log10(255**2 / 300))


def ssim_reference(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004: Gaussian window of 11 x 11, sigma 1.5, away from the border."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def blurred(x: np.ndarray) -> np.ndarray:
        patches = np.lib.stride_tricks.sliding_window_view(x, (11, 11))
        return np.einsum("hwij,ij->hw", patches, window)

    values = []
    for x, y in zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        mx, my = blurred(x), blurred(y)
        vx, vy, cov = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_is_the_papers():
    truth = noise_picture(0)
    truth[:, :16] = np.arange(32)[:, None, None] * 3  # smooth on one side
    mixed = (0.6 * truth + 0.4 * noise_picture(1)).astype(np.uint8)
    assert pixel_scores(mixed, truth, WHOLE)["ssim"] == pytest.approx(
        ssim_reference(mixed, truth), abs=1e-6
    )


def test_equal_and_unlike_pictures():
    truth = noise_picture()
    equal = pixel_scores(truth, truth, WHOLE)
    assert equal == {"psnr": np.inf, "ssim": 1, "psnr_full": np.inf, "ssim_full": 1}
    near, unlike = (
        pixel_scores(other, truth, WHOLE)["ssim"]
        for other in (truth + np.uint8(3), noise_picture(1))
    )
    assert near > 0.95 > 0.2 > unlike


def test_only_the_box_counts():
    """An error outside the box changes the whole picture's figures alone, and conversely."""
    truth, box = noise_picture(), Box(8, 6, 24, 26)
    outside, inside = truth.copy(), truth.copy()
    outside[-1, -1] += 50
    inside[7, 9] += 50
    scores = pixel_scores(outside, truth, box)
    assert scores["psnr"] == np.inf and scores["ssim"] == 1
    assert scores["psnr_full"] < np.inf and scores["ssim_full"] < 1
    scores = pixel_scores(inside, truth, box)
    expected = 10 * np.log10(255**2 * 16 * 20 / 50**2)
    assert scores["psnr"] == pytest.approx(expected) and scores["ssim"] < 1
    assert scores["psnr_full"] > scores["psnr"]


def test_ssim_is_unknown_at_the_border_only():
    known = ~np.isnan(ssim_map(noise_picture(0), noise_picture(1)))
    assert known[5:-5, 5:-5].all() and known.sum() == 22 * 22
    corner = pixel_scores(noise_picture(0), noise_picture(1), Box(0, 0, 8, 8))
    assert np.isfinite(corner["ssim"])


def seen(mask: torch.Tensor, height: torch.Tensor) -> GBuffer:
    """A G-buffer whose canonical y is `height`."""
    canonical = torch.zeros(*mask.shape, 3)
    canonical[..., 1] = height
    return GBuffer(mask, mask.float(), torch.zeros_like(canonical), canonical)


def test_the_heads_box():
    mask = torch.zeros(100, 200, dtype=torch.bool)
    mask[30:, 50:91] = True
    # What lies below the chin is row 71 and on; a unit is half a metre here.
    height = torch.where(torch.arange(100) < 71, 0.0, 2 * HEAD_LOWEST_M - 0.01)[:, None]
    height = height.expand(100, 200).clone()

    def box(mask: torch.Tensor) -> Box:
        return head_box(seen(mask, height), 2.0, "frame x")

    margin = round(40 * HEAD_MARGIN)
    assert margin > 0
    assert box(mask) == Box(50 - margin, 30 - margin, 91 + margin, 71 + margin)
    mask[0, 199] = True
    assert box(mask) == Box(50 - 15, 0, 200, 71 + 15)
    picture = np.arange(100 * 200).reshape(100, 200)
    assert Box(3, 5, 10, 6).cut(picture).tolist() == [list(range(1003, 1010))]
    with pytest.raises(AvatarError, match=r"^frame x: expected the head in .*, found it outside"):
        box(mask & False)


def test_a_box_around_boxes():
    assert joined([Box(3, 5, 10, 6), Box(4, 1, 8, 9)]) == Box(3, 1, 10, 9)
