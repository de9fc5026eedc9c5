"""Distillation of a tiny avatar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from known_person import known_codes
from PIL import Image
from tiny import FLOAT32, RESOLUTION_PX, tiny_avatar, tiny_person, tiny_vae, write_tiny_avatar
from tiny_training import write_inputs

from avatar_viewer.avatar import Avatar
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.samplers import REGRESSION, initial_noise, sample, training_schedule
from avatar_viewer.errors import AvatarError
from avatar_viewer.training import distill as training
from avatar_viewer.training.distill import (
    DistillTraining,
    consistency_loss,
    student_of,
    train_distill,
)
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.training.views import Batch, ViewOptions, Views


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_tiny_avatar(folder / "avatar")
    return folder


@pytest.fixture(autouse=True)
def known_person(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "person_of", known_codes(inputs / "data"))


def settings(inputs: Path, out: Path, steps: int = 60) -> DistillTraining:
    loop = LoopConfig(
        steps=steps, learning_rate=1e-3, warmup_steps=1, ema_decay=0.9, sample_every=steps
    )
    return DistillTraining(inputs / "data", inputs / "avatar", out, loop, batch_size=4, zooms=0)


def batch_of(inputs: Path, folder: Path) -> Batch:
    person = tiny_person(inputs / "data")
    records = person.frames("train")
    views = Views(records, person, tiny_vae(), folder, ViewOptions(RESOLUTION_PX, RESOLUTION_PX))
    return views.batch(range(len(records)), torch.device("cpu"))


@torch.no_grad()
def drawn(denoiser: Denoiser, batch: Batch, steps: int) -> torch.Tensor:
    conditioning = denoiser.condition(batch.gbuffers, batch.codes)
    noise = initial_noise(tuple(batch.latents.shape), seed=3)
    return sample(
        lambda x, t: denoiser(x, t, conditioning),
        noise,
        training_schedule(),
        steps=steps,
        sampler="ddim",
        seed=0,
    )


def test_one_step_of_the_student_comes_nearer_to_the_teachers_path(inputs: Path, tmp_path: Path):
    # The teacher is untrained: its path ends elsewhere than the truth.
    train_distill(replace(settings(inputs, tmp_path / "run"), truth_weight=0.0))
    avatar = Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
    teacher, student = avatar.denoiser, avatar.parts.student
    assert student is not None
    batch = batch_of(inputs, tmp_path)
    path_end = drawn(teacher, batch, 20)
    before, after = (
        (drawn(denoiser, batch, 1) - path_end).square().mean().item()
        for denoiser in (teacher, student)
    )
    assert after < 0.7 * before
    assert (avatar.info.steps, avatar.info.quick_steps) == (4, 1)
    unchanged = Avatar.load(inputs / "avatar", compute=FLOAT32).denoiser.state_dict()
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, unchanged[name])
    sheet = np.asarray(Image.open(tmp_path / "run" / "samples" / "000060.png"))
    assert sheet.shape == (6 * RESOLUTION_PX, 2 * RESOLUTION_PX, 3)


def test_a_perfect_teacher_is_already_consistent(inputs: Path, tmp_path: Path):
    """For one picture the best v is known in closed form; a student that says it has no loss."""
    batch = batch_of(inputs, tmp_path)
    batch = batch._replace(latents=batch.latents[:1].expand_as(batch.latents))
    schedule = training_schedule()

    class Knows(torch.nn.Module):
        def condition(self, gbuffers, codes):
            return tiny_avatar().denoiser.condition(gbuffers, codes)

        def forward(self, noisy, times, conditioning):
            alpha_bar = schedule.alphas_cumprod[times].view(-1, 1, 1, 1)
            rest = (1 - alpha_bar).sqrt().clamp(min=1e-6)
            return (alpha_bar.sqrt() * noisy - batch.latents) / rest

    class AlwaysGrey(Knows):
        """Consistent with itself, and wrong."""

        def forward(self, noisy, times, conditioning):
            alpha_bar = schedule.alphas_cumprod[times].view(-1, 1, 1, 1)
            return (alpha_bar / (1 - alpha_bar).clamp(min=1e-12)).sqrt() * noisy

    losses = [
        consistency_loss(
            net,  # type: ignore[arg-type]
            Knows(),  # type: ignore[arg-type]
            batch,
            schedule,
            settings(inputs, tmp_path),
            torch.Generator().manual_seed(seed),
        ).item()
        for seed in range(4)
        for net in (Knows(), student_of(tiny_avatar().denoiser), AlwaysGrey())
    ]
    assert max(losses[0::3]) < 1e-3 < min(losses[1::3])
    assert min(losses[2::3]) > 0.1


def test_the_teacher_gets_no_gradient(inputs: Path, tmp_path: Path):
    teacher = tiny_avatar().denoiser
    student = student_of(teacher)
    batch, schedule = batch_of(inputs, tmp_path), training_schedule()
    config = settings(inputs, tmp_path)
    generator = torch.Generator().manual_seed(0)
    consistency_loss(student, teacher, batch, schedule, config, generator).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert any(parameter.grad is not None for parameter in student.controlnet.parameters())
    assert any(parameter.grad is not None for parameter in student.unet.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"teacher_steps": 0}, "teacher_steps: expected 1 to 1000, found 0"),
        ({"steps": 0}, "steps: expected 1 to 1000, found 0"),
        ({"quick_steps": 1001}, "quick_steps: expected 1 to 1000, found 1001"),
        ({"zooms": -1}, "zooms: expected 0 or more, found -1"),
        ({"truth_weight": -0.5}, r"truth_weight: expected 0 or more, found -0\.5"),
        ({"huber": 0.0}, r"huber: expected more than 0, found 0\.0"),
        ({"pure_noise_share": 1.5}, r"pure_noise_share: expected 0 to 1, found 1\.5"),
    ],
)
def test_impossible_settings(inputs: Path, tmp_path: Path, change: dict, said: str):
    with pytest.raises(AvatarError, match=said):
        replace(settings(inputs, tmp_path), **change)


def test_an_avatar_without_diffusion_is_no_teacher(inputs: Path, tmp_path: Path):
    avatar = tiny_avatar()
    schedule = DDIMScheduler.from_config(avatar.schedule.config, prediction_type=REGRESSION)
    Avatar(avatar.parts._replace(schedule=schedule), FLOAT32).save(tmp_path / "regression")
    config = replace(settings(inputs, tmp_path / "run"), avatar=tmp_path / "regression")
    with pytest.raises(AvatarError, match="expected an avatar that denoises, found a regression"):
        train_distill(config)


def test_a_student_may_have_less_attention(inputs: Path, tmp_path: Path):
    """It is trained, saved and drawn like any other; its other layers begin as the teacher's."""
    teacher = tiny_avatar().denoiser
    lean = student_of(teacher, (False, False))
    assert any("attn" in name for name in teacher.unet.state_dict())
    for network, given in ((lean.unet, teacher.unet), (lean.controlnet, teacher.controlnet)):
        weights, whole = network.state_dict(), given.state_dict()
        left_out = [name for name in whole if name not in weights]
        assert left_out and all(".attentions." in name for name in left_out)
        assert not any("blocks" in n and "attn" in n for n in weights if "mid_block" not in n)
        assert all(torch.equal(weights[name], whole[name]) for name in weights)
    train_distill(replace(settings(inputs, tmp_path / "run", 2), attention=(False, False)))
    avatar = Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
    assert avatar.parts.student is not None
    saved = avatar.parts.student.unet.state_dict().keys()
    assert saved == lean.unet.state_dict().keys() < avatar.denoiser.unet.state_dict().keys()


def test_attention_is_told_for_each_level():
    with pytest.raises(AvatarError, match=r"attention: expected 2 levels, found \[True\]"):
        student_of(tiny_avatar().denoiser, (True,))
