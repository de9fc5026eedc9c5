"""G-buffer and expression -> what steers the denoiser (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.stages import GBuffer

GEOMETRY_CHANNELS = 8
"""mask 1, depth 1, canonical coordinates 3, normal 3; the rigged features follow."""


def control_image(gbuffer: GBuffer, triplane: TriPlane, mean_depth: Tensor | None = None) -> Tensor:
    """[H,W,8 + 3*channels]: the G-buffer with the features of its canonical coordinates.

    Zero off the mesh. Depth is taken relative to its mean over the head, so that moving the
    camera back changes the head's size in the picture and nothing else; `mean_depth` is that of the
    whole head where the G-buffer is a part of a picture.
    """
    mask = gbuffer.mask
    depth = gbuffer.depth[mask]
    seen = torch.cat(
        [
            torch.ones_like(depth)[:, None],
            (depth - (depth.mean() if mean_depth is None else mean_depth))[:, None],
            gbuffer.canonical[mask],
            gbuffer.normal[mask],
            triplane(gbuffer.canonical[mask]),
        ],
        dim=1,
    )
    image = seen.new_zeros((*mask.shape, seen.shape[1]))
    image[mask] = seen
    return image


class Patch(NamedTuple):
    """Features of some of a picture's pixels."""

    pixels: Tensor
    """[N] int64, numbers of pixels, row by row."""
    features: Tensor
    """[N,E]."""


def folded_control(gbuffers: Sequence[GBuffer], triplane: TriPlane, factor: int) -> Tensor:
    """Control images of B pictures, folded (see `fold`): [B,factor²*C,H/factor,W/factor].

    Where nothing is learned, a CPU fills the pixels in compiled passes.
    """
    if triplane.planes.device.type == "cpu" and not torch.is_grad_enabled():
        from avatar_viewer.diffusion import look_up_kernel

        return look_up_kernel.folded_control(gbuffers, triplane, factor)
    return plain_folded_control(gbuffers, triplane, factor)


def plain_folded_control(
    gbuffers: Sequence[GBuffer],
    triplane: TriPlane,
    factor: int,
    extra: Sequence[Sequence[Patch]] = (),
    mean_depths: Sequence[Tensor] = (),
) -> Tensor:
    """`folded_control` in plain torch: any device, differentiable in the planes.

    extra: patches of each picture, behind its other channels and each other, zero elsewhere. Parts
    of pictures need the `mean_depths` of the whole.
    """
    depths = mean_depths or [None] * len(gbuffers)
    images = []
    for gbuffer, depth, patches in zip(
        gbuffers, depths, extra or [()] * len(gbuffers), strict=True
    ):
        known = control_image(gbuffer, triplane, depth)
        images.append(torch.cat([known, *(spread(patch, gbuffer) for patch in patches)], dim=-1))
    return fold(torch.stack(images), factor)


def spread(patch: Patch, gbuffer: GBuffer) -> Tensor:
    """[H,W,E], zero but for the patch."""
    image = gbuffer.depth.new_zeros((gbuffer.mask.numel(), patch.features.shape[1]))
    image = image.index_copy(0, patch.pixels, patch.features.to(image))
    return image.view(*gbuffer.mask.shape, -1)


def folded_patch(patch: Patch, width: int, factor: int) -> tuple[Tensor, Tensor]:
    """The numbers [N] of the blocks of a picture of this width, in pixels, that a patch touches,
    and its folded features there [N,factor²*E]."""
    y, x = patch.pixels // width, patch.pixels % width
    number = y // factor * (width // factor) + x // factor
    blocks, row = number.unique(return_inverse=True)
    folded = patch.features.new_zeros(len(blocks), factor**2, patch.features.shape[1])
    folded[row, y % factor * factor + x % factor] = patch.features
    return blocks, folded.flatten(1)


def fold(control: Tensor, factor: int) -> Tensor:
    """[B,H,W,C] -> [B,factor²*C,H/factor,W/factor]: pixels become channels (space to depth).

    The ControlNet's condition embedding then works at the latents' resolution instead of the
    picture's, where it would cost more than the rest of a small network. The result lies in
    memory channels last, which is how it is made and how convolutions take it fastest.
    """
    batch, height, width, channels = control.shape
    blocks = control.view(batch, height // factor, factor, width // factor, factor, channels)
    folded = blocks.permute(0, 1, 3, 2, 4, 5).flatten(3)
    return folded.permute(0, 3, 1, 2)


class ExpressionEncoder(ModelMixin, ConfigMixin):
    """Expression code -> tokens for the expression cross-attention, by one linear layer.

    Also holds the tokens that the text cross-attention sees in place of a prompt: those of the
    empty prompt for a text-to-image base, learnt ones for a base that was trained without text.
    """

    @register_to_config
    def __init__(
        self,
        code_dim: int = 206,
        tokens: int = 4,
        token_dim: int = 1024,
        prompt_tokens: int = 77,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(code_dim, tokens * token_dim)
        self.prompt = nn.Parameter(torch.zeros(1, prompt_tokens, token_dim))

    def forward(self, codes: Tensor) -> Tensor:
        """[B,E] -> [B,T,D]."""
        return self.linear(codes).unflatten(-1, (self.config["tokens"], self.config["token_dim"]))
