"""The networks of an avatar before the first step of its training."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn

from avatar_viewer.avatar_folder import load_parts
from avatar_viewer.data.person import Person
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import (
    Autoencoder,
    encoder_fold_of,
    fold_of,
    pixels_per_latent,
)
from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.expression_attention import expression_parameters
from avatar_viewer.errors import AvatarError
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.base import empty_prompt, pretrained_tiny_vae, pretrained_unet


def control_resolution_px(denoiser: Denoiser, vae: Autoencoder, resolution_px: int) -> int:
    """Height of the G-buffer that steers the denoiser of pictures of this height."""
    return resolution_px // pixels_per_latent(vae) * denoiser.pixels_per_latent


def build_denoiser(config: AvatarTraining, vae: Autoencoder, person: Person) -> Denoiser:
    """The networks before the first step."""
    if config.start is not None:
        return trained_before(config.start, person.code_dim)
    if config.base is not None:
        base, prompt = load_base(config.base, config.pretrained, vae)
    else:
        base, prompt = config.small.build(vae.config["latent_channels"]), None
    sizes = DenoiserConfig(
        code_dim=person.code_dim,
        pixels_per_latent=control_px_per_latent(config, vae),
        plane_channels=config.plane_channels,
        plane_resolution=config.plane_resolution,
        stem_channels=config.stem_channels,
        prompt_tokens=config.prompt_tokens if prompt is None else prompt.shape[1],
        expression_attention=config.expression_attention,
    )
    denoiser = Denoiser.build(base, sizes, person.box)
    if prompt is not None:
        denoiser.encoder.prompt.data.copy_(prompt)
        denoiser.encoder.prompt.requires_grad_(False)
    return denoiser


def load_base(
    source: str, with_weights: bool, vae: Autoencoder
) -> tuple[UNet2DConditionModel, Tensor | None]:
    """A pre-trained U-Net for the latents of `vae`, and its empty prompt [1,P,D] if it has one."""
    base, channels = pretrained_unet(source, with_weights), vae.config["latent_channels"]
    if base.config["in_channels"] != channels:
        raise AvatarError(
            f"base: expected a U-Net for {channels} latent channels, found "
            f"{base.config['in_channels']}"
        )
    return base, empty_prompt(source)


def control_px_per_latent(config: AvatarTraining, vae: Autoencoder) -> int:
    whole, stem = pixels_per_latent(vae), 2 ** (len(config.stem_channels) - 1)
    found = config.control_px_per_latent or whole * encoder_fold_of(vae) // fold_of(vae)
    if found < 1 or whole % found or found % stem:
        raise AvatarError(
            f"control_px_per_latent: expected a divisor of {whole} and a multiple of {stem}, found "
            f"{found}"
        )
    return found


def trained_before(folder: Path, expected_dim: int) -> Denoiser:
    parts = load_parts(folder, best_compute("cpu", torch.float32), lambda stage: None)
    code_dim = parts.denoiser.encoder.config["code_dim"]
    if code_dim != expected_dim:
        raise AvatarError(
            f"start: {folder}: expected expression codes of {expected_dim} numbers, "
            f"found {code_dim}"
        )
    denoiser = parts.denoiser.train()
    denoiser.requires_grad_(True)
    return denoiser


def trained_parts(denoiser: Denoiser, train_unet: bool) -> dict[str, nn.Module]:
    """The modules to train; freezes the rest of the U-Net where it is not trained."""
    denoiser.unet.requires_grad_(train_unet)
    for parameter in expression_parameters(denoiser.unet):
        parameter.requires_grad_(True)
    names = ("triplane", "encoder", "controlnet", "unet")
    return {name: getattr(denoiser, name) for name in names}


def load_tiny(config: AvatarTraining) -> AutoencoderTiny | None:
    return None if config.tiny_vae is None else pretrained_tiny_vae(config.tiny_vae)
