"""Where the networks run: the best choice here, and what is asked for instead."""

from __future__ import annotations

import pytest
import torch

from avatar_viewer import device
from avatar_viewer.device import best_compute
from avatar_viewer.errors import AvatarError


def test_a_choice_is_kept():
    compute = best_compute("cpu", torch.float16)
    assert (compute.device, compute.dtype) == (torch.device("cpu"), torch.float16)


@pytest.mark.parametrize(("amx", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_takes_bfloat16_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, amx: bool, dtype: torch.dtype
):
    monkeypatch.setattr(device, "cpu_has_amx_bf16", lambda: amx)
    assert best_compute("cpu").dtype == dtype


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_compute().device == torch.device("cpu")
    with pytest.raises(AvatarError, match="device: expected a usable GPU for cuda, found none"):
        best_compute("cuda")
