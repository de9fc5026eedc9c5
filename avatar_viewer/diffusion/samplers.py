"""From Gaussian noise to latents in k steps, over diffusers' schedulers.

The schedule is the paper's: 1000 steps, v-prediction, zero terminal SNR, trailing spacing (Lin et
al. 2024), without which few-step sampling starts from the wrong noise level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor

from avatar_viewer.errors import RenderCancelled
from avatar_viewer.stages import SamplerName

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(latents [B,C,h,w], timestep []) -> predicted v, same shape."""

TRAINING_STEPS = 1000


def training_schedule() -> DDIMScheduler:
    """The noise schedule that the network is trained on and sampled with."""
    return DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def initial_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """The seed's noise, drawn on the CPU so that it is the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample(
    denoise: Denoise,
    noise: Tensor,
    schedule: DDIMScheduler,
    *,
    steps: int,
    sampler: SamplerName,
    seed: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Denoise `noise` [B,C,h,w] in `steps`; raises RenderCancelled between two steps.

    DDIM (Song et al. 2021, eq. 12, eta 0) is deterministic; LCM (Luo et al. 2023, algorithm 3)
    predicts the clean latents and adds fresh noise, drawn from the seed.
    """
    scheduler = _scheduler(schedule, sampler, steps)
    generator = torch.Generator().manual_seed(seed + 1)
    extra = {"generator": generator} if sampler == "lcm" else {}
    latents = noise
    for timestep in scheduler.timesteps:
        if cancelled():
            raise RenderCancelled
        v = denoise(latents, timestep.to(noise.device)).float()
        latents = scheduler.step(v, timestep, latents, **extra).prev_sample
    return latents


def _scheduler(
    schedule: DDIMScheduler, sampler: SamplerName, steps: int
) -> DDIMScheduler | LCMScheduler:
    """A scheduler of its own for each call, since diffusers' schedulers hold state."""
    if sampler == "ddim":
        ddim = DDIMScheduler.from_config(schedule.config)
        ddim.set_timesteps(steps)
        return ddim
    lcm = LCMScheduler.from_config(schedule.config)
    # LCM picks its timesteps from a finer grid, which must have at least as many.
    lcm.set_timesteps(steps, original_inference_steps=max(50, steps))
    return lcm
