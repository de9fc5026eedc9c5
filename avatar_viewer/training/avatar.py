"""Train an avatar: planes, expression tokens, ControlNet and U-Net (paper, sections 3.2 to 3.4).

The head model and the autoencoder come trained. A step denoises the latents of some views (see
`training.views`) at random times, and compares v.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import Parts, load_parts
from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.data.check import check_data
from avatar_viewer.data.person import Person, load_person
from avatar_viewer.data.visual_hull import Carving
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import (
    Autoencoder,
    decode,
    encoder_fold_of,
    fold_of,
    load_autoencoder,
    pixels_per_latent,
    to_uint8,
)
from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.expression_attention import expression_parameters
from avatar_viewer.diffusion.samplers import REGRESSION, initial_noise, sample, training_schedule
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.mesh_extraction import Extraction
from avatar_viewer.head.nphm import CODES_FILE
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.training.base import (
    SmallUNet,
    empty_prompt,
    pretrained_tiny_vae,
    pretrained_unet,
)
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.losses import regression_loss, v_loss
from avatar_viewer.training.views import Batch, ViewOptions, Views

SHEET_VIEWS = 8


@dataclass(frozen=True)
class AvatarTraining:
    """What `avatar-viewer train avatar` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    head: Path
    """The trained head model's folder."""
    vae: Path
    """The autoencoder's folder."""
    out: Path
    """The run's folder; the avatar lies in `out/avatar`."""
    loop: LoopConfig
    name: str
    licence: str
    provenance: str
    corners: tuple[str, str, str, str]
    """Kinds ("corner: neutral", ...) or ids of the training frames whose expressions lie at the
    pad's corners."""
    default_view: Orbit
    start: Path | None = None
    """A trained avatar's folder, whose networks are trained on; sizes and `base` are then its."""
    base: str | None = None
    """A folder or Hub id of a pre-trained U-Net (`unet` subfolder); None: `small`, untrained."""
    tiny_vae: str | None = None
    """A folder or Hub id of an AutoencoderTiny of the same latents, which draws in place of a large
    autoencoder wherever speed counts."""
    pretrained: bool = True
    """False: only the base's sizes and prompt are taken, and its weights are untrained."""
    small: SmallUNet = field(default_factory=SmallUNet)
    train_unet: bool | None = None
    """False: the U-Net stays frozen but for the expression attention, as in the paper. None: so
    where there is a `base`."""
    resolution_px: int = 256
    batch_size: int = 8
    pure_noise_share: float = 0.25
    """Part of the pictures that are denoised from the last time, where only the conditioning tells
    what to draw: few-step sampling starts there. The rest is spread evenly over all times."""
    extraction: Extraction = field(default_factory=Extraction)
    """How the person's mesh is extracted from the head model."""
    hull: Carving | None = None
    """How hair and shoulders are carved from the pictures' silhouettes, which need alpha for that;
    None: the head model's mesh alone is rasterized."""
    zooms: int = 1
    """Random enlargements of each picture that are trained on beside the picture itself."""
    keep_gbuffers: bool = True
    """Whether rasterized G-buffers are kept in `out` (about 1 MB each at 256 pixels); otherwise
    each step rasterizes its own."""
    objective: Literal["v", "regression"] = "v"
    """What is learnt: denoising, or (without diffusion) the latents themselves in one pass."""
    expression_attention: bool = True
    """Whether expression tokens reach the U-Net, by layers of their own."""
    plane_channels: int = 8
    """Of each plane; 0: no spatial features, the G-buffer alone steers."""
    plane_resolution: int = 128
    plane_learning_rate: float = 1e-2
    token_learning_rate: float = 5e-3
    """Of the linear layer that makes expression tokens; codes are small numbers."""
    stem_channels: tuple[int, ...] = (64,)
    control_px_per_latent: int | None = None
    """Pixels of the ControlNet's G-buffer, along one axis, for each latent. A rigged decoder sees
    the surface in the picture's own size, so few are enough. None: as many as the encoder sees."""
    prompt_tokens: int = 1
    """Learnt tokens in place of a prompt, without a base."""
    steps: int = 8
    """Denoising steps at rest, of the finished avatar."""
    quick_steps: int = 1

    @property
    def trains_unet(self) -> bool:
        """`train_unet`, or what it is by default."""
        return self.base is None if self.train_unet is None else self.train_unet


def train_avatar(config: AvatarTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    vae = load_autoencoder(config.vae)
    print("fitting expression codes", flush=True)
    person = load_person(
        config.data, config.head, config.out / "person", config.extraction, config.hull
    )
    denoiser = build_denoiser(config, vae, person)
    rates = {"triplane": config.plane_learning_rate, "encoder": config.token_learning_rate}
    run = Run(config.out, trained_parts(denoiser, config.trains_unet), config.loop, rates)
    nn.Module.to(vae, run.device)
    avatar = _assemble(config, person, denoiser, vae)
    options = ViewOptions(
        config.resolution_px,
        control_resolution_px(denoiser, vae, config.resolution_px),
        config.zooms,
        config.loop.seed,
        config.keep_gbuffers,
    )
    views = Views(person.frames("train"), person, vae, config.out, options)
    test = person.frames("test")[:SHEET_VIEWS]
    held_out = Views(test, person, vae, config.out, replace(options, zooms=0))

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(views), (config.batch_size,), generator=generator)
        batch = views.batch(chosen.tolist(), run.device)
        if config.objective == "regression":
            return regression_loss(denoiser, batch, avatar.schedule)
        return v_loss(denoiser, batch, avatar.schedule, generator, config.pure_noise_share)

    def sheet(path: Path) -> None:
        with config.loop.autocast(run.device):
            _write_sheet(path, avatar, held_out.batch(range(len(test)), run.device))
        save_avatar(avatar, config.out / "avatar", config.head)

    run.train(loss_function, sheet)
    if run.workers.is_first:
        with run.averaged():
            save_avatar(avatar, config.out / "avatar", config.head)


def save_avatar(avatar: Avatar, folder: Path, head: Path) -> None:
    """With the codebooks of the head model's folder, which fits of other heads start from."""
    avatar.save(folder)
    if (codes := head / CODES_FILE).is_file():
        shutil.copyfile(codes, folder / "head" / CODES_FILE)


def control_resolution_px(denoiser: Denoiser, vae: Autoencoder, resolution_px: int) -> int:
    """Height of the G-buffer that steers the denoiser of pictures of this height."""
    return resolution_px // pixels_per_latent(vae) * denoiser.pixels_per_latent


def build_denoiser(config: AvatarTraining, vae: Autoencoder, person: Person) -> Denoiser:
    """The networks before the first step."""
    if config.start is not None:
        return _trained_before(config.start, person)
    channels = vae.config["latent_channels"]
    if config.base is not None:
        base = pretrained_unet(config.base, config.pretrained)
    else:
        base = config.small.build(channels)
    if base.config["in_channels"] != channels:
        raise AvatarError(
            f"base: expected a U-Net for {channels} latent channels, found "
            f"{base.config['in_channels']}"
        )
    prompt = None if config.base is None else empty_prompt(config.base)
    sizes = DenoiserConfig(
        code_dim=person.code_dim,
        pixels_per_latent=_control_px_per_latent(config, vae),
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


def _control_px_per_latent(config: AvatarTraining, vae: Autoencoder) -> int:
    whole, stem = pixels_per_latent(vae), 2 ** (len(config.stem_channels) - 1)
    found = config.control_px_per_latent or whole * encoder_fold_of(vae) // fold_of(vae)
    if found < 1 or whole % found or found % stem:
        raise AvatarError(
            f"control_px_per_latent: expected a divisor of {whole} and a multiple of {stem}, found "
            f"{found}"
        )
    return found


def _trained_before(folder: Path, person: Person) -> Denoiser:
    parts = load_parts(folder, best_compute("cpu", torch.float32), lambda stage: None)
    code_dim = parts.denoiser.encoder.config["code_dim"]
    if code_dim != person.code_dim:
        raise AvatarError(
            f"start: {folder}: expected expression codes of {person.code_dim} numbers, "
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


def _assemble(
    config: AvatarTraining, person: Person, denoiser: Denoiser, vae: Autoencoder
) -> Avatar:
    corners = []
    for kind in config.corners:
        record = next((r for r in person.frames("train") if kind in (r.kind, r.id)), None)
        if record is None:
            raise AvatarError(
                f"corners: expected a training frame of kind or id '{kind}', found none"
            )
        corners.append(Corner(kind.removeprefix("corner: "), person.expression(record)))
    info = AvatarInfo(
        name=config.name,
        licence=config.licence,
        provenance=config.provenance,
        resolution_px=config.resolution_px,
        steps=config.steps,
        quick_steps=config.quick_steps,
        sampler="ddim",
        default_view=config.default_view,
        corners=tuple(corners),  # pyright: ignore[reportArgumentType]
    )
    kind = REGRESSION if config.objective == "regression" else "v_prediction"
    tiny = None if config.tiny_vae is None else pretrained_tiny_vae(config.tiny_vae)
    parts = Parts(info, person.poser, denoiser, vae, training_schedule(kind), tiny=tiny)
    return Avatar(parts, best_compute("cpu"))


@torch.inference_mode()
def _write_sheet(path: Path, avatar: Avatar, batch: Batch) -> None:
    """Three rows: the decoded truth, few denoising steps, the full steps."""
    denoiser, truth, info = avatar.denoiser, batch.latents, avatar.info
    conditioning = denoiser.condition(batch.gbuffers, batch.codes)
    noise = initial_noise((1, *truth.shape[1:]), seed=0).to(truth).expand_as(truth)

    def sampled(steps: int) -> Tensor:
        return sample(
            lambda x, t: denoiser(x, t, conditioning),
            noise,
            avatar.schedule,
            steps=steps,
            sampler=info.sampler,
            seed=0,
        )

    rows = [truth, sampled(info.quick_steps), sampled(info.steps)]
    errors = [functional.mse_loss(row, truth).item() for row in rows[1:]]
    print(f"latent error on test: {errors[0]:.4f} quick, {errors[1]:.4f} full", flush=True)
    pictures = [to_uint8(decode(avatar.vae, row)) for row in rows]
    sheet = torch.cat([torch.cat(list(row), 1) for row in pictures], 0)
    Image.fromarray(sheet.cpu().numpy()).save(path)
