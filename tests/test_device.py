"""Where the networks run: the best choice here, and what is asked for instead."""

from __future__ import annotations

import subprocess
import sys

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


@pytest.mark.parametrize(("given", "expected"), [(None, "30000"), ("7", "7")])
def test_torchs_idle_threads_leave_the_cores_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if given is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    told = "import avatar_viewer, os, sys; assert 'torch' not in sys.modules"
    script = f"{told}; print(os.environ['GOMP_SPINCOUNT'])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == expected
