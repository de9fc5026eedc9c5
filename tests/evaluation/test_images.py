"""The scores of pictures, and the report on a data set's split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CODE_DIM, tiny_avatar, tiny_person, write_tiny_frames

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import HeadFrame
from avatar_viewer.data.person import Person
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import images
from avatar_viewer.evaluation.images import evaluate, score
from avatar_viewer.stages import RenderRequest


def noise_picture(seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (size, size, 3), np.uint8)


def test_psnr_of_a_known_error():
    truth = noise_picture()
    off_by_ten = truth + np.uint8(10)
    assert score(off_by_ten, truth).psnr == pytest.approx(10 * np.log10(255**2 / 100))
    assert score(truth, off_by_ten).psnr == score(off_by_ten, truth).psnr
    one_channel = truth.copy()
    one_channel[..., 1] += 30
    assert score(one_channel, truth).psnr == pytest.approx(10 * np.log10(255**2 / 300))


def ssim_reference(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004: Gaussian window of 11 x 11, sigma 1.5, away from the border."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def blurred(x: np.ndarray) -> np.ndarray:
        patches = np.lib.stride_tricks.sliding_window_view(x, (11, 11))
        return np.einsum("hwij,ij->hw", patches, window)

    values = []
    for x, y in zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        mx, my = blurred(x), blurred(y)
        vx, vy, cov = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_is_the_papers():
    truth = noise_picture(0)
    truth[:, :16] = np.arange(32)[:, None, None] * 3  # smooth on one side
    mixed = (0.6 * truth + 0.4 * noise_picture(1)).astype(np.uint8)
    assert score(mixed, truth).ssim == pytest.approx(ssim_reference(mixed, truth), abs=1e-6)


def test_equal_and_unlike_pictures():
    truth = noise_picture()
    assert score(truth, truth).psnr == float("inf") and score(truth, truth).ssim == 1
    near = truth + np.uint8(3)
    assert score(near, truth).ssim > 0.95 > 0.2 > score(noise_picture(1), truth).ssim


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of discs; no mesh is registered to them, so codes are looked up, not fitted."""
    folder = write_tiny_frames(tmp_path / "data", train=3, test=2)

    def person_of(avatar, data, split):
        records = check_data(data, split)
        person = tiny_person(folder)
        codes = torch.stack([person.expression(record).tensor() for record in records])
        return Person(records, codes, avatar.head, HeadFrame((0.0, 0.0, 0.0), 1.0))

    monkeypatch.setattr(images, "person_of", person_of)
    return folder


def test_a_splits_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    avatar = tiny_avatar()
    avatar.save(tmp_path / "avatar")
    out = tmp_path / "report.json"
    evaluate(str(tmp_path / "avatar"), data, "test", out)
    report = json.loads(out.read_text())
    assert (report["split"], report["resolution_px"]) == ("test", 32)
    assert (report["steps"], report["quick_steps"]) == (2, 1)
    assert set(report["frames"]) == {"frame_3", "frame_4"}
    for name in ("psnr", "ssim"):
        frames = [frame[name] for frame in report["frames"].values()]
        assert report[name] == pytest.approx(np.mean(frames))
        assert report["quick"][name] != report[name]
    lines = capsys.readouterr().out.splitlines()
    assert any("2 frames at 32 px, 2 steps" in line for line in lines)
    assert any("1 steps" in line for line in lines)
    # One of them by hand.
    loaded = Avatar.load(tmp_path / "avatar")
    person = tiny_person(data)
    record = person.frames("test")[0]
    camera = person.head_frame.camera(record.camera, 32)
    rendered = loaded.render(RenderRequest(person.expression(record), camera, steps=2)).rgb
    assert report["frames"]["frame_3"]["psnr"] == pytest.approx(
        score(rendered, record.rgb(32)).psnr
    )
    assert len(person.expression(record).values) == CODE_DIM


def test_the_avatars_own_sampler_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    avatar = tiny_avatar()
    avatar.info = replace(avatar.info, sampler="lcm")
    monkeypatch.setattr(images.Avatar, "load", lambda source: avatar)
    samplers, render = set(), avatar.render
    monkeypatch.setattr(avatar, "render", lambda r: (samplers.add(r.sampler), render(r))[1])
    evaluate("any", data, "test", None)
    assert samplers == {"lcm"}


def test_an_avatar_that_shows_the_truth_is_perfect(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    avatar = tiny_avatar()
    records = {person_code: r for r in tiny_person(data).records for person_code in [r.id]}
    person = tiny_person(data)
    by_code = {person.expression(r).values: r for r in records.values()}

    class Truthful:
        info, head = avatar.info, avatar.head

        def render(self, request: RenderRequest):
            rgb = by_code[request.expression.values].rgb(request.camera.width)
            return type("Frame", (), {"rgb": rgb})

    monkeypatch.setattr(images.Avatar, "load", lambda source: Truthful())
    evaluate("any", data, "train", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ssim"] == 1 and report["psnr"] == float("inf")


def test_bad_input_is_said_before_the_work(data: Path, tmp_path: Path):
    with pytest.raises(AvatarError, match="writable path"):
        evaluate("nowhere", data, "test", tmp_path / "no" / "report.json")
    with pytest.raises(AvatarError, match="expected an avatar's folder"):
        evaluate("nowhere", data, "test", None)
    tiny_avatar().save(tmp_path / "avatar")
    with pytest.raises(AvatarError, match="split 'val', found test, train"):
        evaluate(str(tmp_path / "avatar"), data, "val", None)
