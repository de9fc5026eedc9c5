"""Training of the autoencoder, on a few small discs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from tiny import tiny_nphm, write_tiny_frames

from avatar_viewer.config import from_plain, to_plain
from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.diffusion.autoencoder import decode, encode, fold_of, pixels_per_latent
from avatar_viewer.errors import AvatarError
from avatar_viewer.training import vae as vae_module
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.training.vae import VaeTraining, load_pictures, to_signed, train_vae
from avatar_viewer.weights import load_network, save_network


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_frames(tmp_path_factory.mktemp("discs") / "data", train=10)


def config(data: Path, out: Path, steps: int = 60) -> VaeTraining:
    return VaeTraining(
        data=data,
        out=out,
        loop=LoopConfig(
            steps=steps,
            learning_rate=1e-2,
            warmup_steps=1,
            ema_decay=0.8,
            bf16=False,
            save_every=5,
            sample_every=1000,
        ),
        resolution_px=32,
        batch_size=2,
        crop_px=16,
        fold=4,
        channels=(16,),
        latent_channels=4,
    )


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vae")
    train_vae(config(data, out))
    return out


def psnr(vae: AutoencoderKL, pictures: torch.Tensor) -> float:
    rgb = to_signed(pictures)
    with torch.no_grad():
        error = (decode(vae, encode(vae, rgb)) - rgb).square().mean().item() / 4
    return -10 * np.log10(error)


def test_the_trained_autoencoder_rebuilds_pictures_that_it_has_not_seen(data: Path, run: Path):
    vae = load_network(AutoencoderKL, run / "vae")
    assert (fold_of(vae), pixels_per_latent(vae)) == (4, 4)
    pictures = load_pictures(data, "test", 32)
    mean_colour = to_signed(pictures).mean((0, 2, 3), keepdim=True)
    flat = (to_signed(pictures) - mean_colour).square().mean().item() / 4
    assert psnr(vae, pictures) > -10 * np.log10(flat) + 3
    (line,) = (run / "log.jsonl").read_text().splitlines()[:1]
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 60 and last["loss"] < json.loads(line)["loss"]


def test_its_latents_have_unit_variance(data: Path, run: Path):
    vae = load_network(AutoencoderKL, run / "vae")
    with torch.no_grad():
        latents = encode(vae, to_signed(load_pictures(data, "train", 32)))
    assert latents.std().item() == pytest.approx(1, abs=0.03)


def test_the_sheet_shows_truth_over_rebuilt(data: Path, run: Path):
    sheet = np.asarray(Image.open(run / "samples" / "000060.png"))
    assert sheet.shape == (2 * 32, 2 * 32, 3)
    pictures = load_pictures(data, "test", 32).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(sheet[:32], np.concatenate(list(pictures), 1))
    assert not np.array_equal(sheet[32:], sheet[:32])


def test_a_finished_run_writes_the_same_again(data: Path, run: Path):
    file = run / "vae" / "diffusion_pytorch_model.safetensors"
    before, scale = file.read_bytes(), load_network(AutoencoderKL, run / "vae").config
    file.unlink()
    train_vae(config(data, run))
    assert file.read_bytes() == before
    again = load_network(AutoencoderKL, run / "vae").config
    assert again["scaling_factor"] == scale["scaling_factor"]


def test_whole_pictures_follow_crops(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    original = AutoencoderKL.encode

    def encode_and_tell(self, x, **kwargs):
        sizes.append((len(x), x.shape[-1] * 4))
        return original(self, x, **kwargs)

    monkeypatch.setattr(AutoencoderKL, "encode", encode_and_tell)
    train_vae(replace(config(data, tmp_path, steps=4), crop_fraction=0.5))
    # As many pixels a step: four crops of a quarter of the picture each.
    assert sizes[:4] == [(8, 16), (8, 16), (2, 32), (2, 32)]


def test_a_better_decoder_takes_the_same_latents(data: Path, run: Path, tmp_path: Path):
    settings = replace(config(data, tmp_path, steps=30), start=run / "vae")
    train_vae(settings)
    first, second = (load_network(AutoencoderKL, f / "vae") for f in (run, tmp_path))
    pictures = load_pictures(data, "test", 32)
    with torch.no_grad():
        rgb = to_signed(pictures)
        assert torch.equal(encode(first, rgb), encode(second, rgb))
    assert psnr(second, pictures) > psnr(first, pictures)


def test_a_share_of_the_crops_lies_around_details(data: Path, tmp_path: Path):
    """Pictures that are black but for the rows and columns of one place."""
    settings = replace(config(data, tmp_path), head=tmp_path, detail_share=1.0, crop_px=8)
    pictures = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    places = torch.tensor([[5.0, 20.0], [16.0, 16.0], [40.0, -3.0]])  # the last is not in view
    for picture, (row, column) in zip(pictures, places[:2].int().tolist(), strict=False):
        picture[:, row, column] = 255
    generator = torch.Generator().manual_seed(0)
    crops = vae_module._crops(pictures[:2], places[:2, None], settings, generator)
    assert len(crops) == 2 * 16 and (crops.amax((1, 2, 3)) == 1).all()
    crops = vae_module._crops(pictures, places[:, None], settings, generator)
    assert crops.shape[1:] == (3, 8, 8)
    rarely = replace(settings, detail_share=0.0)
    crops = vae_module._crops(pictures[:2], places[:2, None], rarely, generator)
    assert (crops.amax((1, 2, 3)) == 1).float().mean() < 0.5


def test_details_are_where_the_camera_sees_the_heads_anchors(data: Path):
    nphm = tiny_nphm()
    nphm.register_to_config(detail_anchors=(0, 2))
    identity = torch.randn(nphm.identity_dim)
    cameras = [HeadFrame((0, 0, 0), 1.0).camera(r.camera, 32) for r in read_frames(data, "train")]
    places = vae_module.detail_places(nphm, identity, cameras)
    assert places.shape == (10, 2, 2)
    x, y, z = nphm.anchors(identity)[2].tolist()
    focal_px = 16 / np.tan(np.radians(15))  # the camera of `write_tiny_frames`
    expected = (16 - focal_px * y / (2.5 - z), 16 + focal_px * x / (2.5 - z))
    assert places[4, 1].tolist() == pytest.approx(expected, abs=1e-3)


def test_details_are_looked_for_with_the_persons_own_head(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    nphm = tiny_nphm()
    nphm.register_to_config(detail_anchors=(0, 2), units_per_metre=1.0)
    save_network(nphm, tmp_path / "head")
    identity = torch.randn(nphm.identity_dim)
    monkeypatch.setattr(vae_module, "person_identity", lambda *arguments: identity)
    asked = []

    def detail_places(nphm, identity, cameras):
        asked.append((identity, len(cameras)))
        return torch.full((len(cameras), 2, 2), 16.0)

    monkeypatch.setattr(vae_module, "detail_places", detail_places)
    settings = config(data, tmp_path / "run", steps=1)
    train_vae(replace(settings, head=tmp_path / "head", detail_share=1.0))
    assert [(found is identity, count) for found, count in asked] == [(True, 10)]


def test_bfloat16_trains_too(data: Path, tmp_path: Path):
    settings = config(data, tmp_path, steps=2)
    train_vae(replace(settings, loop=replace(settings.loop, bf16=True)))
    load_network(AutoencoderKL, tmp_path / "vae")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_px": 64}, r"crop_px: expected at most resolution_px \(32\), found 64"),
        ({"crop_px": 18}, "crop_px: expected a multiple of 4, found 18"),
        ({"resolution_px": 0}, "resolution_px: expected a multiple of 4, found 0"),
        ({"fold": 0}, "fold: expected 1 or more, found 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"latent_channels": 0}, "latent_channels: expected 1 or more, found 0"),
        ({"kl_weight": -1.0}, r"kl_weight: expected 0 or more, found -1\.0"),
        ({"edge_weight": -1.0}, r"edge_weight: expected 0 or more, found -1\.0"),
        ({"crop_fraction": 1.5}, r"crop_fraction: expected 0 to 1, found 1\.5"),
        ({"channels": ()}, r"channels: expected multiples of 8, found \[\]"),
        ({"channels": (16, 12)}, r"channels: expected multiples of 8, found \[16, 12\]"),
        ({"channels": (16, 16, 16), "crop_px": 24}, "crop_px: expected a multiple of 16, found 24"),
    ],
)
def test_sizes_that_cannot_be(data: Path, tmp_path: Path, changes: dict, words: str):
    with pytest.raises(AvatarError, match=words):
        replace(config(data, tmp_path), **changes)
    plain = to_plain(config(data, tmp_path)) | {name: to_plain(v) for name, v in changes.items()}
    with pytest.raises(AvatarError, match=f"^training.yaml: {words}"):
        from_plain(plain, VaeTraining, "training.yaml")


def test_a_data_set_without_test_pictures(tmp_path: Path):
    data = write_tiny_frames(tmp_path / "data", test=0)
    with pytest.raises(AvatarError, match="split 'test', found train"):
        train_vae(config(data, tmp_path / "out"))
