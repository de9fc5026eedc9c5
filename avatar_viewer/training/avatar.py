"""Train an avatar: planes, expression tokens, ControlNet and U-Net (paper, sections 3.2 to 3.4).

The head model and the autoencoder come trained. Pictures are encoded and G-buffers rasterized
once, before the first step; a step then denoises latents at a random time and compares v.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import load_parts
from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.person import Person, load_person
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import (
    Autoencoder,
    decode,
    encode,
    encoder_fold_of,
    fold_of,
    load_autoencoder,
    pixels_per_latent,
    to_uint8,
)
from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.expression_attention import expression_parameters
from avatar_viewer.diffusion.samplers import (
    REGRESSION,
    initial_noise,
    sample,
    trailing_timesteps,
    training_schedule,
)
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.mesh_extraction import Extraction
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import GBuffer
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.vae import to_signed


@dataclass(frozen=True)
class SmallUNet:
    """An untrained base in place of a pre-trained one."""

    channels: tuple[int, ...] = (64, 128, 192)
    """By level; all but the first have attention."""
    layers_per_block: int = 1
    token_dim: int = 128
    heads: int = 4


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
    pretrained: bool = True
    """False: only the base's sizes and prompt are taken, and its weights are untrained."""
    small: SmallUNet = SmallUNet()
    train_unet: bool = True
    """False: the U-Net stays frozen but for the expression attention, as in the paper."""
    resolution_px: int = 256
    batch_size: int = 8
    pure_noise_share: float = 0.25
    """Part of the pictures that are denoised from the last time, where only the conditioning tells
    what to draw: few-step sampling starts there. The rest is spread evenly over all times."""
    extraction: Extraction = field(default_factory=Extraction)
    """How the person's mesh is extracted from the head model."""
    zooms: int = 1
    """Random enlargements of each picture that are trained on beside the picture itself."""
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
    prompt_tokens: int = 1
    """Learnt tokens in place of a prompt, without a base."""
    steps: int = 8
    """Denoising steps at rest, of the finished avatar."""
    quick_steps: int = 1


@dataclass(frozen=True)
class View:
    """A training picture: what the denoiser is given and what it should give."""

    gbuffer: GBuffer
    code: Tensor
    """[E] float32."""
    latents: Tensor
    """[C,h,w] float32."""


def train_avatar(config: AvatarTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    vae = load_autoencoder(config.vae)
    print("fitting expression codes", flush=True)
    person = load_person(config.data, config.head, config.out / "person", config.extraction)
    denoiser = build_denoiser(config, vae, person)
    rates = {"triplane": config.plane_learning_rate, "encoder": config.token_learning_rate}
    run = Run(config.out, trained_parts(denoiser, config.train_unet), config.loop, rates)
    avatar = _assemble(config, person, denoiser, vae)
    print("encoding pictures, rasterizing G-buffers", flush=True)
    views = [
        view for record in person.frames("train") for view in _views(record, person, vae, config)
    ]
    held_out = [_view(r, person, vae, config, 1.0) for r in person.frames("test")[:8]]
    schedule = avatar.schedule

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(views), (config.batch_size,), generator=generator)
        batch = [views[i] for i in chosen]
        if config.objective == "regression":
            return regression_loss(denoiser, batch, schedule)
        return v_loss(denoiser, batch, schedule, generator, config.pure_noise_share)

    def sheet(path: Path) -> None:
        _write_sheet(path, avatar, held_out, config)
        avatar.save(config.out / "avatar")

    run.train(loss_function, sheet)
    with run.averaged():
        avatar.save(config.out / "avatar")


def build_denoiser(config: AvatarTraining, vae: Autoencoder, person: Person) -> Denoiser:
    """The networks before the first step."""
    if config.start is not None:
        return _trained_before(config.start, person)
    channels = vae.config["latent_channels"]
    if config.base is not None:
        base = _pretrained(config.base, config.pretrained)
    else:
        attended = len(config.small.channels) - 1
        base = UNet2DConditionModel(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=config.small.channels,
            layers_per_block=config.small.layers_per_block,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attended,
            up_block_types=("CrossAttnUpBlock2D",) * attended + ("UpBlock2D",),
            cross_attention_dim=config.small.token_dim,
            attention_head_dim=config.small.heads,
            norm_num_groups=16,
            use_linear_projection=True,
        )
    if base.config["in_channels"] != channels:
        raise AvatarError(
            f"base: expected a U-Net for {channels} latent channels, found "
            f"{base.config['in_channels']}"
        )
    prompt = None if config.base is None else empty_prompt(config.base)
    sizes = DenoiserConfig(
        code_dim=person.code_dim,
        pixels_per_latent=pixels_per_latent(vae) * encoder_fold_of(vae) // fold_of(vae),
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


def _pretrained(base: str, with_weights: bool) -> UNet2DConditionModel:
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


def empty_prompt(base: str) -> Tensor | None:
    """[1,P,D]: what a text-to-image base's text encoder makes of the empty prompt.

    None for a folder without one, whose U-Net was trained without text.
    """
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


def trained_parts(denoiser: Denoiser, train_unet: bool) -> dict[str, nn.Module]:
    """The modules to train; freezes the rest of the U-Net where it is not trained."""
    denoiser.unet.requires_grad_(train_unet)
    for parameter in expression_parameters(denoiser.unet):
        parameter.requires_grad_(True)
    names = ("triplane", "encoder", "controlnet", "unet")
    return {name: getattr(denoiser, name) for name in names}


def v_loss(
    denoiser: Denoiser,
    views: list[View],
    schedule: DDIMScheduler,
    generator: torch.Generator,
    pure_noise_share: float = 0.0,
) -> Tensor:
    """Mean squared error of v = alpha * noise - sigma * latents (paper, section 3.4)."""
    latents = torch.stack([view.latents for view in views])
    noise = torch.randn(latents.shape, generator=generator)
    end = schedule.config["num_train_timesteps"]
    times = torch.randint(end, (len(views),), generator=generator)
    times[torch.rand(len(views), generator=generator) < pure_noise_share] = end - 1
    noisy = schedule.add_noise(latents, noise, times)  # pyright: ignore[reportArgumentType]
    target = schedule.get_velocity(latents, noise, times)  # pyright: ignore[reportArgumentType]
    conditioning = denoiser.condition(
        [view.gbuffer for view in views], torch.stack([view.code for view in views])
    )
    return functional.mse_loss(denoiser(noisy, times, conditioning).float(), target)


def regression_loss(denoiser: Denoiser, views: list[View], schedule: DDIMScheduler) -> Tensor:
    """Mean absolute error of the latents that one pass answers, without diffusion."""
    latents = torch.stack([view.latents for view in views])
    conditioning = denoiser.condition(
        [view.gbuffer for view in views], torch.stack([view.code for view in views])
    )
    last = trailing_timesteps(schedule, 1)[0]
    return functional.l1_loss(
        denoiser(torch.zeros_like(latents), last, conditioning).float(), latents
    )


def _views(
    record: FrameRecord, person: Person, vae: Autoencoder, config: AvatarTraining
) -> list[View]:
    """A frame as it is, and enlarged by factors that depend on nothing but its id."""
    rng = np.random.default_rng([config.loop.seed, *record.id.encode()])
    zooms = [1.0, *rng.uniform(1.0, 1.4, config.zooms)]
    return [_view(record, person, vae, config, zoom) for zoom in zooms]


def _view(
    record: FrameRecord, person: Person, vae: Autoencoder, config: AvatarTraining, zoom: float
) -> View:
    rgb = torch.from_numpy(record.rgb(config.resolution_px, zoom=zoom)).permute(2, 0, 1)[None]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=config.loop.bf16):
        latents = encode(vae, to_signed(rgb))[0].float()
    expression = person.expression(record)
    # Of the size that the encoder sees, which may be less than what the decoder draws.
    control_px = config.resolution_px * encoder_fold_of(vae) // fold_of(vae)
    gbuffer = person.gbuffer(record, control_px, zoom)
    return View(gbuffer, expression.tensor(), latents.clone())


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
    return Avatar(info, person.poser, denoiser, vae, training_schedule(kind), best_compute("cpu"))


def _write_sheet(path: Path, avatar: Avatar, views: list[View], config: AvatarTraining) -> None:
    """Three rows: the decoded truth, one denoising step, the full steps."""
    denoiser, vae = avatar.denoiser, avatar.vae
    truth = torch.stack([view.latents for view in views])
    rows = [truth]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=config.loop.bf16):
        conditioning = denoiser.condition(
            [view.gbuffer for view in views], torch.stack([view.code for view in views])
        )
        noise = initial_noise((1, *truth.shape[1:]), seed=0).expand_as(truth)
        for steps in (config.quick_steps, config.steps):
            rows.append(
                sample(
                    lambda x, t: denoiser(x, t, conditioning),
                    noise,
                    avatar.schedule,
                    steps=steps,
                    sampler="ddim",
                    seed=0,
                )
            )
        errors = [functional.mse_loss(row, truth).item() for row in rows[1:]]
        print(f"latent error on test: {errors[0]:.4f} quick, {errors[1]:.4f} full", flush=True)
        pictures = [to_uint8(decode(vae, row)) for row in rows]
    sheet = torch.cat([torch.cat(list(row), 1) for row in pictures], 0)
    Image.fromarray(sheet.numpy()).save(path)
