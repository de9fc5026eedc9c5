"""Train an avatar's rigged decoder: latents as the avatar itself denoises them, and the head's
surface, to the true pictures.

All else of the avatar stays as it is. The latents of training pictures are a little better than
those of others, so noise is added to them: what the surface tells is to be trusted more.
"""

from __future__ import annotations

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
from avatar_viewer.diffusion.moving_planes import LayeredMouth
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import world_rays
from avatar_viewer.stages import GBuffer, Rays
from avatar_viewer.training.avatar import save_avatar
from avatar_viewer.training.decoder_settings import DecoderTraining
from avatar_viewer.training.decoder_start import build_decoder, start_jaw
from avatar_viewer.training.loop import Run
from avatar_viewer.training.losses import dissimilarity
from avatar_viewer.training.shots import Shots, Source, Window, latents_digest
from avatar_viewer.training.vae import detail_places

SHEET_VIEWS = 8


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
    decoder = build_decoder(config, avatar)
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
