"""The conditioned denoiser as a whole."""

import pytest
import torch
from tiny import (
    CODE_DIM,
    LATENT_CHANNELS,
    VIEW,
    fill_zero_layers,
    tiny_denoiser,
    tiny_info,
    tiny_poser,
    tiny_unet,
)

from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.expression_attention import (
    ExpressionAttention,
    expression_parameters,
)
from avatar_viewer.diffusion.full_size import full_size_denoiser
from avatar_viewer.raster.gbuffer import rasterize
from avatar_viewer.stages import GBuffer

SIZE_PX, BATCH = 32, 2


@pytest.fixture(scope="module")
def gbuffers() -> list[GBuffer]:
    expression = tiny_info().corners[0].expression
    mesh = tiny_poser().pose(expression)
    views = (VIEW, VIEW.orbited(40, 10))
    return [rasterize(mesh, view.camera(SIZE_PX, SIZE_PX)) for view in views]


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(BATCH, LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))


TIMES = torch.tensor([999, 20])
CODES = torch.randn(BATCH, CODE_DIM, generator=torch.Generator().manual_seed(1))


def test_a_new_denoiser_is_its_base(gbuffers, latents):
    denoiser = tiny_denoiser()
    conditioning = denoiser.condition(gbuffers, CODES)
    prompt = denoiser.encoder.prompt.expand(BATCH, -1, -1)
    with torch.no_grad():
        expected = tiny_unet()(latents, TIMES, prompt, return_dict=False)[0]
        torch.testing.assert_close(denoiser(latents, TIMES, conditioning), expected)


def test_view_and_expression_both_steer_a_trained_one(gbuffers, latents):
    denoiser = tiny_denoiser()
    fill_zero_layers(denoiser)
    with torch.no_grad():
        here = denoiser(latents, TIMES, denoiser.condition(gbuffers, CODES))
        elsewhere = denoiser(latents, TIMES, denoiser.condition(gbuffers[::-1], CODES))
        otherwise = denoiser(latents, TIMES, denoiser.condition(gbuffers, -CODES))
        alone = denoiser(latents[:1], TIMES[:1], denoiser.condition(gbuffers[:1], CODES[:1]))
    assert here.shape == latents.shape
    assert not torch.allclose(here, elsewhere) and not torch.allclose(here, otherwise)
    torch.testing.assert_close(alone, here[:1], atol=1e-5, rtol=1e-4)


def gradients(denoiser: Denoiser, gbuffers, latents) -> dict[str, float]:
    denoiser.zero_grad()
    denoiser(latents, TIMES, denoiser.condition(gbuffers, CODES)).square().sum().backward()
    parts = {
        "planes": [denoiser.triplane.planes],
        "tokens": [denoiser.encoder.linear.weight],
        "prompt": [denoiser.encoder.prompt],
        "control": list(denoiser.controlnet.controlnet_cond_embedding.parameters()),
        "expression": expression_parameters(denoiser.unet),
        "unet": [denoiser.unet.conv_in.weight],
    }
    return {
        name: sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None)
        for name, parameters in parts.items()
    }


def test_gradients_reach_every_part_once_the_zero_layers_have_moved(gbuffers, latents):
    denoiser = tiny_denoiser()
    at_first = gradients(denoiser, gbuffers, latents)
    assert at_first["planes"] == at_first["tokens"] == at_first["control"] == 0
    assert at_first["expression"] > 0 and at_first["unet"] > 0  # the zero outputs themselves learn
    fill_zero_layers(denoiser)
    assert all(size > 0 for size in gradients(denoiser, gbuffers, latents).values())


@pytest.mark.parametrize(("stem", "factor"), [((16,), 4), ((8, 16), 2), ((8, 8, 16), 1)])
def test_the_stem_and_the_fold_together_reach_the_latents_size(gbuffers, latents, stem, factor):
    config = DenoiserConfig(
        CODE_DIM, pixels_per_latent=4, plane_channels=2, plane_resolution=8, stem_channels=stem
    )
    box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    denoiser = Denoiser.build(tiny_unet(), config, box)
    assert denoiser.fold_factor == factor
    with torch.no_grad():
        conditioning = denoiser.condition(gbuffers, CODES)
        assert conditioning.control.shape == (BATCH, 14 * factor**2, *2 * [SIZE_PX // factor])
        assert denoiser(latents, TIMES, conditioning).shape == latents.shape


def test_the_same_code_builds_the_paper_s_size():
    """Stable Diffusion 2.1's U-Net; on the meta device, so that no memory is taken."""
    with torch.device("meta"):
        denoiser = full_size_denoiser(206, ((-1.0,) * 3, (1.0,) * 3))
    layers = [m for m in denoiser.unet.modules() if isinstance(m, ExpressionAttention)]
    assert len(layers) == 15
    assert denoiser.fold_factor == 1
    assert denoiser.triplane.planes.shape == (3, 16, 512, 512)
    assert denoiser.encoder.linear.weight.shape == (4096, 206)
    stem = denoiser.controlnet.controlnet_cond_embedding
    assert stem.conv_in.weight.shape == (16, 8 + 48, 3, 3)
    assert stem.conv_out.weight.shape[:2] == (320, 256)
