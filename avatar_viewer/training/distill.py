"""Distill an avatar: a student that needs one to four steps where its teacher takes twenty.

Latent consistency distillation (Luo et al. 2023; without guidance, as the paper renders): from two
neighbouring points of the teacher's path from noise to picture the student must answer the same
clean latents. A student that answers the same wrong ones everywhere would be consistent too, and
small networks drift there; so the true latents, which training pictures have, tie it down. Planes,
expression tokens and prompt are the teacher's, so what steers both is computed once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DDIMScheduler, ModelMixin
from PIL import Image
from torch import Tensor
from torch.nn import functional

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import load_parts
from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.data.check import check_data
from avatar_viewer.data.person import person_of
from avatar_viewer.device import best_compute
from avatar_viewer.diffusion.autoencoder import decode, to_uint8
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.samplers import REGRESSION, initial_noise, sample, trailing_timesteps
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import MAX_STEPS, Conditioning
from avatar_viewer.training.avatar import SHEET_VIEWS, save_avatar
from avatar_viewer.training.avatar_networks import control_resolution_px
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.views import Batch, ViewOptions, Views

Network = TypeVar("Network", bound=ModelMixin)

STUDENT_STEPS = (1, 2, 4)
"""What is compared with the teacher in sample sheets."""


@dataclass(frozen=True)
class DistillTraining:
    """What `avatar-viewer train distill` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    avatar: Path
    """The teacher's folder."""
    out: Path
    """The run's folder; `out/avatar` is the teacher's avatar with its student."""
    loop: LoopConfig
    batch_size: int = 8
    zooms: int = 1
    """Random enlargements of each picture that are trained on beside the picture itself."""
    teacher_steps: int = 20
    """Of the teacher's path; it is compared at this number too."""
    truth_weight: float = 1.0
    """Of the distance to the true latents, beside that to the student's own at the next point."""
    huber: float = 0.03
    """Where errors of latents begin to count linearly rather than squared."""
    pure_noise_share: float = 0.5
    """Part of the pictures that start at the last time, where a single step must do all."""
    steps: int = 4
    """Denoising steps at rest, of the student."""
    quick_steps: int = 1
    attention: tuple[bool, ...] | None = None
    """At which of the student's levels, from the finest on, attention stays; None: wherever the
    teacher has it. A small network loses little by leaving it out, and is faster."""

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("batch_size",))
        expect_at_least(self, 0, ("zooms", "truth_weight"))
        expect_between(self, 1, MAX_STEPS, ("teacher_steps", "steps", "quick_steps"))
        expect_between(self, 0, 1, ("pure_noise_share",))
        if not self.huber > 0:
            raise AvatarError(f"huber: expected more than 0, found {self.huber}")


def train_distill(config: DistillTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/avatar` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_data(config.data, at_least={"train": config.batch_size, "test": 1})
    compute = best_compute("cpu", torch.float32)
    parts = load_parts(config.avatar, compute, lambda stage: None)
    if parts.schedule.config["prediction_type"] == REGRESSION:
        raise AvatarError(f"{config.avatar}: expected an avatar that denoises, found a regression")
    teacher, schedule = parts.denoiser.requires_grad_(False), parts.schedule
    student = student_of(teacher, config.attention)
    modules = {"unet": student.unet, "controlnet": student.controlnet}
    run = Run(config.out, modules, config.loop)
    for network in (teacher, student, parts.vae):
        torch.nn.Module.to(network, run.device)
    avatar = Avatar(parts, compute)
    size_px = avatar.info.resolution_px
    control_px = control_resolution_px(teacher, parts.vae, size_px)
    options = ViewOptions(size_px, control_px, config.zooms, config.loop.seed)
    views, held_out = (
        Views(person.records[:count], person, parts.vae, config.out, replace(options, zooms=zooms))
        for person, count, zooms in (
            (person_of(avatar, config.data, "train"), None, config.zooms),
            (person_of(avatar, config.data, "test"), SHEET_VIEWS, 0),
        )
    )

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(views), (config.batch_size,), generator=generator)
        batch = views.batch(chosen.tolist(), run.device)
        return consistency_loss(student, teacher, batch, schedule, config, generator)

    def sheet(path: Path) -> None:
        with config.loop.autocast(run.device):
            batch = held_out.batch(range(len(held_out)), run.device)
            _write_sheet(path, student, avatar, batch, config)
        info = replace(avatar.info, steps=config.steps, quick_steps=config.quick_steps)
        finished = Avatar(parts._replace(info=info, student=student), compute)
        save_avatar(finished, config.out / "avatar", config.avatar / "head")

    run.train(loss_function, sheet)


def student_of(teacher: Denoiser, attention: Sequence[bool] | None = None) -> Denoiser:
    """A copy of U-Net and ControlNet, to be trained, over the teacher's planes and tokens; with
    attention at some of the levels only, where these are named."""
    networks: list[Any] = [copy.deepcopy(teacher.unet), copy.deepcopy(teacher.controlnet)]
    if attention is not None:
        networks = [with_attention_at(network, attention) for network in networks]
    for network in networks:
        network.requires_grad_(True).train()
    return Denoiser(teacher.triplane, teacher.encoder, *networks)


def with_attention_at(network: Network, levels: Sequence[bool]) -> Network:
    """The same U-Net or ControlNet without attention at levels, from the finest on, that say so."""
    config = {name: given for name, given in network.config.items() if name[0] != "_"}
    down = config["down_block_types"]
    if len(levels) != len(down):
        raise AvatarError(f"attention: expected {len(down)} levels, found {list(levels)}")
    for blocks, plain, stays in (
        ("down_block_types", "DownBlock2D", levels),
        ("up_block_types", "UpBlock2D", levels[::-1]),
    ):
        if blocks in config:
            kept = zip(config[blocks], stays, strict=True)
            config[blocks] = tuple(block if has else plain for block, has in kept)
    lean = type(network).from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(lean, type(network))
    weights = network.state_dict()
    lean.load_state_dict({name: weights[name] for name in lean.state_dict()})
    return lean


def consistency_loss(
    student: Denoiser,
    teacher: Denoiser,
    batch: Batch,
    schedule: DDIMScheduler,
    config: DistillTraining,
    generator: torch.Generator,
) -> Tensor:
    """How far the student's clean latents are from its own, one teacher's step nearer to them, and
    from the true ones.

    With v-prediction the answer at time 0 is the latents themselves, whatever the network, which is
    the boundary that consistency needs (Song et al. 2023, eq. 5).
    """
    latents = batch.latents
    timesteps = trailing_timesteps(schedule, config.teacher_steps)
    alpha_bars = torch.cat([schedule.alphas_cumprod[timesteps], torch.ones(1)]).to(latents.device)
    chosen = torch.randint(len(timesteps), (len(latents),), generator=generator)
    chosen[torch.rand(len(latents), generator=generator) < config.pure_noise_share] = 0
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    now, after = (alpha_bars[chosen + step].view(-1, 1, 1, 1) for step in (0, 1))
    times = timesteps.to(latents.device)[chosen]
    later = torch.cat([timesteps, torch.zeros(1).long()]).to(latents.device)[chosen + 1]

    noisy = now.sqrt() * latents + (1 - now).sqrt() * noise
    with torch.no_grad():
        conditioning = teacher.condition(batch.gbuffers, batch.codes)
        v = teacher(noisy, times, conditioning).float()
        less_noisy = after.sqrt() * _clean(noisy, v, now) + (1 - after).sqrt() * (
            now.sqrt() * v + (1 - now).sqrt() * noisy
        )
        target = _clean(less_noisy, student(less_noisy, later, conditioning).float(), after)
    found = _clean(noisy, student(noisy, times, conditioning).float(), now)

    def distance(wanted: Tensor) -> Tensor:
        return functional.huber_loss(found, wanted, delta=config.huber) / config.huber

    return distance(target) + config.truth_weight * distance(latents)


def _clean(noisy: Tensor, v: Tensor, alpha_bar: Tensor) -> Tensor:
    return alpha_bar.sqrt() * noisy - (1 - alpha_bar).sqrt() * v


@torch.inference_mode()
def _write_sheet(
    path: Path, student: Denoiser, avatar: Avatar, batch: Batch, config: DistillTraining
) -> None:
    """Rows: the decoded truth, the teacher's full steps, the student's few."""
    truth = batch.latents
    conditioning = student.condition(batch.gbuffers, batch.codes)
    noise = initial_noise((1, *truth.shape[1:]), seed=0).to(truth).expand_as(truth)

    def sampled(denoiser: Denoiser, steps: int) -> Tensor:
        return sample(
            _denoise(denoiser, conditioning),
            noise,
            avatar.schedule,
            steps=steps,
            sampler=avatar.info.sampler,
            seed=0,
        )

    rows = {"truth": truth}
    for steps in (config.teacher_steps, 1):
        rows[f"teacher {steps}"] = sampled(avatar.denoiser, steps)
    rows |= {f"student {steps}": sampled(student, steps) for steps in STUDENT_STEPS}
    errors = {name: functional.mse_loss(row, truth).item() for name, row in rows.items()}
    del errors["truth"]
    said = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
    print(f"latent error on test by steps: {said}", flush=True)
    pictures = [to_uint8(decode(avatar.vae, row)) for row in rows.values()]
    sheet = torch.cat([torch.cat(list(row), 1) for row in pictures], 0)
    Image.fromarray(sheet.cpu().numpy()).save(path)


def _denoise(denoiser: Denoiser, conditioning: Conditioning) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda latents, timestep: denoiser(latents, timestep, conditioning)
