"""Training of a rigged decoder for a tiny avatar."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from known_person import known_codes
from PIL import Image
from tiny import CODE_DIM, FLOAT32, RESOLUTION_PX, VIEW, tiny_avatar, tiny_person, write_tiny_avatar
from tiny_training import write_inputs

from avatar_viewer.avatar import Avatar
from avatar_viewer.diffusion.moving_planes import LayeredMouth, MouthSheets
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import ExpressionCode, RenderRequest
from avatar_viewer.training import decoder as training
from avatar_viewer.training.decoder import train_decoder
from avatar_viewer.training.decoder_settings import DecoderTraining
from avatar_viewer.training.decoder_start import start_jaw
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.training.shots import Shots
from avatar_viewer.weights import load_network


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_tiny_avatar(folder / "avatar")
    return folder


@pytest.fixture(autouse=True)
def known_person(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "person_of", known_codes(inputs / "data"))


def settings(inputs: Path, out: Path, steps: int = 40) -> DecoderTraining:
    return DecoderTraining(
        data=inputs / "data",
        avatar=inputs / "avatar",
        out=out,
        loop=LoopConfig(steps=steps, learning_rate=3e-3, warmup_steps=1, sample_every=steps),
        channels=(16,),
        blocks=(1,),
        plane_channels=2,
        plane_resolution=16,
    )


def error_of(avatar: Avatar, inputs: Path) -> float:
    person = tiny_person(inputs / "data")
    errors = []
    for record in person.frames("train"):
        camera = person.head_frame.camera(record.camera, RESOLUTION_PX)
        rgb = avatar.render(RenderRequest(person.expression(record), camera, steps=1)).rgb
        errors.append(np.square(rgb.astype(float) - record.rgb(RESOLUTION_PX)).mean())
    return float(np.mean(errors))


def test_the_avatar_is_written_with_a_better_decoder(inputs: Path, tmp_path: Path):
    before = Avatar.load(inputs / "avatar", compute=FLOAT32)
    train_decoder(settings(inputs, tmp_path / "run"))
    after = Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
    assert before.decoder is None and after.decoder is not None
    assert error_of(after, inputs) < 0.3 * error_of(before, inputs)
    for name, tensor in before.denoiser.state_dict().items():
        assert torch.equal(tensor, after.denoiser.state_dict()[name]), name
    sheet = np.asarray(Image.open(tmp_path / "run" / "samples" / "000040.png"))
    assert sheet.shape == (2 * RESOLUTION_PX, 2 * RESOLUTION_PX, 3)


def test_a_run_that_goes_on_ends_the_same(inputs: Path, tmp_path: Path):
    train_decoder(settings(inputs, tmp_path / "whole", 6))
    cut = settings(inputs, tmp_path / "cut", 6)
    loop = replace(cut.loop, steps=6, save_every=3)
    real = training._loss

    def killed(*arguments):
        killed.calls += 1
        if killed.calls > 4:
            raise KeyboardInterrupt
        return real(*arguments)

    killed.calls = 0
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_loss", killed)
        train_decoder(replace(cut, loop=loop))
    train_decoder(replace(cut, loop=loop))
    whole, again = (
        (tmp_path / name / "avatar" / "decoder" / "diffusion_pytorch_model.safetensors")
        for name in ("whole", "cut")
    )
    assert whole.read_bytes() == again.read_bytes()


def test_training_starts_from_a_decoder(inputs: Path, tmp_path: Path):
    train_decoder(settings(inputs, tmp_path / "first"))
    start = tmp_path / "first" / "avatar" / "decoder"
    losses = []
    for name, given in (("fresh", None), ("longer", start)):
        train_decoder(replace(settings(inputs, tmp_path / name, 1), start=given))
        line = (tmp_path / name / "log.jsonl").read_text().splitlines()[0]
        losses.append(json.loads(line)["loss"])
    assert losses[1] < 0.5 * losses[0]


def test_a_decoder_is_trained_on_with_fewer_blocks(inputs: Path, tmp_path: Path):
    first = replace(settings(inputs, tmp_path / "first", 1), blocks=(2,))
    train_decoder(first)
    given = load_network(RiggedDecoder, first.out / "avatar" / "decoder").state_dict()
    fewer = replace(
        settings(inputs, tmp_path / "fewer", 1), features_from=first.out / "avatar" / "decoder"
    )
    still = replace(fewer.loop, learning_rate=0.0)
    train_decoder(replace(fewer, loop=still, plane_learning_rate=0.0))
    taken = load_network(RiggedDecoder, fewer.out / "avatar" / "decoder").state_dict()
    left_out = given.keys() - taken.keys()
    assert left_out and all(name.startswith("levels.0.1.") for name in left_out)
    assert all(torch.equal(weight, given[name]) for name, weight in taken.items())


def test_what_fits_of_a_decoder_of_other_sizes_is_taken(inputs: Path, tmp_path: Path):
    train_decoder(settings(inputs, tmp_path / "first", 4))
    first = tmp_path / "first" / "avatar" / "decoder"
    slim = replace(settings(inputs, tmp_path / "slim", 1), channels=(8,), features_from=first)
    frozen = replace(slim, loop=replace(slim.loop, learning_rate=0.0), plane_learning_rate=0.0)
    train_decoder(frozen)
    given, taken = (
        load_network(RiggedDecoder, folder).state_dict()
        for folder in (first, tmp_path / "slim" / "avatar" / "decoder")
    )
    fitting = [name for name in given if given[name].shape == taken[name].shape]
    assert all(torch.equal(given[name], taken[name]) for name in fitting)
    assert {"triplane.planes", "mouth.upper.plane", "texture.weight"} <= set(fitting)
    assert taken["enter.weight"].shape != given["enter.weight"].shape
    with pytest.raises(AvatarError, match=r"features_from: .* a decoder with triplane of the same"):
        train_decoder(replace(slim, out=tmp_path / "other", plane_resolution=12))


def test_latents_are_made_again_for_other_frames(inputs: Path, tmp_path: Path):
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    avatar = Avatar.load(inputs / "avatar", compute=FLOAT32)

    def latents() -> dict[str, torch.Tensor]:
        shots = Shots(avatar, tiny_person(data), tmp_path / "kept")
        return {source: shots.latents(0, source) for source in ("quick", "encoded")}

    first = latents()
    assert all(torch.equal(now, first[source]) for source, now in latents().items())
    person = tiny_person(data)
    Image.new("RGBA", (RESOLUTION_PX, RESOLUTION_PX), "red").save(person.records[0].path)
    repainted = latents()
    assert torch.equal(repainted["quick"], first["quick"])
    assert not torch.equal(repainted["encoded"], first["encoded"])
    frames = data / "frames.jsonl"
    frames.write_text(frames.read_text().replace('"fov_deg": ', '"fov_deg": 1'))
    assert not torch.equal(latents()["quick"], first["quick"])


def test_the_rendered_layers_know_the_decoder(inputs: Path, tmp_path: Path):
    """Unequal sizes of G-buffer for control and decoder: both are of the same view."""
    train_decoder(settings(inputs, tmp_path / "run", 2))
    avatar = Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
    frame = avatar.render(
        RenderRequest(avatar.info.corners[0].expression, VIEW.camera(48, 40), steps=1)
    )
    assert frame.rgb.shape == (40, 48, 3)
    assert {"surface", "denoise", "decode"} <= frame.stage_ms.keys()


def test_roughness_is_the_planes_total_variation(inputs: Path, tmp_path: Path):
    decoder = RiggedDecoder(plane_channels=2, plane_resolution=4, mouth_channels=1)
    planes = decoder.triplane.planes.detach()
    planes[..., 2:] = 1.0
    assert training.roughness(decoder).item() == pytest.approx(1 / 3)
    planes += 5 * torch.ones(3, 2, 1, 1)
    assert training.roughness(decoder).item() == pytest.approx(1 / 3)
    left = []
    for name, smoothness in (("rough", 0.0), ("smooth", 10.0)):
        train_decoder(replace(settings(inputs, tmp_path / name), smoothness=smoothness))
        avatar = Avatar.load(tmp_path / name / "avatar", compute=FLOAT32)
        left.append(training.roughness(avatar.decoder).item())
    assert left[1] < 0.5 * left[0]


def test_training_on_parts_of_pictures(inputs: Path, tmp_path: Path):
    run = replace(settings(inputs, tmp_path / "run"), crop_px=8, crop_fraction=1.0)
    before = error_of(Avatar.load(inputs / "avatar", compute=FLOAT32), inputs)
    train_decoder(run)
    after = error_of(Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32), inputs)
    assert after < 0.5 * before


def test_a_mouth_of_another_kind_begins_anew(inputs: Path, tmp_path: Path):
    first = replace(settings(inputs, tmp_path / "first", 4), mouth_layers=False)
    train_decoder(first)
    folder = first.out / "avatar" / "decoder"
    layered = replace(settings(inputs, tmp_path / "layered", 1), features_from=folder)
    frozen = replace(
        layered, loop=replace(layered.loop, learning_rate=0.0), plane_learning_rate=0.0
    )
    train_decoder(frozen)
    given, taken = (
        load_network(RiggedDecoder, path) for path in (folder, layered.out / "avatar" / "decoder")
    )
    assert isinstance(given.mouth, MouthSheets) and isinstance(taken.mouth, LayeredMouth)
    for name, weight in taken.state_dict().items():
        if not name.startswith(("mouth.", "surface.weight", "texture.weight")):
            assert torch.equal(weight, given.state_dict()[name]), name
    kept = sum(taken.pixel_channels[:-1])
    for name in ("surface", "texture"):
        own, old = (
            getattr(d, name).weight.unflatten(1, (d.config["fold"] ** 2, -1))
            for d in (taken, given)
        )
        assert torch.equal(own[:, :, :kept], old[:, :, :kept])


@pytest.mark.parametrize("kind", [MouthSheets, LayeredMouth])
def test_the_jaw_starts_with_the_chin(kind: type[MouthSheets | LayeredMouth]):
    poser = tiny_avatar().head
    mouth = kind(1, CODE_DIM - GAZE_DIM, (0.0, 0.0, 0.45), 0.2)
    rest = [bias.clone() for _, bias in mouth.shifts]
    torch.manual_seed(0)
    codes = 0.3 * torch.randn(30, CODE_DIM)
    start_jaw(mouth, poser, list(codes))
    offset = (poser.head.vertices - torch.tensor(mouth.centre)) / mouth.radius
    x, y, z = offset.unbind(1)
    chin = (x.abs() < 1) & (y > -2.5) & (y < -1.5) & (z > -1.5)
    assert chin.any()
    expressions = [ExpressionCode.from_array(code) for code in codes]
    shifts = torch.stack(
        [(poser.pose(e).vertices - poser.head.vertices)[chin].mean(dim=0) for e in expressions]
    )
    z_exp = codes[:, :-GAZE_DIM]
    for (weight, bias), at_rest in zip(mouth.shifts, rest, strict=True):
        found = (z_exp @ weight.T + bias - at_rest) * mouth.radius
        unexplained = (found - shifts).norm() / (shifts - shifts.mean(dim=0)).norm()
        assert unexplained < 0.5
    # What has learned to move keeps its motion.
    mouth.shifts[0][0].detach().mul_(2.0)
    learned = [weight.clone() for weight, _ in mouth.shifts]
    start_jaw(mouth, poser, list(codes))
    assert all(torch.equal(w, old) for (w, _), old in zip(mouth.shifts, learned, strict=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crop_px": 6}, "crop_px: expected a multiple of a latent's 4 pixels, found 6"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"channels": (0,)}, "channels: expected one or more numbers, each 1 or more"),
        ({"blocks": (-1,)}, "blocks: expected one or more numbers, each 0 or more"),
        ({"mouth_channels": -1}, "mouth_channels: expected 0 or more, found -1"),
        ({"crop_fraction": 2.0}, r"crop_fraction: expected 0 to 1, found 2\.0"),
        ({"blocks": (1, 1)}, r"blocks: expected a number for each of channels \[16\], found"),
        (
            {"channels": (16,) * 4, "blocks": (1,) * 4},
            "channels: expected 4 pixels per latent to be a multiple of 8, found 4 levels",
        ),
    ],
)
def test_impossible_settings(inputs: Path, tmp_path: Path, change: dict, said: str):
    with pytest.raises(AvatarError, match=said):
        train_decoder(replace(settings(inputs, tmp_path / "run"), **change))


def test_a_decoder_of_another_avatar_is_named(inputs: Path, tmp_path: Path):
    train_decoder(settings(inputs, tmp_path / "run", 1))
    config = tmp_path / "run" / "avatar" / "decoder" / "config.json"
    config.write_text(config.read_text().replace('"fold": 4', '"fold": 2'))
    with pytest.raises(AvatarError, match="decoder"):
        Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
