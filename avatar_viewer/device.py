"""On what the networks run: device and number format."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from avatar_viewer.errors import AvatarError


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of the diffusion networks on it."""

    device: torch.device
    dtype: torch.dtype


def best_compute(device: str | None = None, dtype: torch.dtype | None = None) -> Compute:
    """The fastest choice on this machine; either part may be given instead.

    bfloat16 on CUDA and on processors that multiply it (AMX, AVX-512 BF16): elsewhere it is
    emulated and slower than float32.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise AvatarError(f"device: expected a usable GPU for {device}, found none")
    if dtype is None:
        fast_bf16 = device.startswith("cuda") or cpu_multiplies_bf16()
        dtype = torch.bfloat16 if fast_bf16 else torch.float32
    return Compute(torch.device(device), dtype)


def cpu_multiplies_bf16() -> bool:
    """Whether this processor multiplies bfloat16 numbers in hardware."""
    # Older releases of torch do not tell; float32 is right everywhere.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
