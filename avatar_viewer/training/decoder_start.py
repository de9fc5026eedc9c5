"""A rigged decoder before the first step of its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from avatar_viewer.avatar import Avatar
from avatar_viewer.diffusion.autoencoder import pixels_per_latent
from avatar_viewer.diffusion.moving_planes import LayeredMouth, MouthSheets
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.training.decoder_settings import DecoderTraining
from avatar_viewer.weights import load_network


def build_decoder(config: DecoderTraining, avatar: Avatar) -> RiggedDecoder:
    if config.start is not None:
        decoder = load_network(RiggedDecoder, config.start)
        if config.alpha and not decoder.config["alpha"]:
            decoder = decoder.with_alpha()
        return decoder.requires_grad_(True)
    levels = len(config.channels) - 1
    fold, rest = divmod(pixels_per_latent(avatar.vae), 2**levels)
    if rest or fold < 1:
        raise AvatarError(
            f"channels: expected {pixels_per_latent(avatar.vae)} pixels per latent to be a "
            f"multiple of {2**levels}, found {len(config.channels)} levels"
        )
    box = avatar.head.nphm.config
    decoder = RiggedDecoder(
        latent_channels=avatar.vae.config["latent_channels"],
        code_dim=avatar.info.expression_dim,
        channels=config.channels,
        blocks=config.blocks,
        fold=fold,
        plane_channels=config.plane_channels,
        plane_resolution=config.plane_resolution,
        eye_channels=config.eye_channels,
        mouth_channels=config.mouth_channels,
        mouth_layers=config.mouth_layers,
        alpha=config.alpha,
        box_min=tuple(box["box_min"]),
        box_max=tuple(box["box_max"]),
    )
    if config.features_from is not None:
        _take_features(decoder, config.features_from)
    return decoder


def _take_features(decoder: RiggedDecoder, folder: Path) -> None:
    """Planes and sheets of another decoder, whose latents and codes are the same, and of its
    convolutions those that have the same size."""
    other = load_network(RiggedDecoder, folder)
    kinds = [(d.config["mouth_channels"], d.config["mouth_layers"]) for d in (decoder, other)]
    same_mouth = kinds[0] == kinds[1]
    for name in ("triplane", "eyes", "mouth") if same_mouth else ("triplane", "eyes"):
        given, taken = getattr(other, name), getattr(decoder, name)
        try:
            if taken is not None:
                taken.load_state_dict(given.state_dict())
        except (AttributeError, RuntimeError) as error:
            raise AvatarError(
                f"features_from: {folder}: expected a decoder with {name} of the same sizes, "
                f"found: {one_line(error)}"
            ) from error
    own, given = decoder.state_dict(), other.state_dict()
    if not same_mouth:
        _take_columns(decoder, other)
    fitting = {n: w for n, w in given.items() if n in own and own[n].shape == w.shape}
    decoder.load_state_dict(fitting, strict=False)


@torch.no_grad()
def _take_columns(decoder: RiggedDecoder, other: RiggedDecoder) -> None:
    """Of the convolutions of what pixels see, the columns of surface and eyes."""
    before_mouth = -1 if decoder.mouth is not None else None
    kept = sum(decoder.pixel_channels[:before_mouth])
    for name in ("surface", "texture"):
        own, given = (
            getattr(d, name).weight.unflatten(1, (d.config["fold"] ** 2, -1))
            for d in (decoder, other)
        )
        if own.shape[:2] == given.shape[:2]:
            own[:, :, :kept] = given[:, :, :kept]


@torch.no_grad()
def start_jaw(
    mouth: MouthSheets | LayeredMouth, poser: HeadPoser, expressions: Sequence[Tensor]
) -> None:
    """Let the lower teeth and the tongue move as the chin does, for a start, by the codes [E] of
    training frames; where a head model has no chin, or they have learned to move, nothing is
    changed."""
    offset = (poser.head.vertices - torch.tensor(mouth.centre)) / mouth.radius
    x, y, z = offset.unbind(1)
    chin = (x.abs() < 1) & (y > -2.5) & (y < -1.5) & (z > -1.5)
    if not chin.any() or any(weight.any() for weight, _ in mouth.shifts):
        return
    canonical = poser.head.vertices[chin]
    codes = torch.stack([code[:-GAZE_DIM] for code in expressions])
    shifts = torch.stack(
        [poser.nphm.deform(canonical, poser.identity, z).mean(dim=0) for z in codes]
    )
    shifts = shifts / mouth.radius
    # Ridge regression: codes have more numbers than jaws have motions.
    centred = codes - codes.mean(dim=0)
    ridge = 0.1 * centred.square().mean() * torch.eye(codes.shape[1])
    found = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ shifts)
    for weight, bias in mouth.shifts:
        weight.copy_(found.T)
        bias.add_(shifts.mean(dim=0) - codes.mean(dim=0) @ found)
