"""Train the autoencoder on one person's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from torch.nn import functional

from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.head_frame import read_head_frame
from avatar_viewer.data.person import person_identity
from avatar_viewer.diffusion.autoencoder import (
    NORM_GROUPS,
    Autoencoder,
    build_autoencoder,
    decode,
    encode,
    encoder_input,
    pixels_per_latent,
    to_uint8,
    with_fold,
)
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM, load_nphm
from avatar_viewer.raster.camera import project
from avatar_viewer.stages import Camera
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.weights import load_network, save_network


@dataclass(frozen=True)
class VaeTraining:
    """What `avatar-viewer train vae` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    out: Path
    """The run's folder; the result lies in `out/vae`."""
    loop: LoopConfig
    start: Path | None = None
    """A trained autoencoder's folder to go on from with its encoder frozen, so that avatars that
    were trained on its latents can take the better decoder. With a larger `fold` than its own the
    decoder learns to draw larger pictures than the encoder sees."""
    resolution_px: int = 256
    batch_size: int = 4
    crop_px: int = 128
    """Early steps see this many pixels a side, and accordingly more crops a picture."""
    crop_fraction: float = 0.7
    """How much of the steps uses crops; the rest sees whole pictures, as inference does."""
    head: Path | None = None
    """A trained head model's folder, for `detail_share`."""
    detail_share: float = 0.0
    """Part of the crops that lies around lips, lids and nose: small, but what people look at."""
    fold: int = 4
    """Blocks of this many pixels squared are taken as channels."""
    channels: tuple[int, ...] = (96, 160)
    latent_channels: int = 8
    kl_weight: float = 1e-6
    edge_weight: float = 1.0
    square_weight: float = 10.0

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("fold", "batch_size", "latent_channels"))
        expect_at_least(self, 0, ("kl_weight", "edge_weight", "square_weight"))
        expect_between(self, 0, 1, ("crop_fraction",))
        if not self.channels or any(width < 1 or width % NORM_GROUPS for width in self.channels):
            raise AvatarError(
                f"channels: expected multiples of {NORM_GROUPS}, found {list(self.channels)}"
            )
        stride = self.fold * 2 ** (len(self.channels) - 1)
        for name in ("resolution_px", "crop_px"):
            size = getattr(self, name)
            if size < 1 or size % stride:
                raise AvatarError(f"{name}: expected a multiple of {stride}, found {size}")
        if not 0 <= self.detail_share <= 1 or (self.detail_share > 0 and self.head is None):
            raise AvatarError(
                f"detail_share: expected 0 to 1, and a head beside it, found {self.detail_share}"
            )
        if self.crop_px > self.resolution_px:
            raise AvatarError(
                f"crop_px: expected at most resolution_px ({self.resolution_px}), "
                f"found {self.crop_px}"
            )


def check_whole_latents(resolution_px: int, vae: Autoencoder) -> None:
    """Raise AvatarError for a size of pictures that ends within a latent."""
    stride = pixels_per_latent(vae)
    if resolution_px % stride:
        raise AvatarError(
            f"resolution_px: expected a multiple of {stride}, the autoencoder's pixels per latent, "
            f"found {resolution_px}"
        )


def load_pictures(folder: Path, split: str, size_px: int) -> Tensor:
    """[N,3,H,W] uint8 over white."""
    pictures = [record.rgb(size_px) for record in read_frames(folder, split)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 -> float32 in -1..1."""
    return pictures.float() / 127.5 - 1


def train_vae(config: VaeTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/vae` at the end."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    if config.start is None:
        vae = build_autoencoder(config.channels, config.latent_channels, config.fold)
    else:
        vae = with_fold(load_network(AutoencoderKL, config.start), config.fold)
        vae.requires_grad_(True)
        for name in ("encoder", "quant_conv"):
            vae.get_submodule(name).requires_grad_(False)
    run = Run(config.out, {"vae": vae}, config.loop)
    pictures = load_pictures(config.data, "train", config.resolution_px)
    held_out = load_pictures(config.data, "test", config.resolution_px)
    places = None
    if config.head is not None and config.detail_share > 0:
        nphm, records = load_nphm(config.head), read_frames(config.data, "train")
        identity = person_identity(nphm, config.head, config.data, records)
        frame = read_head_frame(config.data, nphm)
        cameras = [frame.camera(record.camera, config.resolution_px) for record in records]
        places = detail_places(nphm, identity, cameras)

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        whole = step >= config.crop_fraction * config.loop.steps
        if whole:
            batch = _whole(pictures, config, generator)
        else:
            batch = _crops(pictures, places, config, generator)
        batch = batch.to(run.device)
        return _loss(vae, batch, config, generator)

    def sample(path: Path) -> None:
        rgb = to_signed(held_out[:8]).to(run.device)
        with torch.inference_mode():
            rebuilt = decode(vae, encode(vae, rgb))
        error = (rebuilt - rgb).square().mean().item() / 4
        decibel = -10 * np.log10(error)
        print(f"step {run.step}: PSNR on {len(rgb)} test pictures {decibel:.2f} dB")
        sheet = torch.cat([torch.cat(list(to_uint8(row)), 1) for row in (rgb, rebuilt)], 0)
        Image.fromarray(sheet.cpu().numpy()).save(path)

    run.train(loss_function, sample)
    if not run.workers.is_first:
        return
    with run.averaged(), torch.inference_mode():
        if config.start is None:
            # Diffusion wants latents of unit variance (Rombach et al. 2022, appendix G).
            some = [to_signed(p).to(run.device) for p in pictures[::8].split(8)]
            raw = torch.cat([encode(vae, rgb) for rgb in some])
            vae.register_to_config(scaling_factor=vae.config["scaling_factor"] / raw.std().item())
        save_network(vae, config.out / "vae")


def detail_places(nphm: NPHM, identity: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """[N,A,2] row and column of the head's detail anchors in each camera's picture, by the
    canonical pose: an expression moves them by little."""
    anchors = nphm.anchors(identity)[list(nphm.config["detail_anchors"])].detach()
    return torch.stack([project(anchors, camera)[0].flip(1) for camera in cameras])


def _whole(pictures: Tensor, config: VaeTraining, generator: torch.Generator) -> Tensor:
    return to_signed(pictures[_chosen(pictures, config, generator)])


def _crops(
    pictures: Tensor, places: Tensor | None, config: VaeTraining, generator: torch.Generator
) -> Tensor:
    """As many pixels as in whole pictures."""
    size, crops = config.crop_px, []
    chosen = _chosen(pictures, config, generator)
    for index in chosen.repeat((config.resolution_px // size) ** 2):
        corner = torch.randint(config.resolution_px - size + 1, (2,), generator=generator)
        if places is not None and torch.rand(1, generator=generator) < config.detail_share:
            anchor = torch.randint(places.shape[1], (1,), generator=generator)
            corner = places[index, anchor[0]] - torch.rand(2, generator=generator) * (size - 1)
        y, x = corner.clamp(0, config.resolution_px - size).int().tolist()
        crops.append(pictures[index, :, y : y + size, x : x + size])
    return to_signed(torch.stack(crops))


def _chosen(pictures: Tensor, config: VaeTraining, generator: torch.Generator) -> Tensor:
    return torch.randint(len(pictures), (config.batch_size,), generator=generator)


def _loss(vae, rgb: Tensor, config: VaeTraining, generator: torch.Generator) -> Tensor:
    """L1 on colours, for most of the picture; squares, for eyes and teeth, which are small and far
    off at first; L1 on differences of neighbours, for sharp lashes and hair; a weak KL."""
    posterior = vae.encode(encoder_input(vae, rgb)).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(rgb.device)
    folded = vae.decode(posterior.mean + posterior.std * noise).sample
    rebuilt = functional.pixel_shuffle(folded, config.fold).float()
    edges = sum((rebuilt.diff(dim=axis) - rgb.diff(dim=axis)).abs().mean() for axis in (2, 3))
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    return (
        functional.l1_loss(rebuilt, rgb)
        + config.square_weight * functional.mse_loss(rebuilt, rgb)
        + config.edge_weight * edges
        + config.kl_weight * kl
    )
