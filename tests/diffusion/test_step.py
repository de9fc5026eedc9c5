"""A step with kept constants against the denoiser's own forward pass."""

from __future__ import annotations

import pytest
import torch
from tiny import CODE_DIM, LATENT_CHANNELS, PIXELS_PER_LATENT, fill_zero_layers, tiny_unet

from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.runtime import KEPT_TIMESTEPS, Networks, eager_runtime
from avatar_viewer.diffusion.step import Given, Part, Step, Times
from avatar_viewer.stages import Conditioning

SIZE = 8
BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def a_denoiser(prompt_tokens: int, expression_attention: bool = True) -> Denoiser:
    config = DenoiserConfig(
        CODE_DIM,
        pixels_per_latent=PIXELS_PER_LATENT,
        plane_channels=2,
        plane_resolution=8,
        stem_channels=(16,),
        prompt_tokens=prompt_tokens,
        expression_attention=expression_attention,
    )
    torch.manual_seed(0)
    denoiser = Denoiser.build(tiny_unet(), config, BOX).eval().requires_grad_(False)
    fill_zero_layers(denoiser)
    return denoiser


def inputs(denoiser: Denoiser, seed: int = 0) -> tuple[torch.Tensor, Conditioning]:
    generator = torch.Generator().manual_seed(seed)
    channels = denoiser.controlnet.config["conditioning_channels"]
    latents = torch.randn(1, LATENT_CHANNELS, SIZE, SIZE, generator=generator)
    control = torch.randn(1, channels, SIZE, SIZE, generator=generator)
    return latents, Conditioning(control, denoiser.encoder(torch.randn(1, CODE_DIM)))


@pytest.mark.parametrize("prompt_tokens", [1, 3])
@pytest.mark.parametrize("attention", [True, False])
def test_a_step_answers_what_the_denoiser_does(prompt_tokens: int, attention: bool):
    denoiser = a_denoiser(prompt_tokens, attention)
    step = Step(denoiser)
    for seed in range(3):
        latents, conditioning = inputs(denoiser, seed)
        embedded = step.embed(conditioning.control)
        for timestep in (torch.tensor(999), torch.tensor(10), torch.tensor(999)):
            expected = denoiser(latents, timestep, conditioning)
            times = step.times(timestep)
            found = step(latents, times, embedded, conditioning.expression_tokens)
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_the_weights_are_the_denoisers_and_its_layers_stay():
    denoiser = a_denoiser(1)
    before = denoiser.state_dict()
    step = Step(denoiser)
    given = {parameter.data_ptr() for parameter in denoiser.parameters()}
    assert all(parameter.data_ptr() in given for parameter in step.parameters())
    assert denoiser.state_dict().keys() == before.keys()
    latents, conditioning = inputs(denoiser)
    times = step.times(torch.tensor(5))
    step(latents, times, step.embed(conditioning.control), conditioning.expression_tokens)
    kinds = {type(module) for module in denoiser.modules()}
    assert not kinds & {Times, Given, Part}


def test_a_timestep_is_computed_once():
    denoiser = a_denoiser(1)
    step = Step(denoiser)
    runtime = eager_runtime(Networks({False: step}, {}))
    latents, conditioning = inputs(denoiser)
    embedded = runtime.embed(conditioning.control, teacher=False)
    counted = []
    step.times.register_forward_hook(lambda *_: counted.append(1))

    def denoise(timestep: int) -> None:
        now, tokens = torch.tensor(timestep), conditioning.expression_tokens
        runtime.denoise(latents, now, embedded, tokens, teacher=False)

    for timestep in (7, 8, 7, 7, 8):
        denoise(timestep)
    assert len(counted) == 2
    for timestep in range(KEPT_TIMESTEPS + 5):
        denoise(timestep)
    assert len(runtime._kept_times._answers) == KEPT_TIMESTEPS


def test_no_layer_has_two_places():
    """torch.export would then disturb threads that run other networks meanwhile."""
    layers = [layer for _, layer in Step(a_denoiser(1)).named_modules(remove_duplicate=False)]
    assert len(layers) == len(set(layers))
