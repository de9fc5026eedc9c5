"""The decoder that sees the surface."""

from __future__ import annotations

import pytest
import torch
from tiny import fill_zero_layers

from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.stages import GBuffer


@pytest.fixture
def decoder() -> RiggedDecoder:
    torch.manual_seed(0)
    decoder = RiggedDecoder(
        4,
        6,
        channels=(16, 12, 8),
        blocks=(1, 1, 1),
        fold=2,
        plane_channels=2,
        plane_resolution=16,
        eye_channels=3,
    )
    fill_zero_layers(decoder)
    return decoder.eval()


def gbuffer(size: int) -> GBuffer:
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(size, size, generator=generator) < 0.7
    canonical = (torch.rand(size, size, 3, generator=generator) * 2 - 1) * mask[..., None]
    depth = torch.rand(size, size, generator=generator) * mask
    return GBuffer(mask, depth, canonical.sin(), canonical)


def test_a_picture_of_latents_and_surface(decoder: RiggedDecoder):
    assert decoder.pixels_per_latent == 8
    surface = decoder.look_up([gbuffer(32), gbuffer(32)], torch.zeros(2, 6))
    assert surface.shape == (2, (8 + 6 + 3) * 4, 16, 16)
    rgb = decoder(torch.randn(2, 4, 4, 4), surface, torch.randn(2, 6))
    assert rgb.shape == (2, 3, 32, 32)


@torch.no_grad()
def test_a_place_of_the_surface_is_seen_at_its_pixel(decoder: RiggedDecoder):
    """A feature of one texel changes the picture around the pixels that show it, and no others."""
    seen, latents, codes = gbuffer(64), torch.randn(1, 4, 8, 8), torch.randn(1, 6)
    before = decoder(latents, decoder.look_up([seen], codes), codes)
    row, column = (index[0].item() for index in torch.where(seen.mask))
    place = seen.canonical[row, column]
    canonical = seen.canonical.clone()
    canonical[row, column] = -place
    moved = GBuffer(seen.mask, seen.depth, seen.normal, canonical)
    changed = (
        (decoder(latents, decoder.look_up([moved], codes), codes) - before).abs().amax(dim=(0, 1))
    )
    assert changed[row, column] > 1e-4
    rows, columns = torch.where(changed > 1e-5)
    # The last level's four convolutions of 2 x 2 pixel blocks reach eight pixels and a block.
    assert (rows - row).abs().max() <= 10
    assert (columns - column).abs().max() <= 10


def test_gradients_reach_all_that_is_learned(decoder: RiggedDecoder):
    decoder(
        torch.randn(1, 4, 4, 4), decoder.look_up([gbuffer(32)], torch.ones(1, 6)), torch.randn(1, 6)
    ).square().mean().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_expression_and_latents_count(decoder: RiggedDecoder):
    surface, latents, codes = (
        decoder.look_up([gbuffer(32)], torch.ones(1, 6)),
        torch.randn(1, 4, 4, 4),
        torch.randn(1, 6),
    )
    found = decoder(latents, surface, codes)
    assert (decoder(latents, surface, -codes) - found).abs().max() > 1e-4
    assert (decoder(-latents, surface, codes) - found).abs().max() > 1e-4


@torch.no_grad()
def test_irises_turn_with_the_gaze_and_nothing_else_does(decoder: RiggedDecoder):
    """A front of the head as a plane: looking to the left shifts what lies around the eyes."""
    size = 256
    y, x = torch.meshgrid(*(torch.linspace(-0.3, 0.3, size),) * 2, indexing="ij")
    canonical = torch.stack([x, -y, torch.full_like(x, 0.2)], dim=-1)
    seen = GBuffer(torch.ones(size, size, dtype=torch.bool), x * 0 + 1, canonical, canonical)
    eyes = decoder.eyes
    waves = torch.linspace(0, 6, eyes.RESOLUTION).sin()
    eyes.planes.copy_((waves + waves[:, None]).expand_as(eyes.planes))
    ahead = eyes(seen, torch.zeros(4))
    left = eyes(seen, torch.tensor([0.5, 0.0, 0.0, 0.0]))
    row = round((0.3 - 0.112) / 0.6 * (size - 1))
    # 0.5 of 0.3 radii of 0.08 units, in pixels of 0.6 / 255 units.
    shift = round(0.5 * 0.3 * 0.08 / (0.6 / (size - 1)))
    around = slice(round((0.3 + 0.128) / 0.6 * (size - 1)) - 15, None)
    of_left_eye = slice(around.start, around.start + 30)
    moved = slice(of_left_eye.start + shift, of_left_eye.stop + shift)
    torch.testing.assert_close(left[row, moved], ahead[row, of_left_eye], atol=0.03, rtol=0.03)
    assert (left[row, of_left_eye] - ahead[row, of_left_eye]).abs().max() > 0.1
    # The other eye looked ahead, and far from the eyes there is nothing.
    assert torch.equal(left[:, : size // 2], ahead[:, : size // 2])
    assert not ahead[: size // 6].any() and not ahead[size // 2 :].any()
    # Nor at the back of the head.
    behind = GBuffer(seen.mask, seen.depth, seen.normal, -canonical)
    assert not eyes(behind, torch.zeros(4)).any()
