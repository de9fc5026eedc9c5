"""From Gaussian noise to latents in k steps, over diffusers' schedulers.

The schedule is the paper's: 1000 steps, v-prediction, zero terminal SNR, trailing spacing (Lin et
al. 2024), without which few-step sampling starts from the wrong noise level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor

from avatar_viewer.errors import RenderCancelled
from avatar_viewer.stages import SamplerName

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(latents [B,C,h,w], timestep [] on the CPU) -> predicted v, same shape."""

TRAINING_STEPS = 1000

REGRESSION: Literal["sample"] = "sample"
"""diffusers' name, among prediction types, for a network that answers the clean latents: one
trained to do so in a single pass, without noise (deferred neural rendering)."""


def training_schedule(
    prediction_type: Literal["v_prediction", "sample"] = "v_prediction",
) -> DDIMScheduler:
    """The noise schedule that the network is trained on and sampled with.

    With prediction_type REGRESSION only its last timestep is used, as the constant that the
    network is given.
    """
    return DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction_type,
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
    predicts the clean latents and adds fresh noise, drawn from the seed. Neither is asked where the
    schedule says REGRESSION: then one pass answers, whatever the noise and the steps.
    """

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        if cancelled():
            raise RenderCancelled
        return denoise(latents, timestep).float()

    if schedule.config["prediction_type"] == REGRESSION:
        return predict(torch.zeros_like(noise), trailing_timesteps(schedule, 1)[0])
    if sampler == "ddim":
        return _ddim(predict, noise, schedule, steps)
    return _lcm(predict, noise, schedule, steps, seed)


def trailing_timesteps(schedule: DDIMScheduler, steps: int) -> Tensor:
    """[steps] from the last timestep down, evenly spaced."""
    spacing = schedule.config["num_train_timesteps"] / steps
    return (torch.arange(steps, 0, -1) * spacing).round().long() - 1


def _ddim(predict: Denoise, latents: Tensor, schedule: DDIMScheduler, steps: int) -> Tensor:
    # diffusers' own step goes 1000 // steps back, not to the next timestep, and so leaves noise
    # in the latents wherever `steps` does not divide 1000.
    timesteps = trailing_timesteps(schedule, steps)
    alpha_bars = torch.cat([schedule.alphas_cumprod[timesteps], torch.ones(1)])
    for timestep, now, after in zip(timesteps, alpha_bars[:-1], alpha_bars[1:], strict=True):
        v = predict(latents, timestep)
        clean = now.sqrt() * latents - (1 - now).sqrt() * v
        noise = now.sqrt() * v + (1 - now).sqrt() * latents
        latents = after.sqrt() * clean + (1 - after).sqrt() * noise
    return latents


def _lcm(
    predict: Denoise, latents: Tensor, schedule: DDIMScheduler, steps: int, seed: int
) -> Tensor:
    lcm = LCMScheduler.from_config(schedule.config)
    assert isinstance(lcm, LCMScheduler)
    # LCM picks its timesteps from a coarser grid, whose spacing must divide 1000 to reach its end.
    lcm.set_timesteps(steps, original_inference_steps=50 if steps <= 50 else TRAINING_STEPS)
    generator = torch.Generator().manual_seed(seed + 1)
    for timestep in lcm.timesteps:
        v = predict(latents, timestep)
        latents = lcm.step(v, int(timestep), latents, generator, return_dict=False)[0]
    return latents
