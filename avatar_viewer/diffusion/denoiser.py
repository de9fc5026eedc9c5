"""The conditioned denoiser: TriPlane, expression encoder, ControlNet and U-Net (paper, fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from avatar_viewer.diffusion.conditioning import (
    GEOMETRY_CHANNELS,
    ExpressionEncoder,
    folded_control,
)
from avatar_viewer.diffusion.expression_attention import (
    ExpressionUNet,
    expression_tokens,
    with_prompt,
)
from avatar_viewer.diffusion.triplane import Box, TriPlane
from avatar_viewer.stages import Conditioning, GBuffer


@dataclass(frozen=True)
class DenoiserConfig:
    """The sizes of a denoiser; the defaults are the paper's."""

    code_dim: int
    """E, z_exp and gaze."""
    pixels_per_latent: int = 8
    """Of the G-buffer, along one axis."""
    plane_channels: int = 16
    """Per plane; 0: the G-buffer alone steers, without rigged features."""
    plane_resolution: int = 512
    stem_channels: tuple[int, ...] = (16, 32, 96, 256)
    """The ControlNet's condition embedding; each level but the last halves the resolution."""
    prompt_tokens: int = 77
    expression_attention: bool = True
    """False: the U-Net stays the base's, and there are no expression tokens."""


class Denoiser(nn.Module):
    """Everything between G-buffer and latents; its parts are saved each in a folder."""

    def __init__(
        self,
        triplane: TriPlane,
        encoder: ExpressionEncoder,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
    ) -> None:
        """The U-Net is an ExpressionUNet, or a stock one with an encoder of no tokens."""
        super().__init__()
        self.triplane, self.encoder = triplane, encoder
        self.unet, self.controlnet = unet, controlnet
        channels = GEOMETRY_CHANNELS + triplane.features
        self.fold_factor = round((controlnet.config["conditioning_channels"] / channels) ** 0.5)

    @staticmethod
    def build(base: UNet2DConditionModel, config: DenoiserConfig, box: Box) -> Denoiser:
        """A new avatar's denoiser over a base U-Net, which may be pre-trained or untrained."""
        triplane = TriPlane(config.plane_channels, config.plane_resolution, *box)
        stem_stride = 2 ** (len(config.stem_channels) - 1)
        factor = config.pixels_per_latent // stem_stride
        channels = GEOMETRY_CHANNELS + triplane.features
        controlnet = ControlNetModel.from_unet(
            base,
            conditioning_channels=channels * factor**2,
            conditioning_embedding_out_channels=config.stem_channels,
        )
        token_dim = base.config["cross_attention_dim"]
        unet = ExpressionUNet.from_base(base) if config.expression_attention else base
        encoder = ExpressionEncoder(
            config.code_dim, expression_tokens(unet), token_dim, config.prompt_tokens
        )
        return Denoiser(triplane, encoder, unet, controlnet)

    @property
    def pixels_per_latent(self) -> int:
        """Pixels of a G-buffer, along one axis, for one latent. A decoder may draw more."""
        stem = self.controlnet.config["conditioning_embedding_out_channels"]
        return self.fold_factor * 2 ** (len(stem) - 1)

    def condition(self, gbuffers: Sequence[GBuffer], codes: Tensor) -> Conditioning:
        """G-buffers of B pictures and codes [B,E] -> what steers their denoising."""
        control = folded_control(gbuffers, self.triplane, self.fold_factor)
        return Conditioning(control, expression_tokens=self.encoder(codes))

    def forward(self, latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        """Noisy latents [B,C,h,w] at timesteps [B] or [] -> the predicted v, same shape."""
        prompt = self.encoder.prompt.to(latents.dtype)
        down, middle = self.controlnet(
            latents,
            timestep,
            prompt.expand(latents.shape[0], -1, -1),
            conditioning.control,
            return_dict=False,
        )
        return self.unet(
            latents,
            timestep,
            with_prompt(prompt, conditioning.expression_tokens),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
