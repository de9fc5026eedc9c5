"""Train an avatar's rigged decoder: latents as the avatar itself denoises them, and the head's
surface, to the true pictures.

All else of the avatar stays as it is. The latents of training pictures are a little better than
those of others, so noise is added to them: what the surface tells is to be trusted more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import load_parts
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.person import Person, person_of
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import encode, pixels_per_latent, to_uint8
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import make_folder
from avatar_viewer.stages import GBuffer, RenderRequest
from avatar_viewer.training.avatar import save_avatar
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.vae import detail_places, to_signed
from avatar_viewer.training.views import packed, unpacked
from avatar_viewer.weights import load_network, load_tensors, save_tensors

SHEET_VIEWS = 8

Source = Literal["quick", "full", "encoded"]
"""Whence latents are: few denoising steps, all of them, or the true picture through the encoder."""


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
    batch_size: int = 1
    """Whole pictures."""
    channels: tuple[int, ...] = (128, 96, 64)
    blocks: tuple[int, ...] = (2, 2, 3)
    plane_channels: int = 4
    plane_resolution: int = 512
    eye_channels: int = 4
    """Features that turn with the gaze; 0 for head models with another origin or other axes than
    the project's own."""
    plane_learning_rate: float = 1e-2
    latent_noise: float = 0.1
    """Largest standard deviation of what is added to latents, which are of about unit variance."""
    detail_weight: float = 3.0
    """How much more pixels around lips, lids and nose count: they are few, but looked at most."""
    detail_radius: float = 0.04
    """How far around, as a part of the picture's height."""
    edge_weight: float = 1.0
    square_weight: float = 10.0
    smoothness: float = 0.0
    """Weight of differences between neighbouring texels of the planes: what is seldom seen, as the
    inside of the mouth, is otherwise noise."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "plane_channels", "plane_resolution"):
            if getattr(self, name) < 1:
                raise AvatarError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        if not self.channels or len(self.channels) != len(self.blocks):
            raise AvatarError(
                f"blocks: expected a number for each of channels {list(self.channels)}, "
                f"found {list(self.blocks)}"
            )


class _Shots:
    """A split's pictures with what the decoder is given for them, each made when first asked for.

    Latents, which cost most, are kept in `folder`.
    """

    def __init__(self, avatar: Avatar, person: Person, folder: Path) -> None:
        self.avatar, self.person, self.folder = avatar, person, folder
        make_folder(folder)
        self.size_px = avatar.info.resolution_px
        self._pictures: dict[int, Tensor] = {}
        self._gbuffers: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.person.records)

    def picture(self, index: int) -> Tensor:
        """[3,H,W] in -1..1."""
        if index not in self._pictures:
            rgb = self.person.records[index].rgb(self.size_px)
            self._pictures[index] = torch.from_numpy(rgb).permute(2, 0, 1)
        return to_signed(self._pictures[index])

    def gbuffer(self, index: int) -> GBuffer:
        if index not in self._gbuffers:
            record = self.person.records[index]
            self._gbuffers[index] = packed(self.person.gbuffer(record, self.size_px))
        return unpacked(self._gbuffers[index])

    def code(self, index: int) -> Tensor:
        """[E]."""
        return self.person.expression(self.person.records[index]).tensor()

    def latents(self, index: int, source: Source) -> Tensor:
        """[C,h,w]."""
        record = self.person.records[index]
        name = hashlib.sha256(f"{record.id} {source}".encode()).hexdigest()[:16]
        path = self.folder / f"{name}.st"
        if not path.is_file():
            save_tensors({"latents": self._latents(index, record, source)}, path)
        return load_tensors(path)["latents"]

    @torch.no_grad()
    def _latents(self, index: int, record: FrameRecord, source: Source) -> Tensor:
        if source == "encoded":
            return encode(self.avatar.vae, self.picture(index)[None])[0]
        info = self.avatar.info
        request = RenderRequest(
            self.person.expression(record),
            self.person.head_frame.camera(record.camera, self.size_px),
            steps=info.quick_steps if source == "quick" else info.steps,
            sampler=info.sampler,
        )
        return self.avatar.latents(request)[0].clone()


def train_decoder(config: DecoderTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    compute = best_compute("cpu", torch.float32)
    parts = load_parts(config.avatar, compute, lambda stage: None)
    avatar = Avatar(parts._replace(decoder=None), compute)
    decoder = _build(config, avatar)
    planes = nn.ModuleList([decoder.triplane, decoder.eyes])
    rest = nn.ModuleList(part for part in decoder.children() if part not in planes)
    modules = {"planes": planes, "rest": rest}
    run = Run(config.out, modules, config.loop, {"planes": config.plane_learning_rate})
    folder = config.out / f"latents-{_digest(avatar)}"
    shots, held_out = (
        _Shots(avatar, person_of(avatar, config.data, split), folder / split)
        for split in ("train", "test")
    )
    weights = _DetailWeights(shots, config)

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(shots), (config.batch_size,), generator=generator).tolist()
        sources: list[Source] = ["quick", "full", "encoded"]
        picks = torch.randint(len(sources), (config.batch_size,), generator=generator).tolist()
        latents = torch.stack(
            [shots.latents(i, sources[k]) for i, k in zip(chosen, picks, strict=True)]
        )
        spread = config.latent_noise * torch.rand(len(chosen), 1, 1, 1, generator=generator)
        latents = latents + spread * torch.randn(latents.shape, generator=generator)
        truth = torch.stack([shots.picture(index) for index in chosen]).to(run.device)
        found = _decoded(decoder, shots, chosen, latents, run.device)
        loss = _loss(found.float(), truth, weights(chosen).to(run.device), config)
        return loss + config.smoothness * roughness(decoder.triplane.planes)

    @torch.inference_mode()
    def sheet(path: Path) -> None:
        rows = []
        for index in range(min(SHEET_VIEWS, len(held_out))):
            latents = held_out.latents(index, "quick")[None]
            found = _decoded(decoder, held_out, [index], latents, run.device)[0].clamp(-1, 1).cpu()
            rows.append((held_out.picture(index), found))
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
        return decoder.requires_grad_(True)
    levels = len(config.channels) - 1
    fold, rest = divmod(pixels_per_latent(avatar.vae), 2**levels)
    if rest or fold < 1:
        raise AvatarError(
            f"channels: expected {pixels_per_latent(avatar.vae)} pixels per latent to be a "
            f"multiple of {2**levels}, found {len(config.channels)} levels"
        )
    box = avatar.head.nphm.config
    return RiggedDecoder(
        latent_channels=avatar.vae.config["latent_channels"],
        code_dim=avatar.info.expression_dim,
        channels=config.channels,
        blocks=config.blocks,
        fold=fold,
        plane_channels=config.plane_channels,
        plane_resolution=config.plane_resolution,
        eye_channels=config.eye_channels,
        box_min=tuple(box["box_min"]),
        box_max=tuple(box["box_max"]),
    )


def _decoded(
    decoder: RiggedDecoder, shots: _Shots, chosen: list[int], latents: Tensor, device: torch.device
) -> Tensor:
    gbuffers = [shots.gbuffer(index) for index in chosen]
    codes = torch.stack([shots.code(index) for index in chosen]).to(device)
    surface = decoder.look_up(
        [GBuffer(**{n: t.to(device) for n, t in vars(buffer).items()}) for buffer in gbuffers],
        codes,
    )
    return decoder(latents.to(device), surface, codes)


class _DetailWeights:
    """How much each pixel counts."""

    def __init__(self, shots: _Shots, config: DecoderTraining) -> None:
        self.config, self.size_px = config, shots.size_px
        person, poser = shots.person, shots.avatar.head
        cameras = [person.head_frame.camera(r.camera, shots.size_px) for r in person.records]
        self.places = detail_places(poser.nphm, poser.identity, cameras)

    def __call__(self, chosen: list[int]) -> Tensor:
        """[B,1,H,W], 1 far from all details."""
        centres = torch.arange(self.size_px) + 0.5
        radius = self.config.detail_radius * self.size_px
        row, column = (
            (-((centres - self.places[chosen][..., axis, None]) ** 2) / (2 * radius**2)).exp()
            for axis in (0, 1)
        )
        near = torch.einsum("bay,bax->bayx", row, column)
        # A plane of zeros, for head models without detail anchors.
        nearest = functional.pad(near, (0, 0, 0, 0, 0, 1)).amax(dim=1, keepdim=True)
        return 1 + self.config.detail_weight * nearest


def _loss(found: Tensor, truth: Tensor, weight: Tensor, config: DecoderTraining) -> Tensor:
    """As of the autoencoder (`training.vae`), weighted by pixel, without its KL."""
    error = (found - truth).abs()
    edges = sum(
        ((found.diff(dim=axis) - truth.diff(dim=axis)).abs() * weight.narrow(axis, 1, size)).mean()
        for axis, size in ((2, found.shape[2] - 1), (3, found.shape[3] - 1))
    )
    pixels = (error + config.square_weight * error.square()) * weight
    return pixels.mean() + config.edge_weight * edges


def roughness(planes: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring texels (total variation) of planes [3,C,R,R]."""
    return planes.diff(dim=2).abs().mean() + planes.diff(dim=3).abs().mean()


def _digest(avatar: Avatar) -> str:
    """Of what latents depend on."""
    head, info = avatar.head, avatar.info
    digest = hashlib.sha256(repr((info.resolution_px, info.steps, info.quick_steps)).encode())
    for tensors in (
        avatar.denoiser.state_dict(),
        avatar.vae.state_dict(),
        vars(head.head),
        vars(head.hull) if head.hull is not None else {},
    ):
        for name, tensor in tensors.items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
