"""Train an avatar's rigged decoder: latents as the avatar itself denoises them, and the head's
surface, to the true pictures.

All else of the avatar stays as it is. The latents of training pictures are a little better than
those of others, so noise is added to them: what the surface tells is to be trusted more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import load_parts
from avatar_viewer.data.check import check_data
from avatar_viewer.data.person import person_of
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import pixels_per_latent, to_uint8
from avatar_viewer.diffusion.moving_planes import LayeredMouth, MouthSheets
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.raster.camera import world_rays
from avatar_viewer.stages import GBuffer, Rays
from avatar_viewer.training.avatar import save_avatar
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.losses import dissimilarity
from avatar_viewer.training.shots import Shots, Source, Window, latents_digest
from avatar_viewer.training.vae import detail_places
from avatar_viewer.weights import load_network

SHEET_VIEWS = 8


@dataclass(frozen=True)
class DecoderTraining:
    """What `avatar-viewer train decoder` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    avatar: Path
    """The trained avatar's folder."""
    out: Path
    """The run's folder; the avatar with its new decoder lies in `out/avatar`."""
    loop: LoopConfig
    start: Path | None = None
    """A rigged decoder's folder, which is trained on; sizes are then its."""
    features_from: Path | None = None
    """A rigged decoder's folder whose planes, sheets and convolutions of the same sizes are trained
    on, with fewer `blocks` the first ones, while convolutions of other sizes begin anew, and so
    does a mouth of another kind or size."""
    batch_size: int = 1
    """Whole pictures."""
    crop_px: int = 256
    """Some steps see squares of this size around lips, lids and nose, of accordingly more
    pictures; a multiple of a latent's size."""
    crop_fraction: float = 0.5
    """How many of the steps do; none where pictures are no larger than that."""
    channels: tuple[int, ...] = (128, 96, 64)
    blocks: tuple[int, ...] = (2, 2, 3)
    plane_channels: int = 4
    plane_resolution: int = 512
    eye_channels: int = 4
    """Features that turn with the gaze; 0 for head models with another origin or other axes than
    the project's own."""
    mouth_channels: int = 4
    """Features of teeth, and of the tongue; 0 as above."""
    mouth_layers: bool = True
    """Whether teeth, tongue and the dark behind hide each other; else each pixel sees both rows of
    teeth, and nothing more."""
    alpha: bool = True
    """Whether opacity is learned too, so that the picture can stand on any background."""
    plane_learning_rate: float = 1e-2
    latent_noise: float = 0.1
    """Largest standard deviation of what is added to latents, which are of about unit variance."""
    detail_weight: float = 3.0
    """How much more pixels around lips, lids and nose count: they are few, but looked at most."""
    detail_radius: float = 0.04
    """How far around, as a part of the picture's height."""
    edge_weight: float = 1.0
    square_weight: float = 10.0
    structure_weight: float = 0.0
    """Of 1 - SSIM, which keeps strands and pores where the other errors would rather blur them."""
    smoothness: float = 0.0
    """Weight of differences between neighbouring texels of the planes: what is seldom seen, as the
    inside of the mouth, is otherwise noise."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "crop_px", "plane_channels", "plane_resolution"):
            if getattr(self, name) < 1:
                raise AvatarError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        if not self.channels or len(self.channels) != len(self.blocks):
            raise AvatarError(
                f"blocks: expected a number for each of channels {list(self.channels)}, "
                f"found {list(self.blocks)}"
            )


def train_decoder(config: DecoderTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    compute = best_compute("cpu", torch.float32)
    parts = load_parts(config.avatar, compute, lambda stage: None)
    avatar = Avatar(parts._replace(decoder=None), compute)
    if config.crop_px % pixels_per_latent(avatar.vae):
        raise AvatarError(
            f"crop_px: expected a multiple of a latent's {pixels_per_latent(avatar.vae)} pixels, "
            f"found {config.crop_px}"
        )
    decoder = _build(config, avatar)
    folder = config.out / f"latents-{latents_digest(avatar)}"
    shots, held_out = (
        Shots(avatar, person_of(avatar, config.data, split), folder / split)
        for split in ("train", "test")
    )
    places = _detail_places(shots)
    if decoder.mouth is not None:
        start_jaw(decoder.mouth, avatar.head, [shots.code(index) for index in range(len(shots))])
    run = Run(config.out, _groups(decoder), config.loop, {"planes": config.plane_learning_rate})

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        windows = _drawn_windows(config, shots, places, generator)
        latents = torch.stack([_noisy_latents(shots, w, config, generator) for w in windows])
        truth = torch.stack([w.of_picture(shots.picture(w.index)) for w in windows])
        truth = truth[:, : decoder.colours]
        weights = torch.stack(
            [w.of_picture(_weights(places[w.index], config, shots.size_px)) for w in windows]
        )
        found = _decoded(decoder, shots, windows, latents, run.device)
        loss = _loss(found.float(), truth.to(run.device), weights.to(run.device), config)
        return loss + config.smoothness * roughness(decoder)

    @torch.inference_mode()
    def sheet(path: Path) -> None:
        rows = []
        for index in range(min(SHEET_VIEWS, len(held_out))):
            window = Window(index, 0, 0, held_out.size_px)
            latents = held_out.latents(index, "quick")[None]
            found = _decoded(decoder, held_out, [window], latents, run.device)[0].clamp(-1, 1).cpu()
            rows.append((held_out.picture(index)[:3], found[:3]))
        errors = [(a - b).square().mean().item() / 4 for a, b in rows]
        print(f"step {run.step}: PSNR on test {-10 * np.log10(errors).mean():.2f} dB", flush=True)
        picture = torch.cat([torch.cat(list(to_uint8(torch.stack(row))), 0) for row in rows], 1)
        Image.fromarray(picture.numpy()).save(path)
        finished = Avatar(parts._replace(decoder=decoder), compute)
        save_avatar(finished, config.out / "avatar", config.avatar / "head")

    run.train(loss_function, sheet)


def _build(config: DecoderTraining, avatar: Avatar) -> RiggedDecoder:
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


def _groups(decoder: RiggedDecoder) -> dict[str, nn.Module]:
    """What learns at a pace of its own: texels are seldom seen, and each step moves only some; and
    what moves in the mouth has a long way from where it starts."""
    planes, rest = [], []
    for name, parameter in decoder.named_parameters():
        fast = name.endswith((".plane", ".planes")) or name.startswith("mouth.motion.")
        (planes if fast else rest).append(parameter)
    return {"planes": nn.ParameterList(planes), "rest": nn.ParameterList(rest)}


def _drawn_windows(
    config: DecoderTraining, shots: Shots, places: Tensor, generator: torch.Generator
) -> list[Window]:
    """Whole pictures, or as many pixels in parts around details."""
    size, whole = config.crop_px, shots.size_px
    in_parts = size < whole and places.shape[1] > 0
    if not in_parts or torch.rand(1, generator=generator) >= config.crop_fraction:
        chosen = torch.randint(len(shots), (config.batch_size,), generator=generator)
        return [Window(index, 0, 0, whole) for index in chosen.tolist()]
    windows, factor = [], shots.pixels_per_latent
    for _ in range(config.batch_size * (whole // size) ** 2):
        index, detail = (
            int(torch.randint(count, (1,), generator=generator)) for count in places.shape[:2]
        )
        corner = places[index, detail] - torch.rand(2, generator=generator) * size
        y, x = (corner.clamp(0, whole - size) // factor * factor).int().tolist()
        windows.append(Window(index, y, x, size))
    return windows


def _noisy_latents(
    shots: Shots, window: Window, config: DecoderTraining, generator: torch.Generator
) -> Tensor:
    """[C,h,w] of a window."""
    sources: tuple[Source, ...] = get_args(Source)
    source = sources[int(torch.randint(len(sources), (1,), generator=generator))]
    latents = window.of_latents(shots.latents(window.index, source), shots.pixels_per_latent)
    spread = config.latent_noise * torch.rand(1, generator=generator)
    return latents + spread * torch.randn(latents.shape, generator=generator)


def _decoded(
    decoder: RiggedDecoder,
    shots: Shots,
    windows: list[Window],
    latents: Tensor,
    device: torch.device,
) -> Tensor:
    gbuffers, rays, mean_depths = [], [], []
    for window in windows:
        seen = shots.gbuffer(window.index)
        mean_depths.append(seen.depth[seen.mask].mean().to(device))
        parts = {name: window.of_image(t).to(device) for name, t in vars(seen).items()}
        gbuffers.append(GBuffer(**parts))
        whole = world_rays(shots.camera(window.index), device)
        rays.append(Rays(whole.origin, window.of_image(whole.direction)))
    codes = torch.stack([shots.code(window.index) for window in windows]).to(device)
    surface = decoder.look_up_parts(gbuffers, rays, codes, mean_depths)
    return decoder(latents.to(device), surface, codes)


def _detail_places(shots: Shots) -> Tensor:
    """[N,A,2] row and column of details in each picture; none for head models that name none."""
    poser = shots.avatar.head
    cameras = [shots.camera(index) for index in range(len(shots))]
    return detail_places(poser.nphm, poser.identity, cameras)


def _weights(places: Tensor, config: DecoderTraining, size_px: int) -> Tensor:
    """[1,H,W] how much each pixel of a picture with details at `places` [A,2] counts, 1 far from
    them all."""
    centres = torch.arange(size_px) + 0.5
    radius = config.detail_radius * size_px
    row, column = (
        (-((centres - places[:, axis, None]) ** 2) / (2 * radius**2)).exp() for axis in (0, 1)
    )
    near = torch.einsum("ay,ax->ayx", row, column)
    # A plane of zeros, for head models without details.
    nearest = functional.pad(near, (0, 0, 0, 0, 0, 1)).amax(dim=0, keepdim=True)
    return 1 + config.detail_weight * nearest


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


def _loss(found: Tensor, truth: Tensor, weight: Tensor, config: DecoderTraining) -> Tensor:
    """As of the autoencoder (`training.vae`), weighted by pixel, without its KL; and structure of
    the colours."""
    error = (found - truth).abs()
    edges = sum(
        ((found.diff(dim=axis) - truth.diff(dim=axis)).abs() * weight.narrow(axis, 1, size)).mean()
        for axis, size in ((2, found.shape[2] - 1), (3, found.shape[3] - 1))
    )
    pixels = (error + config.square_weight * error.square()) * weight
    loss = pixels.mean() + config.edge_weight * edges
    if config.structure_weight > 0:
        loss = loss + config.structure_weight * dissimilarity(found[:, :3], truth[:, :3], weight)
    return loss


def roughness(decoder: RiggedDecoder) -> Tensor:
    """Mean absolute difference of neighbouring texels (total variation) of a decoder's planes, and
    of its mouth's sheets where they hide each other."""
    planes = [decoder.triplane.planes]
    if isinstance(decoder.mouth, LayeredMouth):
        planes += [sheet.plane for sheet in decoder.mouth.sheets]
    return sum(
        (p.diff(dim=-2).abs().mean() + p.diff(dim=-1).abs().mean() for p in planes),
        planes[0].new_zeros(()),
    )
