"""How much arithmetic a quick picture is, and how much of the machine's speed it gets.

Counted are matrix products and convolutions, two operations for each multiplication with its
addition; measured is how fast the machine multiplies square matrices in the networks' dtype.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from avatar_viewer.avatar import Avatar
from avatar_viewer.live.bench.frames import Way

if TYPE_CHECKING:
    from avatar_viewer.device import Compute

COUNTED = {
    "embed": "ControlNetConditioningEmbedding",
    "unet": "Step.unet",
    "controlnet": "Step.controlnet",
    "decode": "Decoding",
}
"""By which modules each part of a picture is counted: those that `diffusion.runtime` runs."""
MATRIX_SIZES = {"cuda": (1024, 2048, 4096, 8192), "cpu": (512, 1024)}
ROUNDS = 10


def flops_figures(
    avatar: Avatar, way: Way, quick_ms: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Operations of a quick picture, in GFLOP, and how much of the rate of matrix products it
    reached, in percent: `quick_ms` are milliseconds by stage, as `frames.by_stage` gives them."""
    gflop = {name: flops / 1e9 for name, flops in quick_flops(avatar, way).items()}
    gflops = matrix_rate(avatar.compute) / 1e9

    def percent(operations: float, stage: str) -> float:
        return 100 * operations / (quick_ms[stage]["p50"] / 1e3 * gflops)

    return {
        "matrix_gflops": gflops,
        **{f"{name}_gflop": value for name, value in gflop.items()},
        "denoise_percent": percent(gflop["unet"] + gflop["controlnet"], "denoise"),
        "decode_percent": percent(gflop["decode"], "decode"),
        "frame_percent": percent(sum(gflop.values()), "total"),
    }


def quick_flops(avatar: Avatar, way: Way) -> dict[str, int]:
    """Operations of a quick picture of a new view, by the names in COUNTED."""
    first, second = way.quick(2)
    # In torch, for nothing else is counted, whatever runs the avatar.
    eager = Avatar(avatar.parts, avatar.compute)
    eager.render(first)  # computes what is kept for all views
    return counted(lambda: eager.render(second))


def counted(run: Callable[[], object]) -> dict[str, int]:
    """Operations of the networks that `run` calls, by the names in COUNTED."""
    # Of the ways in which torch attends, only the plain one is counted on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    by_module = {name: sum(by.values()) for name, by in counter.get_flop_counts().items()}
    return {name: by_module.get(module, 0) for name, module in COUNTED.items()}


def matrix_rate(compute: Compute) -> float:
    """Operations a second of the fastest matrix product."""
    return max(_rate(compute, size) for size in MATRIX_SIZES[compute.device.type])


def _rate(compute: Compute, size: int) -> float:
    """The best of some rounds, for two matrices [size,size]."""
    a, b = (torch.randn(size, size, device=compute.device).to(compute.dtype) for _ in range(2))
    repeats = 10 if compute.device.type == "cuda" else 1
    seconds = []
    for _ in range(ROUNDS):
        _synchronize(compute)
        began = time.perf_counter()
        for _ in range(repeats):
            torch.matmul(a, b)
        _synchronize(compute)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 * repeats / min(seconds)


def _synchronize(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
