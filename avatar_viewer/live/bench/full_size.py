"""An avatar of the paper's own sizes with random weights: its speed does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import Parts, load_head
from avatar_viewer.avatar_info import AvatarInfo, read_avatar_info
from avatar_viewer.config import DEMO_FOLDER, RuntimeName
from avatar_viewer.device import Compute
from avatar_viewer.diffusion.autoencoder import pixels_per_latent
from avatar_viewer.diffusion.full_size import full_size_denoiser, full_size_tiny, full_size_vae
from avatar_viewer.diffusion.runtime import Decoding, cache_folder, choose_runtime
from avatar_viewer.diffusion.samplers import TRAINING_STEPS, training_schedule
from avatar_viewer.diffusion.step import Step
from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.live.bench.flops import counted, matrix_rate

NAME = "sd21"
RESOLUTION_PX = 512
UNIT_BOX: Box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def full_size_avatar(
    compute: Compute, runtime: RuntimeName, notify: Callable[[str], None]
) -> Avatar:
    """The embedded avatar's head and expressions with the paper's networks, at 512 x 512."""
    info, head = _info(), load_head(DEMO_FOLDER / "head", compute.device)
    box = head.nphm.config["box_min"], head.nphm.config["box_max"]
    with torch.device(compute.device):
        denoiser = full_size_denoiser(info.expression_dim, box)
        vae, tiny = full_size_vae(), full_size_tiny()
    layout: dict[str, Any] = {"dtype": compute.dtype, "memory_format": torch.channels_last}
    for network in (denoiser.unet, denoiser.controlnet, vae, tiny):
        nn.Module.to(network, **layout)
    for network in (denoiser, vae, tiny):
        network.eval().requires_grad_(False)
    if compute.device.type == "cuda":  # what it took to make them does not count
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(compute.device)
    cache = cache_folder(DEMO_FOLDER)
    make = partial(choose_runtime, runtime, device=compute.device, cache=cache, say=notify)
    parts = Parts(info, head, denoiser, vae, training_schedule(), tiny=tiny)
    return Avatar(parts, compute, make)


def full_size_bound(compute: Compute) -> dict[str, Any]:
    """What a picture of that size costs at least where it is too slow to measure: operations in
    GFLOP, and seconds at this machine's rate of matrix products."""
    gflop = {name: flops / 1e9 for name, flops in full_size_flops().items()}
    gflops = matrix_rate(compute) / 1e9
    return {
        "avatar": _info().name,
        "matrix_gflops": gflops,
        **{f"{name}_gflop": value for name, value in gflop.items()},
        "least_s": sum(gflop.values()) / gflops,
    }


def full_size_flops() -> dict[str, int]:
    """Operations of a picture in one step, by the names in `flops.COUNTED`; nothing is computed."""
    with torch.device("meta"):
        denoiser = full_size_denoiser(_info().expression_dim, UNIT_BOX)
        tiny = full_size_tiny()
        step, decoding = Step(denoiser), Decoding(tiny)
        latents_px = RESOLUTION_PX // pixels_per_latent(tiny)
        latents = torch.empty(1, denoiser.unet.config["in_channels"], latents_px, latents_px)
        control_px = RESOLUTION_PX // denoiser.fold_factor
        channels = denoiser.controlnet.config["conditioning_channels"]
        control = torch.empty(1, channels, control_px, control_px)
        tokens = torch.empty(
            1, denoiser.encoder.config["tokens"], denoiser.encoder.config["token_dim"]
        )
        times = step.times(torch.tensor(TRAINING_STEPS - 1))

    def picture() -> None:
        step(latents, times, step.embed(control), tokens)
        decoding(latents)

    with torch.inference_mode():
        return counted(picture)


def _info() -> AvatarInfo:
    info = read_avatar_info(DEMO_FOLDER / "avatar.yaml")
    name = "the paper's sizes, RANDOM weights"
    return replace(info, name=name, resolution_px=RESOLUTION_PX, quick_steps=1)
