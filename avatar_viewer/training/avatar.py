"""Train an avatar: planes, expression tokens, ControlNet and U-Net (paper, sections 3.2 to 3.4).

The head model and the autoencoder come trained. A step denoises the latents of some views (see
`training.views`) at random times, and compares v.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import Parts
from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.data.person import Person, load_person
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import Autoencoder, decode, load_autoencoder, to_uint8
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.samplers import REGRESSION, initial_noise, sample, training_schedule
from avatar_viewer.head.nphm import CODES_FILE
from avatar_viewer.training.avatar_check import check_start, corner_frame
from avatar_viewer.training.avatar_networks import (
    build_denoiser,
    control_resolution_px,
    load_tiny,
    trained_parts,
)
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.loop import Run
from avatar_viewer.training.losses import regression_loss, v_loss
from avatar_viewer.training.views import Batch, ViewOptions, Views

SHEET_VIEWS = 8


def train_avatar(config: AvatarTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    check_start(config)
    torch.manual_seed(config.loop.seed)
    vae = load_autoencoder(config.vae)
    print("fitting expression codes", flush=True)
    person = load_person(
        config.data, config.head, config.person_folder, config.extraction, config.hull
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


def _assemble(
    config: AvatarTraining, person: Person, denoiser: Denoiser, vae: Autoencoder
) -> Avatar:
    corners = []
    for kind in config.corners:
        record = corner_frame(kind, person.frames("train"))
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
    schedule, tiny = training_schedule(kind), load_tiny(config)
    parts = Parts(info, person.poser, denoiser, vae, schedule, tiny=tiny)
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
