"""Where the networks run: the best choice here, and what is asked for instead."""

from __future__ import annotations

import pytest
import torch

from avatar_viewer.device import best_compute
from avatar_viewer.errors import AvatarError


def test_a_choice_is_kept():
    compute = best_compute("cpu", torch.float16)
    assert (compute.device, compute.dtype) == (torch.device("cpu"), torch.float16)


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_takes_bfloat16_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: torch.dtype
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert best_compute("cpu").dtype == dtype


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_compute().device == torch.device("cpu")
    with pytest.raises(AvatarError, match="device: expected a usable GPU for cuda, found none"):
        best_compute("cuda")
