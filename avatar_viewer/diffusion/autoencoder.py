"""Pictures <-> latents: diffusers' autoencoders, KL or tiny, in any size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from avatar_viewer.errors import AvatarError
from avatar_viewer.weights import CONFIG_FILE, load_network, read_json

Autoencoder = AutoencoderKL | AutoencoderTiny

NORM_GROUPS = 8
"""Of `build_autoencoder`; every level's width is a multiple."""


def build_autoencoder(
    channels: tuple[int, ...], latent_channels: int, fold: int = 1, layers_per_block: int = 1
) -> AutoencoderKL:
    """An untrained autoencoder; each level but the last halves the resolution.

    With `fold` > 1 it sees blocks of fold x fold pixels as channels (space to depth): at the
    picture's own resolution, few channels cost most of the time and add little.
    """
    levels = len(channels)
    sizes: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": channels,
    }
    return AutoencoderKL(
        in_channels=3 * fold**2,
        out_channels=3 * fold**2,
        layers_per_block=layers_per_block,
        latent_channels=latent_channels,
        norm_num_groups=NORM_GROUPS,
        mid_block_add_attention=False,
        **sizes,
    )


def load_autoencoder(folder: Path, dtype: torch.dtype = torch.float32) -> Autoencoder:
    """An autoencoder of either kind, as its config.json says."""
    kind = read_json(folder / CONFIG_FILE).get("_class_name")
    cls = AutoencoderTiny if kind == "AutoencoderTiny" else AutoencoderKL
    return load_network(cls, folder, dtype)


def fold_of(vae: Autoencoder) -> int:
    """Pixels along one axis that the decoder makes of channels; 1 for common ones."""
    return math.isqrt(vae.config["out_channels"] // 3)


def with_fold(vae: AutoencoderKL, fold: int) -> AutoencoderKL:
    """The same latents, decoded at `fold` / `fold_of(vae)` times the size: at first as larger
    pixels, to be trained on."""
    factor, rest = divmod(fold, fold_of(vae))
    if rest or factor < 1:
        raise AvatarError(f"fold: expected a multiple of {fold_of(vae)}, found {fold}")
    # Without this entry, in which diffusers notes what it would set back to its defaults.
    config = {name: value for name, value in vae.config.items() if name != "_use_default_values"}
    larger = AutoencoderKL.from_config(config, out_channels=3 * fold**2)
    assert isinstance(larger, AutoencoderKL)
    state = dict(vae.state_dict())
    for name in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
        pixels = state[name].unflatten(0, (3, fold_of(vae), fold_of(vae)))
        repeated = pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        state[name] = repeated.flatten(0, 2)
    larger.load_state_dict(state)
    return larger.eval()


def encoder_fold_of(vae: Autoencoder) -> int:
    """Pixels along one axis that the encoder takes as channels; less than the decoder's where it
    sees smaller pictures than the decoder draws."""
    return math.isqrt(vae.config["in_channels"] // 3)


def pixels_per_latent(vae: Autoencoder) -> int:
    """How many pixels of a decoded picture, along one axis, one latent stands for."""
    is_tiny = isinstance(vae, AutoencoderTiny)
    channels = vae.config["encoder_block_out_channels" if is_tiny else "block_out_channels"]
    return fold_of(vae) * 2 ** (len(channels) - 1)


def encoder_input(vae: Autoencoder, rgb: Tensor) -> Tensor:
    """Pictures [B,3,H,W] as the encoder takes them: folded, and first made smaller by the mean of
    pixels where the decoder draws larger pictures than the encoder sees."""
    smaller = functional.avg_pool2d(rgb, fold_of(vae) // encoder_fold_of(vae))
    return functional.pixel_unshuffle(smaller, encoder_fold_of(vae))


def encode(vae: Autoencoder, rgb: Tensor) -> Tensor:
    """[B,3,H,W] in -1..1 -> latents [B,C,h,w] of about unit variance (the posterior's mean)."""
    encoded = vae.encode(encoder_input(vae, rgb), return_dict=False)[0]
    latents = encoded if isinstance(encoded, Tensor) else encoded.mode()
    return latents * vae.config["scaling_factor"]


def decode(vae: Autoencoder, latents: Tensor) -> Tensor:
    """Latents [B,C,h,w] -> [B,3,H,W] in -1..1."""
    folded = vae.decode(latents / vae.config["scaling_factor"], return_dict=False)[0]
    return functional.pixel_shuffle(folded, fold_of(vae)).clamp(-1, 1)


def to_uint8(rgb: Tensor) -> Tensor:
    """[...,3,H,W] in -1..1 -> uint8 [...,H,W,3]."""
    channels_last = rgb.float().movedim(-3, -1)
    return ((channels_last + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
