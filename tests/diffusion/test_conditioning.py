"""The ControlNet's input and the expression tokens."""

from dataclasses import replace

import pytest
import torch
from tiny import CODE_DIM, VIEW, tiny_denoiser, tiny_info, tiny_poser

from avatar_viewer.diffusion.conditioning import (
    GEOMETRY_CHANNELS,
    ExpressionEncoder,
    Patch,
    control_image,
    fold,
    folded_control,
    folded_patch,
    plain_folded_control,
    spread,
)
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.raster.gbuffer import rasterize
from avatar_viewer.stages import GBuffer

MASK, DEPTH, CANONICAL, NORMAL = slice(0, 1), slice(1, 2), slice(2, 5), slice(5, 8)


@pytest.fixture(scope="module")
def gbuffer() -> GBuffer:
    mesh = tiny_poser().pose(tiny_info().corners[0].expression)
    return rasterize(mesh, VIEW.camera(24, 16))


@pytest.fixture(scope="module")
def triplane() -> TriPlane:
    torch.manual_seed(0)
    return TriPlane(2, 8)


def unseen(gbuffer: GBuffer) -> GBuffer:
    return GBuffer(
        torch.zeros_like(gbuffer.mask),
        torch.zeros_like(gbuffer.depth),
        torch.zeros_like(gbuffer.normal),
        torch.zeros_like(gbuffer.canonical),
    )


def test_channels(gbuffer: GBuffer, triplane: TriPlane):
    control = control_image(gbuffer, triplane).detach()
    mask = gbuffer.mask
    assert 0 < mask.sum() < mask.numel()
    assert control.shape == (16, 24, GEOMETRY_CHANNELS + triplane.features)
    assert not control[~mask].any()
    assert torch.equal(control[..., MASK].squeeze(2), mask.float())
    assert torch.equal(control[..., CANONICAL], gbuffer.canonical)
    assert torch.equal(control[..., NORMAL], gbuffer.normal)
    features = triplane(gbuffer.canonical[mask]).detach()
    assert torch.equal(control[..., GEOMETRY_CHANNELS:][mask], features)


@pytest.mark.parametrize(("channels", "resolution"), [(2, 8), (1, 1), (0, 4), (3, 33)])
@pytest.mark.parametrize("factor", [1, 4])
@torch.no_grad()
def test_the_compiled_pass_answers_what_the_plain_one_does(
    gbuffer: GBuffer, channels: int, resolution: int, factor: int
):
    torch.manual_seed(0)
    # A box smaller than the head: what lies outside sees the planes' borders.
    planes = TriPlane(channels, resolution, (-0.2, -0.3, -0.4), (0.3, 0.2, 0.3))
    given = ([gbuffer, unseen(gbuffer)], planes, factor)
    compiled, plain = folded_control(*given), plain_folded_control(*given)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
    # What is learned between two pictures is seen.
    planes.planes += 1
    again, plain = folded_control(*given), plain_folded_control(*given)
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 50])
@pytest.mark.parametrize("factor", [1, 4])
def test_a_folded_patch_is_that_of_its_blocks(gbuffer: GBuffer, count: int, factor: int):
    torch.manual_seed(0)
    patch = Patch(torch.randperm(16 * 24)[:count], torch.randn(count, 2))
    whole = fold(spread(patch, gbuffer)[None], factor)[0].flatten(1).T
    blocks, features = folded_patch(patch, 24, factor)
    assert torch.equal(blocks, whole.any(dim=1).nonzero().squeeze(1))
    assert torch.equal(features, whole[blocks])


def test_patches_lie_behind_the_other_channels(gbuffer: GBuffer, triplane: TriPlane):
    patches = [
        Patch(torch.tensor([7, 30]), torch.randn(2, 2)),
        Patch(torch.tensor([30]), torch.ones(1, 1)),
    ]
    image = plain_folded_control([gbuffer], triplane, 1, [patches])[0].permute(1, 2, 0).detach()
    known = control_image(gbuffer, triplane).detach()
    expected = torch.cat([known, *(spread(patch, gbuffer) for patch in patches)], dim=-1)
    assert torch.equal(image, expected)


def test_gradients_reach_the_planes_through_the_plain_pass(gbuffer: GBuffer, triplane: TriPlane):
    folded_control([gbuffer], triplane, 4).square().sum().backward()
    assert triplane.planes.grad is not None and triplane.planes.grad.abs().max() > 0
    triplane.planes.grad = None


def test_depth_is_relative_to_the_heads_mean(gbuffer: GBuffer, triplane: TriPlane):
    near = control_image(gbuffer, triplane).detach()
    far = control_image(replace(gbuffer, depth=gbuffer.depth + 5 * gbuffer.mask), triplane).detach()
    torch.testing.assert_close(near, far, atol=1e-5, rtol=0)
    depth = near[..., DEPTH].squeeze(2)[gbuffer.mask]
    assert depth.mean().abs() < 1e-5 and depth.std() > 0.01
    # What is nearer is smaller.
    nearest = gbuffer.depth[gbuffer.mask].argmin()
    assert depth[nearest] == depth.min() < 0


def test_a_head_out_of_view_gives_zeros_and_no_nan(gbuffer: GBuffer, triplane: TriPlane):
    control = control_image(unseen(gbuffer), triplane)
    assert control.shape == (16, 24, GEOMETRY_CHANNELS + triplane.features)
    assert torch.equal(control, torch.zeros_like(control))


def test_a_head_out_of_view_does_not_spoil_the_gradients_of_its_batch(gbuffer: GBuffer):
    denoiser = tiny_denoiser()
    conditioning = denoiser.condition([gbuffer, unseen(gbuffer)], torch.zeros(2, CODE_DIM))
    conditioning.control.square().sum().backward()
    gradient = denoiser.triplane.planes.grad
    assert gradient is not None and torch.isfinite(gradient).all() and gradient.any()


def unfold(folded: torch.Tensor, factor: int) -> torch.Tensor:
    """The inverse of `fold`, from its definition: each block's pixels are its channels."""
    batch, channels, height, width = folded.shape
    blocks = folded.view(batch, factor, factor, channels // factor**2, height, width)
    return blocks.permute(0, 4, 1, 5, 2, 3).reshape(batch, height * factor, width * factor, -1)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_fold_keeps_every_value_in_its_block(factor: int):
    control = torch.arange(2 * 8 * 12 * 3.0).view(2, 8, 12, 3)
    folded = fold(control, factor)
    assert folded.shape == (2, 3 * factor**2, 8 // factor, 12 // factor)
    assert torch.equal(unfold(folded, factor), control)


def test_tokens_are_a_linear_function_of_the_code():
    torch.manual_seed(0)
    encoder = ExpressionEncoder(code_dim=6, tokens=3, token_dim=5, prompt_tokens=2)
    a, b = torch.randn(2, 6)
    tokens = encoder(torch.stack([a, b, (a + b) / 2])).detach()
    assert tokens.shape == (3, 3, 5)
    torch.testing.assert_close(tokens[2], (tokens[0] + tokens[1]) / 2)
    assert not torch.allclose(tokens[0], tokens[1])
    assert encoder.prompt.shape == (1, 2, 5)
