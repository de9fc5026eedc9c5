"""The decoder that sees the surface."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny import fill_zero_layers
from torch import nn

from avatar_viewer.diffusion.conditioning import plain_folded_control
from avatar_viewer.diffusion.moving_planes import LayeredMouth
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder, Surface
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import GBuffer, Rays

SIZE = 64
MOUTH, EYES = (0.0, -0.5, 0.3), ((0.5, 0.5, 0.3), (-0.5, 0.5, 0.3))
ORIGIN = torch.tensor([0.0, 0.0, 3.0])


def build(**sizes: int) -> RiggedDecoder:
    torch.manual_seed(0)
    given = {"fold": 2, "eye_channels": 3, "mouth_channels": 2, "plane_channels": 2, **sizes}
    decoder = RiggedDecoder(
        4,
        6,
        channels=(16, 12, 8),
        blocks=(1, 1, 1),
        plane_resolution=16,
        eye_centres=EYES,
        mouth_centre=MOUTH,
        mouth_radius=0.1,
        **given,
    )
    fill_zero_layers(decoder)
    if isinstance(decoder.mouth, LayeredMouth):
        for sheet in decoder.mouth.sheets:
            nn.init.normal_(sheet.plane)
    return decoder.eval()


@pytest.fixture(params=[False, True], ids=["rows", "layers"])
def decoder(request: pytest.FixtureRequest) -> RiggedDecoder:
    return build(mouth_layers=request.param)


def scene() -> tuple[GBuffer, Rays]:
    """Places of the head in no order, but for an open mouth in the picture's upper left corner and
    eyes in its lower ones."""
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(SIZE, SIZE, 3, generator=generator) * 2 - 1
    places[..., 2] = places[..., 2] * 0.3 - 0.6
    around = (torch.rand(16, 16, 3, generator=generator) - 0.5) * torch.tensor([0.1, 0.1, 0.0])
    places[:16, :16] = torch.tensor(MOUTH) + around - torch.tensor([0.0, 0.0, 0.25])
    for eye, columns in zip(EYES, (slice(0, 16), slice(48, 64)), strict=True):
        places[48:, columns] = torch.tensor(eye) + around + torch.tensor([0.0, 0.0, 0.04])
    mask = torch.rand(SIZE, SIZE, generator=generator) < 0.7
    depth = ORIGIN[2] - places[..., 2]
    rays = Rays(ORIGIN, (places - ORIGIN) / depth[..., None])
    places = places * mask[..., None]
    normals = places.sin()
    normals[:16, :16] = mask[:16, :16, None] * torch.tensor([0.0, 0.0, 1.0])
    return GBuffer(mask, depth * mask, normals, places), rays


def looked_up(decoder: RiggedDecoder, codes: torch.Tensor) -> Surface:
    gbuffer, rays = scene()
    return decoder.look_up([gbuffer], [rays], codes)


def test_a_picture_of_latents_and_surface(decoder: RiggedDecoder):
    assert decoder.pixels_per_latent == 8
    gbuffer, rays = scene()
    surface = decoder.look_up([gbuffer] * 2, [rays] * 2, torch.zeros(2, 6))
    assert [part.shape for part in surface] == [(2, n, 32, 32) for n in (8, 3 * 4, 1)]
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
    ((seen,), (moving,)) = decoder._seen([gbuffer], [rays], torch.ones(1, 6))
    features = decoder.triplane(seen.canonical[:16, :16][gbuffer.mask[:16, :16]])
    expected = decoder.triplane(torch.tensor([MOUTH]))
    torch.testing.assert_close(features, expected.expand_as(features), atol=1e-5, rtol=1e-5)
    assert torch.equal(seen.canonical[:, 16:], gbuffer.canonical[:, 16:])
    assert moving[-1].features[:, :-1].any()  # the teeth's own


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
    for answer, of_whole in zip(found, whole, strict=True):
        torch.testing.assert_close(answer, of_whole[..., 4:20, 2:18], atol=1e-5, rtol=1e-5)


def fast(decoder: RiggedDecoder, *given) -> torch.Tensor:
    """Nothing is learned."""
    with torch.no_grad():
        return torch.cat(decoder.look_up(*given), dim=1)


def plain(
    decoder: RiggedDecoder, gbuffers: list[GBuffer], rays: list[Rays], codes: torch.Tensor
) -> torch.Tensor:
    """Something could be learned; in float64, for at a grazing ray float32 is a thousandth off."""
    seen = [
        GBuffer(each.mask, each.depth.double(), each.normal.double(), each.canonical.double())
        for each in gbuffers
    ]
    ways = [Rays(each.origin.double(), each.direction.double()) for each in rays]
    surface = deepcopy(decoder).double().look_up(seen, ways, codes.double())
    return torch.cat(surface, dim=1).detach().float()


KINDS = pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"fold": 4, "mouth_channels": 0},
        {"fold": 1, "eye_channels": 0},
        {"eye_channels": 0, "mouth_channels": 0},
        {"plane_channels": 0},
        {"mouth_layers": True},
    ],
    ids=["all", "no mouth", "no eyes", "planes only", "no planes", "layered mouth"],
)


@KINDS
def test_the_fast_look_up_answers_what_the_plain_one_does(sizes: dict[str, int]):
    decoder, (gbuffer, rays) = build(**sizes), scene()
    unseen = GBuffer(*(torch.zeros_like(channel) for channel in vars(gbuffer).values()))
    shown = torch.zeros_like(gbuffer.mask)
    shown[9, 60] = True
    one = GBuffer(
        shown,
        gbuffer.depth * shown,
        *(channel * shown[..., None] for channel in (gbuffer.normal, gbuffer.canonical)),
    )
    codes = torch.randn(2, 6)
    for gbuffers in ([gbuffer, unseen], [one, gbuffer]):
        given = (gbuffers, [rays, rays], codes)
        found, expected = fast(decoder, *given), plain(decoder, *given)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
        with torch.no_grad():
            for answer in decoder.look_up(*given):
                assert answer.is_contiguous(memory_format=torch.channels_last)
    has_mouth = decoder.mouth is not None
    assert found[1, -1].any() == has_mouth and not found[0, -1].any()


@torch.no_grad()
def test_what_is_looked_up_is_what_the_convolutions_see(decoder: RiggedDecoder):
    """By their weights in the order that is saved, of features in the order of pixels."""
    gbuffer, rays = scene()
    codes = torch.randn(1, 6)
    seen, moving = decoder._seen([gbuffer], [rays], codes)
    folded = plain_folded_control(seen, decoder.triplane, 2, moving)
    features, texture, inside = decoder.look_up([gbuffer], [rays], codes)
    torch.testing.assert_close(features, decoder.surface(folded), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(texture, decoder.texture(folded), atol=1e-4, rtol=1e-5)
    pixels = folded.unflatten(1, (4, -1))[:, :, -1]
    assert torch.equal(inside, pixels.sum(dim=1, keepdim=True)) and inside.any()


@pytest.mark.parametrize("name", ["surface.weight", "texture.bias", "triplane.planes"])
def test_what_is_learned_between_two_pictures_is_seen(decoder: RiggedDecoder, name: str):
    gbuffer, rays = scene()
    given = ([gbuffer], [rays], torch.ones(1, 6))
    before = fast(decoder, *given)
    optimizer = torch.optim.SGD([decoder.get_parameter(name)], lr=30.0)
    torch.cat(decoder.look_up(*given), dim=1).square().mean().backward()
    optimizer.step()
    after = fast(decoder, *given)
    torch.testing.assert_close(after, plain(decoder, *given), atol=1e-4, rtol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_threads_change_nothing(decoder: RiggedDecoder, monkeypatch: pytest.MonkeyPatch):
    gbuffer, rays = scene()
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(fast(decoder, [gbuffer], [rays], torch.ones(1, 6)))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@torch.no_grad()
def test_convolutions_in_bfloat16(decoder: RiggedDecoder):
    gbuffer, rays = scene()
    given = ([gbuffer], [rays], torch.ones(1, 6))
    expected = decoder.look_up(*given)
    for name, module in decoder.named_children():
        if name not in ("triplane", "eyes", "mouth"):
            module.to(torch.bfloat16)
    found = decoder.look_up(*given)
    for answer, exact in zip(found, expected, strict=True):
        assert answer.dtype == torch.bfloat16
        torch.testing.assert_close(answer.float(), exact, atol=0.05, rtol=0.02)
    assert torch.equal(found.inside.float(), expected.inside)
    latents, codes = torch.randn(1, 4, 8, 8).bfloat16(), torch.ones(1, 6).bfloat16()
    assert decoder(latents, found, codes).isfinite().all()


def test_sheets_are_looked_up_exactly_where_convolutions_train_in_bfloat16(
    decoder: RiggedDecoder,
):
    gbuffer, rays = scene()
    _, ((*expected,),) = decoder._seen([gbuffer], [rays], torch.ones(1, 6))
    with torch.autocast("cpu", torch.bfloat16):
        _, ((*found,),) = decoder._seen([gbuffer], [rays], torch.ones(1, 6))
        surface = decoder.look_up([gbuffer], [rays], torch.ones(1, 6))
    for patch, exact in zip(found, expected, strict=True):
        assert torch.equal(patch.features, exact.features) and patch.features.any()
    assert surface.features.dtype == torch.bfloat16


def magnified(tensor: torch.Tensor, factor: int) -> torch.Tensor:
    """[H,W,...] with each pixel `factor`² times."""
    return tensor.repeat_interleave(factor, 0).repeat_interleave(factor, 1)


@pytest.mark.parametrize(("fold", "factor"), [(2, 1), (2, 2), (4, 2), (4, 4), (6, 3)])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_smaller_decoder_draws_the_mean(fold: int, factor: int, mode: type):
    """Of what the decoder draws of a G-buffer that is constant over cells of pixels."""
    decoder, (gbuffer, rays) = build(fold=fold), scene()
    height = SIZE // (4 * fold // factor) * (4 * fold // factor)
    few = [channel[:height, :height] for channel in (*vars(gbuffer).values(), rays.direction)]
    many = [magnified(channel, factor) for channel in few]
    latents, codes = torch.randn(1, 4, *[height * factor // (4 * fold)] * 2), torch.ones(1, 6)
    with mode():
        small = decoder.smaller(factor)
        found, whole = (
            network(latents, network.look_up([GBuffer(*seen)], [Rays(ORIGIN, ways)], codes), codes)
            for network, (*seen, ways) in ((small, few), (decoder, many))
        )
    expected = torch.nn.functional.avg_pool2d(whole, factor)
    assert small.pixels_per_latent * factor == decoder.pixels_per_latent
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_smaller_decoder_shares_what_is_large(decoder: RiggedDecoder):
    before = torch.get_rng_state()
    small = decoder.smaller(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert small.triplane is decoder.triplane and small.mouth is decoder.mouth
    assert not any(parameter.is_meta for parameter in small.parameters())
    assert small.config["fold"] == 1 and decoder.config["fold"] == 2


@pytest.mark.parametrize("factor", [-1, 0, 3, 4])
def test_a_factor_that_does_not_divide_is_named(decoder: RiggedDecoder, factor: int):
    with pytest.raises(AvatarError, match=f"factor: expected a divisor of .* 2, found {factor}"):
        decoder.smaller(factor)


@torch.no_grad()
@pytest.mark.parametrize("factor", [1, 2])
def test_opacity_joins_without_a_change_of_the_picture(decoder: RiggedDecoder, factor: int):
    opaque = decoder.with_alpha()
    latents, codes = torch.randn(1, 4, 8, 8), torch.randn(1, 6)
    pictures = []
    for each in (decoder.smaller(factor), opaque.smaller(factor)):
        gbuffer, rays = scene()
        small = GBuffer(*(t[::factor, ::factor] for t in vars(gbuffer).values()))
        of_pixels = Rays(rays.origin, rays.direction[::factor, ::factor])
        pictures.append(each(latents, each.look_up([small], [of_pixels], codes), codes))
    torch.testing.assert_close(pictures[1][:, :3], pictures[0], atol=1e-5, rtol=1e-5)
    assert pictures[1].shape[1] == 4 and not pictures[1][:, 3].any()
