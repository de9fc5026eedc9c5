"""Training of a prior, and an avatar's training over it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from tiny import RESOLUTION_PX, tiny_person, tiny_vae, write_tiny_frames
from tiny_training import tiny_training

from avatar_viewer.config import from_plain, to_plain
from avatar_viewer.errors import AvatarError
from avatar_viewer.training.avatar_networks import build_denoiser
from avatar_viewer.training.base import SmallUNet
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.training.prior import PriorTraining, train_prior
from avatar_viewer.weights import load_network, load_tensors, save_network

LOOP = LoopConfig(steps=60, learning_rate=3e-3, warmup_steps=1, ema_decay=0.8, bf16=False)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> PriorTraining:
    folder = tmp_path_factory.mktemp("prior")
    save_network(tiny_vae(), folder / "vae")
    people = tuple(write_tiny_frames(folder / name) for name in ("one", "two"))
    small = SmallUNet(channels=(16, 32), token_dim=12, heads=2)
    return PriorTraining(
        people, folder / "vae", folder / "run", LOOP, small, RESOLUTION_PX, batch_size=4
    )


@pytest.fixture(scope="module")
def run(settings: PriorTraining) -> Path:
    train_prior(settings)
    return settings.out


def test_it_learns_and_draws(settings: PriorTraining, run: Path):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 60 and lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    sheet = np.asarray(Image.open(run / "samples" / "000060.png"))
    assert sheet.shape == (RESOLUTION_PX, 8 * RESOLUTION_PX, 3)


def test_an_avatar_starts_from_it(settings: PriorTraining, run: Path, tmp_path: Path):
    base = load_network(UNet2DConditionModel, run / "prior" / "unet")
    prompt = load_tensors(run / "prior" / "prompt.safetensors")["prompt"]
    assert prompt.any()
    inputs = settings.data[0].parent
    avatar = tiny_training(inputs, tmp_path, data=settings.data[0], base=str(run / "prior"))
    denoiser = build_denoiser(avatar, tiny_vae(), tiny_person(avatar.data))
    assert torch.equal(denoiser.unet.conv_in.weight, base.conv_in.weight)
    assert torch.equal(denoiser.encoder.prompt, prompt)
    assert not denoiser.encoder.prompt.requires_grad


def test_the_settings_are_yaml(settings: PriorTraining):
    assert from_plain(to_plain(settings), PriorTraining, "prior.yaml") == settings


def test_a_folder_without_pictures_is_named(settings: PriorTraining, tmp_path: Path):
    with pytest.raises(AvatarError, match=r"nowhere/frames\.jsonl: expected"):
        train_prior(replace(settings, data=(*settings.data, tmp_path / "nowhere")))


def test_all_folders_have_one_report(settings: PriorTraining, tmp_path: Path):
    bad = tuple(write_tiny_frames(tmp_path / name) for name in ("bad", "worse"))
    for number, folder in enumerate(bad):
        (folder / f"frames/{number}.png").unlink()
    with pytest.raises(AvatarError) as caught:
        train_prior(replace(settings, data=(bad[0], settings.data[0], bad[1]), batch_size=13))
    lines = str(caught.value).splitlines()
    assert lines[0] == "data: expected data sets without faults, found 3:"
    assert lines[1].startswith(f"{bad[0]}/frames/0.png: expected a picture")
    assert lines[2].startswith(f"{bad[1]}/frames/1.png: expected a picture")
    assert lines[3].endswith("13 or more frames of split 'train' (a batch) in all, found 12")


def test_a_batch_is_filled_from_all_folders(settings: PriorTraining, tmp_path: Path):
    with pytest.raises(AvatarError, match=r"data: expected 9 or more frames .* in all, found 8"):
        train_prior(replace(settings, batch_size=9))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": ()}, "data: expected one or more folders, found none"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"resolution_px": 0}, "resolution_px: expected 1 or more, found 0"),
        ({"prompt_tokens": 0}, "prompt_tokens: expected 1 or more, found 0"),
        ({"resolution_px": 30}, "resolution_px: expected a multiple of 4, the autoencoder's"),
    ],
)
def test_impossible_settings(settings: PriorTraining, changes: dict, said: str):
    with pytest.raises(AvatarError, match=f"^{said}"):
        train_prior(replace(settings, **changes))
