"""The U-Net that an avatar's training starts from, and what its text attention sees (paper, section
3.4: Stable Diffusion 2.1 and the empty prompt)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor

from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.weights import load_tensors

NORM_GROUPS = 16
"""Of `SmallUNet`; every level's width is a multiple."""
PROMPT_FILE = "prompt.safetensors"
"""Beside the U-Net of a prior that was trained without text."""


@dataclass(frozen=True)
class SmallUNet:
    """An untrained base in place of a pre-trained one."""

    channels: tuple[int, ...] = (64, 128, 192)
    """By level; all but the first have attention."""
    layers_per_block: int = 1
    token_dim: int = 128
    heads: int = 4

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("channels", "layers_per_block", "token_dim"))
        expect_between(self, 1, min(self.channels), ("heads",))
        if any(width % NORM_GROUPS for width in self.channels):
            raise AvatarError(
                f"channels: expected multiples of {NORM_GROUPS}, found {list(self.channels)}"
            )

    def build(self, latent_channels: int) -> UNet2DConditionModel:
        """A U-Net for latents of so many channels."""
        attended = len(self.channels) - 1
        return UNet2DConditionModel(
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=self.channels,
            layers_per_block=self.layers_per_block,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attended,
            up_block_types=("CrossAttnUpBlock2D",) * attended + ("UpBlock2D",),
            cross_attention_dim=self.token_dim,
            attention_head_dim=self.heads,
            norm_num_groups=NORM_GROUPS,
            use_linear_projection=True,
        )


def pretrained_unet(base: str, with_weights: bool) -> UNet2DConditionModel:
    try:
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", use_safetensors=True)
    except (OSError, ValueError) as error:
        raise AvatarError(
            f"base: expected a folder or Hub id with a U-Net, {base}: {one_line(error)}"
        ) from error
    assert isinstance(unet, UNet2DConditionModel)
    if not with_weights:
        unet = UNet2DConditionModel.from_config(unet.config)
        assert isinstance(unet, UNet2DConditionModel)
    return unet


def pretrained_tiny_vae(source: str) -> AutoencoderTiny:
    try:
        vae = AutoencoderTiny.from_pretrained(source, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise AvatarError(
            f"tiny_vae: expected a folder or Hub id with an AutoencoderTiny, {source}: "
            f"{one_line(error)}"
        ) from error
    assert isinstance(vae, AutoencoderTiny)
    return vae.eval().requires_grad_(False)


def empty_prompt(base: str) -> Tensor | None:
    """[1,P,D]: what a text-to-image base's text encoder makes of the empty prompt.

    A prior of `train prior` has its own learnt prompt; None for another folder without text.
    """
    if (prompt := Path(base) / PROMPT_FILE).is_file():
        return load_tensors(prompt)["prompt"].float()
    if Path(base).is_dir() and not (Path(base) / "text_encoder").exists():
        return None
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise AvatarError(
            "package transformers: expected for the base's empty prompt, found none; "
            "pip install avatar-viewer[train]"
        ) from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
        encoder = CLIPTextModel.from_pretrained(
            base, subfolder="text_encoder", use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise AvatarError(
            f"base: expected a folder or Hub id with a text encoder, {base}: {one_line(error)}"
        ) from error
    tokens = tokenizer("", padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        return encoder(tokens.input_ids).last_hidden_state.clone()
