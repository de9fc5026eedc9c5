"""The paper's own sizes: Stable Diffusion 2.1's networks, and a fast decoder of its latents."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.triplane import Box


def full_size_denoiser(code_dim: int, box: Box) -> Denoiser:
    """An untrained denoiser over Stable Diffusion 2.1's U-Net: latents [B,4,H/8,W/8], a prompt of
    77 tokens of 1024 numbers, four tokens of an expression."""
    sizes: dict[str, Any] = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20)}
    base = UNet2DConditionModel(use_linear_projection=True, **sizes)
    return Denoiser.build(base, DenoiserConfig(code_dim), box)


def full_size_vae() -> AutoencoderKL:
    """An untrained autoencoder of Stable Diffusion's sizes."""
    sizes: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
    }
    return AutoencoderKL(layers_per_block=2, **sizes)


def full_size_tiny() -> AutoencoderTiny:
    """An untrained TAESD, which decodes the same latents; its sizes are diffusers' defaults."""
    return AutoencoderTiny()
