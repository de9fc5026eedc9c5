"""Likeness of pictures, as training weighs it."""

import numpy as np
import torch

from avatar_viewer.evaluation.metrics import ssim_map
from avatar_viewer.training.losses import dissimilarity


def test_dissimilarity_is_what_evaluation_measures():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    noisy = (truth + generator.normal(0, 30, truth.shape)).clip(0, 255).astype(np.uint8)
    found, given = (
        torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1 for picture in (noisy, truth)
    )
    everywhere = torch.ones(1, 1, *truth.shape[:2])
    expected = 1 - np.nanmean(ssim_map(noisy, truth))
    assert abs(dissimilarity(found, given, everywhere).item() - expected) < 1e-5
    assert dissimilarity(given, given, everywhere).item() < 1e-6


def test_dissimilarity_is_exact_where_networks_run_in_bfloat16():
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 24, 24) * 0.02 + 0.9  # nearly even, where variances are small
    found = truth + 0.01 * torch.randn_like(truth)
    weight = torch.ones(1, 1, 24, 24)
    expected = dissimilarity(found, truth, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert dissimilarity(found, truth, weight) == expected
