"""What networks are trained on: denoising (paper, section 3.4), and likeness of pictures."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional

from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.samplers import trailing_timesteps
from avatar_viewer.training.views import Batch

SSIM_RADIUS_PX, SSIM_SIGMA_PX = 5, 1.5
"""Of the Gaussian window (Wang et al. 2004), as `evaluate` measures."""


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


def dissimilarity(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) of pictures [B,3,H,W] in -1..1, as a mean over channels and over
    pixels by their weight [B,1,H,W]; windows that would reach over the border do not count."""
    # Variances are small differences of squares, of which bfloat16 keeps nothing.
    with torch.autocast(found.device.type, enabled=False):
        return _dissimilarity(found.float(), truth.float(), weight)


def _dissimilarity(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    # Its term of brightness knows no negative colours.
    found, truth = found / 2 + 0.5, truth / 2 + 0.5
    offsets = torch.arange(-SSIM_RADIUS_PX, SSIM_RADIUS_PX + 1, device=found.device)
    window = (-offsets.square() / (2 * SSIM_SIGMA_PX**2)).exp()
    window = window / window.sum()
    moments = torch.cat([found, truth, found.square(), truth.square(), found * truth], dim=1)
    kernel = window.expand(moments.shape[1], 1, 1, -1)
    means = functional.conv2d(moments, kernel, groups=moments.shape[1])
    means = functional.conv2d(means, kernel.transpose(2, 3), groups=moments.shape[1])
    a, b, aa, bb, ab = means.chunk(5, dim=1)
    brightness = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
    structure = (2 * (ab - a * b) + 0.03**2) / (aa - a * a + bb - b * b + 0.03**2)
    inner = slice(SSIM_RADIUS_PX, -SSIM_RADIUS_PX)
    return ((1 - brightness * structure) * weight[..., inner, inner]).mean()
