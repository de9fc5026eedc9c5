"""The decoder that sees the surface."""

from __future__ import annotations

import pytest
import torch
from tiny import fill_zero_layers

from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.stages import GBuffer, Rays

SIZE = 64
MOUTH, EYES = (0.0, -0.5, 0.3), ((0.5, 0.5, 0.3), (-0.5, 0.5, 0.3))
ORIGIN = torch.tensor([0.0, 0.0, 3.0])


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
        eye_centres=EYES,
        mouth_channels=2,
        mouth_centre=MOUTH,
        mouth_radius=0.1,
    )
    fill_zero_layers(decoder)
    return decoder.eval()


def scene() -> tuple[GBuffer, Rays]:
    """Places of the head in no order, but for an open mouth in the picture's upper left corner and
    eyes in its lower ones."""
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(SIZE, SIZE, 3, generator=generator) * 2 - 1
    places[..., 2] = places[..., 2] * 0.3 - 0.6
    around = (torch.rand(16, 16, 3, generator=generator) - 0.5) * torch.tensor([0.1, 0.1, 0.0])
    places[:16, :16] = torch.tensor(MOUTH) + around - torch.tensor([0.0, 0.0, 0.15])
    for eye, columns in zip(EYES, (slice(0, 16), slice(48, 64)), strict=True):
        places[48:, columns] = torch.tensor(eye) + around + torch.tensor([0.0, 0.0, 0.04])
    mask = torch.rand(SIZE, SIZE, generator=generator) < 0.7
    depth = ORIGIN[2] - places[..., 2]
    rays = Rays(ORIGIN, (places - ORIGIN) / depth[..., None])
    places = places * mask[..., None]
    return GBuffer(mask, depth * mask, places.sin(), places), rays


def looked_up(decoder: RiggedDecoder, codes: torch.Tensor) -> torch.Tensor:
    gbuffer, rays = scene()
    return decoder.look_up([gbuffer], [rays], codes)


def test_a_picture_of_latents_and_surface(decoder: RiggedDecoder):
    assert decoder.pixels_per_latent == 8
    gbuffer, rays = scene()
    surface = decoder.look_up([gbuffer] * 2, [rays] * 2, torch.zeros(2, 6))
    assert surface.shape == (2, (8 + 6 + 3 + 5) * 4, 32, 32)
    rgb = decoder(torch.randn(2, 4, 8, 8), surface, torch.randn(2, 6))
    assert rgb.shape == (2, 3, SIZE, SIZE)


@torch.no_grad()
def test_a_place_of_the_surface_is_seen_at_its_pixel(decoder: RiggedDecoder):
    """Another place at one pixel changes the picture around it, and nowhere else."""
    seen, rays = scene()
    latents, codes = torch.randn(1, 4, 8, 8), torch.randn(1, 6)
    before = decoder(latents, decoder.look_up([seen], [rays], codes), codes)
    row, column = (index[0].item() + 24 for index in torch.where(seen.mask[24:40, 24:40]))
    canonical = seen.canonical.clone()
    canonical[row, column] *= torch.tensor([-1, -1, 1])
    moved = GBuffer(seen.mask, seen.depth, seen.normal, canonical)
    after = decoder(latents, decoder.look_up([moved], [rays], codes), codes)
    changed = (after - before).abs().amax(dim=(0, 1))
    assert changed[row, column] > 1e-4
    rows, columns = torch.where(changed > 1e-5)
    # The last level's four convolutions of 2 x 2 pixel blocks reach eight pixels and a block.
    assert (rows - row).abs().max() <= 10
    assert (columns - column).abs().max() <= 10


def test_gradients_reach_all_that_is_learned(decoder: RiggedDecoder):
    surface, codes = looked_up(decoder, torch.ones(1, 6)), torch.randn(1, 6)
    decoder(torch.randn(1, 4, 8, 8), surface, codes).square().mean().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_expression_and_latents_count(decoder: RiggedDecoder):
    surface, codes = looked_up(decoder, torch.ones(1, 6)), torch.randn(1, 6)
    latents = torch.randn(1, 4, 8, 8)
    found = decoder(latents, surface, codes)
    assert (decoder(latents, surface, -codes) - found).abs().max() > 1e-4
    assert (decoder(-latents, surface, codes) - found).abs().max() > 1e-4


@torch.no_grad()
def test_latents_tell_nothing_about_the_mouths_inside(decoder: RiggedDecoder):
    surface, codes = looked_up(decoder, torch.ones(1, 6)), torch.randn(1, 6)
    latents = torch.randn(1, 4, 8, 8)
    found = decoder(latents, surface, codes)
    # The mouth fills 2 x 2 latents, and those beside it are not seen either.
    for row, column, counts in ((0, 0, False), (2, 2, False), (3, 1, True), (5, 5, True)):
        other = latents.clone()
        other[:, :, row, column] += 1
        assert (decoder(other, surface, codes) - found).any() == counts


@torch.no_grad()
def test_the_mouths_inside_is_one_place_to_the_planes(decoder: RiggedDecoder):
    gbuffer, rays = scene()
    codes = torch.ones(1, 6)
    surface = decoder.look_up([gbuffer], [rays], codes)
    pixels = surface.unflatten(1, (4, -1))[0, :, :, :8, :8]
    features = pixels[:, 8:14].movedim(1, -1)[pixels[:, 0] > 0]
    expected = decoder.triplane(torch.tensor([MOUTH]))
    torch.testing.assert_close(features, expected.expand_as(features), atol=1e-5, rtol=1e-5)
    assert pixels[:, 17:21].any()  # the teeth's own


@torch.no_grad()
def test_a_part_of_a_picture_is_looked_up_as_in_the_whole(decoder: RiggedDecoder):
    gbuffer, rays = scene()
    codes = torch.randn(1, 6)
    rows, columns = slice(8, 40), slice(4, 36)
    part = GBuffer(*(tensor[rows, columns] for tensor in vars(gbuffer).values()))
    part_rays = Rays(rays.origin, rays.direction[rows, columns])
    mean_depth = gbuffer.depth[gbuffer.mask].mean()
    found = decoder.look_up_parts([part], [part_rays], codes, [mean_depth])
    whole = decoder.look_up([gbuffer], [rays], codes)
    torch.testing.assert_close(found, whole[..., 4:20, 2:18], atol=1e-5, rtol=1e-5)
