"""The decoder that sees the surface."""

from __future__ import annotations

import pytest
import torch
from tiny import fill_zero_layers

from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.raster.camera import Orbit, world_rays
from avatar_viewer.stages import GBuffer, Rays


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
        mouth_channels=2,
        mouth_centre=(0.1, 0.1, 0.1),
        mouth_radius=0.3,
    )
    fill_zero_layers(decoder)
    return decoder.eval()


def rays(size: int) -> Rays:
    """Of a camera just before the mouth."""
    return world_rays(Orbit(0, 0, 0.4, (0.1, 0.1, 0.1), 60).camera(size, size))


def gbuffer(size: int) -> GBuffer:
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(size, size, generator=generator) < 0.7
    canonical = (torch.rand(size, size, 3, generator=generator) * 2 - 1) * mask[..., None]
    depth = torch.rand(size, size, generator=generator) * mask
    return GBuffer(mask, depth, canonical.sin(), canonical)


def test_a_picture_of_latents_and_surface(decoder: RiggedDecoder):
    assert decoder.pixels_per_latent == 8
    surface = decoder.look_up([gbuffer(32)] * 2, [rays(32)] * 2, torch.zeros(2, 6))
    assert surface.shape == (2, (8 + 6 + 3 + 4) * 4, 16, 16)
    rgb = decoder(torch.randn(2, 4, 4, 4), surface, torch.randn(2, 6))
    assert rgb.shape == (2, 3, 32, 32)


@torch.no_grad()
def test_a_place_of_the_surface_is_seen_at_its_pixel(decoder: RiggedDecoder):
    """A feature of one texel changes the picture around the pixels that show it, and no others."""
    seen, latents, codes = gbuffer(64), torch.randn(1, 4, 8, 8), torch.randn(1, 6)
    before = decoder(latents, decoder.look_up([seen], [rays(64)], codes), codes)
    row, column = (index[0].item() for index in torch.where(seen.mask))
    place = seen.canonical[row, column]
    canonical = seen.canonical.clone()
    canonical[row, column] = -place
    moved = GBuffer(seen.mask, seen.depth, seen.normal, canonical)
    after = decoder(latents, decoder.look_up([moved], [rays(64)], codes), codes)
    changed = (after - before).abs().amax(dim=(0, 1))
    assert changed[row, column] > 1e-4
    rows, columns = torch.where(changed > 1e-5)
    # The last level's four convolutions of 2 x 2 pixel blocks reach eight pixels and a block.
    assert (rows - row).abs().max() <= 10
    assert (columns - column).abs().max() <= 10


def test_gradients_reach_all_that_is_learned(decoder: RiggedDecoder):
    surface = decoder.look_up([gbuffer(32)], [rays(32)], torch.ones(1, 6))
    decoder(torch.randn(1, 4, 4, 4), surface, torch.randn(1, 6)).square().mean().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_expression_and_latents_count(decoder: RiggedDecoder):
    surface, latents, codes = (
        decoder.look_up([gbuffer(32)], [rays(32)], torch.ones(1, 6)),
        torch.randn(1, 4, 4, 4),
        torch.randn(1, 6),
    )
    found = decoder(latents, surface, codes)
    assert (decoder(latents, surface, -codes) - found).abs().max() > 1e-4
    assert (decoder(-latents, surface, codes) - found).abs().max() > 1e-4


@torch.no_grad()
def test_a_part_of_a_picture_is_looked_up_as_in_the_whole(decoder: RiggedDecoder):
    seen, seen_rays, codes = gbuffer(32), rays(32), torch.randn(1, 6)
    rows, columns = slice(8, 24), slice(4, 20)
    part = GBuffer(*(tensor[rows, columns] for tensor in vars(seen).values()))
    part_rays = Rays(seen_rays.origin, seen_rays.direction[rows, columns])
    mean_depth = seen.depth[seen.mask].mean()
    found = decoder.look_up_parts([part], [part_rays], codes, [mean_depth])
    whole = decoder.look_up([seen], [seen_rays], codes)
    torch.testing.assert_close(found, whole[..., 4:12, 2:10], atol=1e-5, rtol=1e-5)
