"""What denoising is trained on (paper, section 3.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional

from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.samplers import trailing_timesteps
from avatar_viewer.training.views import Batch


class Noised(NamedTuple):
    """Latents at random times."""

    latents: Tensor
    """[B,C,h,w] alpha * latents + sigma * noise."""
    times: Tensor
    """[B] int64."""
    velocity: Tensor
    """[B,C,h,w] v = alpha * noise - sigma * latents, which the network learns to say."""


def noised(
    latents: Tensor,
    schedule: DDIMScheduler,
    generator: torch.Generator,
    pure_noise_share: float = 0.0,
) -> Noised:
    """Noise for latents [B,C,h,w], at times spread evenly but for a share at the last one."""
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    end = schedule.config["num_train_timesteps"]
    times = torch.randint(end, (len(latents),), generator=generator)
    times[torch.rand(len(latents), generator=generator) < pure_noise_share] = end - 1
    times = times.to(latents.device)
    return Noised(
        schedule.add_noise(latents, noise, times),  # pyright: ignore[reportArgumentType]
        times,
        schedule.get_velocity(latents, noise, times),  # pyright: ignore[reportArgumentType]
    )


def v_loss(
    denoiser: Denoiser,
    batch: Batch,
    schedule: DDIMScheduler,
    generator: torch.Generator,
    pure_noise_share: float = 0.0,
) -> Tensor:
    """Mean squared error of v."""
    noisy = noised(batch.latents, schedule, generator, pure_noise_share)
    conditioning = denoiser.condition(batch.gbuffers, batch.codes)
    found = denoiser(noisy.latents, noisy.times, conditioning)
    return functional.mse_loss(found.float(), noisy.velocity)


def regression_loss(denoiser: Denoiser, batch: Batch, schedule: DDIMScheduler) -> Tensor:
    """Mean absolute error of the latents that one pass answers, without diffusion."""
    conditioning = denoiser.condition(batch.gbuffers, batch.codes)
    last = trailing_timesteps(schedule, 1)[0].to(batch.latents.device)
    found = denoiser(torch.zeros_like(batch.latents), last, conditioning)
    return functional.l1_loss(found.float(), batch.latents)
