"""The noise schedule and the two samplers, against the papers' equations."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from avatar_viewer.diffusion.samplers import (
    REGRESSION,
    TRAINING_STEPS,
    initial_noise,
    sample,
    trailing_timesteps,
    training_schedule,
)
from avatar_viewer.errors import RenderCancelled

SHAPE = (2, 3, 4, 4)
CLEAN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
DIVISORS, OTHERS = (1, 2, 4, 8, 20), (3, 6, 7, 15, 61, 600)


def zero_snr_alpha_bars() -> np.ndarray:
    """[1000] of Lin et al. 2024, algorithm 1, from Stable Diffusion's betas."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TRAINING_STEPS) ** 2
    root = np.sqrt(np.cumprod(1 - betas))
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def oracle(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The exact v of CLEAN's noisy version x."""
    alpha_bar = training_schedule().alphas_cumprod[t]
    return (alpha_bar.sqrt() * x - CLEAN) / (1 - alpha_bar).sqrt()


def bent(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Some function that depends on both of its arguments."""
    return torch.sin(2 * x) + 0.3 * torch.cos(t / 100.0)


def ddim_reference(x: np.ndarray, steps: int) -> np.ndarray:
    """Song et al. 2021, eq. 12 with sigma = 0; v as in Salimans & Ho 2022."""
    alpha_bars = zero_snr_alpha_bars()
    times = [round(TRAINING_STEPS * (steps - i) / steps) - 1 for i in range(steps)]
    for now, after in zip(times, [*times[1:], None], strict=True):
        alpha, sigma = np.sqrt(alpha_bars[now]), np.sqrt(1 - alpha_bars[now])
        v = np.sin(2 * x) + 0.3 * np.cos(now / 100)
        x0, epsilon = alpha * x - sigma * v, sigma * x + alpha * v
        next_bar = 1.0 if after is None else alpha_bars[after]
        x = np.sqrt(next_bar) * x0 + np.sqrt(1 - next_bar) * epsilon
    return x


def sampled(denoise, steps, sampler="ddim", seed=0, noise=None, **options) -> torch.Tensor:
    noise = initial_noise(SHAPE, seed) if noise is None else noise
    schedule = training_schedule()
    return sample(denoise, noise, schedule, steps=steps, sampler=sampler, seed=seed, **options)


def test_the_schedule_ends_in_pure_noise():
    alpha_bars = training_schedule().alphas_cumprod.numpy()
    assert alpha_bars[-1] == 0
    np.testing.assert_allclose(alpha_bars, zero_snr_alpha_bars(), atol=2e-6)


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
def test_regression_asks_once_for_the_clean_latents(sampler):
    """Whatever the noise, the steps and the sampler."""
    asked = []

    def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append((x, int(t)))
        return CLEAN

    schedule, noise = training_schedule(REGRESSION), initial_noise(SHAPE, 1)
    found = sample(answer, noise, schedule, steps=5, sampler=sampler, seed=3)
    assert torch.equal(found, CLEAN)
    (latents, time), *more = asked
    assert more == [] and time == TRAINING_STEPS - 1 and not latents.any()


def test_the_schedules_v_is_what_the_samplers_take():
    schedule, noise = training_schedule(), initial_noise(SHAPE, 1)
    times = torch.tensor([999, 300])
    noisy = schedule.add_noise(CLEAN, noise, times)
    torch.testing.assert_close(noisy[0], noise[0])
    velocity = schedule.get_velocity(CLEAN, noise, times)
    for i, time in enumerate(times):
        torch.testing.assert_close(velocity[i], oracle(noisy, time)[i])


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
@pytest.mark.parametrize("steps", [1, 3, 4, 49, 50, 51, 61, 122, 999, 1000])
def test_every_number_of_steps_starts_at_the_end_and_goes_down(sampler, steps):
    times = []

    def denoise(x, t):
        times.append(int(t))
        return torch.zeros_like(x)

    sampled(denoise, steps, sampler, noise=torch.zeros(1, 1, 1, 1))
    assert len(times) == steps and times[0] == 999 and times[-1] >= 0
    assert all(a > b for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("steps", DIVISORS)
def test_spacing_is_diffusers_trailing_one(steps):
    scheduler = DDIMScheduler.from_config(training_schedule().config)
    scheduler.set_timesteps(steps)
    assert trailing_timesteps(training_schedule(), steps).tolist() == scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", [*DIVISORS, *OTHERS])
def test_ddim_recovers_what_an_oracle_knows(steps):
    torch.testing.assert_close(sampled(oracle, steps), CLEAN, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", DIVISORS)
def test_lcm_recovers_what_an_oracle_knows(steps):
    torch.testing.assert_close(sampled(oracle, steps, "lcm"), CLEAN, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [*DIVISORS, *OTHERS])
def test_ddim_is_the_papers_equation(steps):
    noise = initial_noise(SHAPE, 3)
    expected = ddim_reference(noise.double().numpy(), steps)
    np.testing.assert_allclose(sampled(bent, steps, noise=noise).numpy(), expected, atol=1e-3)


def test_lcm_adds_fresh_noise_of_its_seed_to_the_predicted_clean_latents():
    steps, seed = 3, 11
    alpha_bars = training_schedule().alphas_cumprod
    times: list[int] = []

    def denoise(x, t):
        times.append(int(t))
        return bent(x, t)

    noise = initial_noise(SHAPE, seed)
    found = sampled(denoise, steps, "lcm", seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x = noise
    for i, t in enumerate(times):
        clean = alpha_bars[t].sqrt() * x - (1 - alpha_bars[t]).sqrt() * bent(x, torch.tensor(t))
        x = clean
        if i + 1 < steps:
            after = alpha_bars[times[i + 1]]
            fresh = torch.randn(SHAPE, generator=generator)
            x = after.sqrt() * clean + (1 - after).sqrt() * fresh
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
def test_the_seed_alone_decides(sampler):
    torch.manual_seed(0)
    first = sampled(bent, 3, sampler, seed=4)
    torch.manual_seed(1)
    assert torch.equal(sampled(bent, 3, sampler, seed=4), first)
    assert not torch.allclose(sampled(bent, 3, sampler, seed=5), first)


def test_ddim_is_deterministic_and_lcm_is_not_without_its_seed():
    noise = initial_noise(SHAPE, 0)
    assert torch.equal(sampled(bent, 4, seed=1, noise=noise), sampled(bent, 4, seed=2, noise=noise))
    one, other = (sampled(bent, 4, "lcm", seed=s, noise=noise) for s in (1, 2))
    assert not torch.allclose(one, other)


def test_noise_is_standard_normal_and_of_its_seed():
    noise = initial_noise((64, 64), 9)
    assert noise.mean().abs() < 0.05 and (noise.std() - 1).abs() < 0.05
    assert torch.equal(noise, initial_noise((64, 64), 9))
    assert not torch.equal(noise, initial_noise((64, 64), 10))
    initial_noise((1,), 2**63 - 1)  # the largest seed of a request
    sampled(bent, 2, "lcm", seed=2**63 - 1)


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
@pytest.mark.parametrize("done", [0, 2])
def test_a_cancelled_render_denoises_no_further(sampler, done):
    calls = []

    def denoise(x, t):
        calls.append(t)
        return torch.zeros_like(x)

    with pytest.raises(RenderCancelled):
        sampled(denoise, 4, sampler, cancelled=lambda: len(calls) == done)
    assert len(calls) == done


def test_the_schedule_itself_is_left_alone():
    schedule, noise = training_schedule(), initial_noise(SHAPE, 0)
    before = dict(schedule.__dict__)
    for sampler in ("ddim", "lcm"):
        sample(bent, noise, schedule, steps=3, sampler=sampler, seed=0)
    assert schedule.__dict__.keys() == before.keys()
    assert schedule.num_inference_steps is None and len(schedule.timesteps) == TRAINING_STEPS
    assert torch.equal(noise, initial_noise(SHAPE, 0))


def test_half_precision_predictions_leave_the_latents_in_float32():
    result = sampled(lambda x, t: bent(x, t).bfloat16(), 2)
    assert result.dtype == torch.float32
