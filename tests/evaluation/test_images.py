"""The report on a data set's split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import CODE_DIM, tiny_avatar, tiny_person, write_tiny_frames

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.frames import HeadFrame
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import images
from avatar_viewer.evaluation.images import evaluate
from avatar_viewer.evaluation.metrics import Box, head_box, psnr
from avatar_viewer.stages import RenderRequest


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of discs; no mesh is registered to them, so codes are looked up, not fitted."""
    folder = write_tiny_frames(tmp_path / "data", train=3, test=2)
    person = tiny_person(folder)

    def fit_codes(nphm, identity, data, records):
        import torch

        return torch.stack([person.expression(record).tensor() for record in records])

    monkeypatch.setattr(images, "fit_codes", fit_codes)
    monkeypatch.setattr(
        images, "read_head_frame", lambda data, nphm: HeadFrame((0.0, 0.0, 0.0), 1.0)
    )
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
    for name in ("psnr", "ssim", "psnr_full", "ssim_full"):
        frames = [frame[name] for frame in report["frames"].values()]
        assert report[name] == pytest.approx(np.mean(frames))
        assert report["quick"][name] != report[name]
    lines = capsys.readouterr().out.splitlines()
    assert "test: 2 frames at 32 px over white, in the head's box" in lines
    assert any(line.split() == ["2", "steps", "1", "step"] for line in lines)
    shown = next(line.split() for line in lines if line.startswith("PSNR, dB"))
    assert shown[-2:] == [f"{report['psnr']:.2f}", f"{report['quick']['psnr']:.2f}"]
    # One of them by hand.
    loaded = Avatar.load(tmp_path / "avatar")
    person = tiny_person(data)
    record = person.frames("test")[0]
    camera = person.head_frame.camera(record.camera, 32)
    rendered = loaded.render(RenderRequest(person.expression(record), camera, steps=2)).rgb
    frame = report["frames"]["frame_3"]
    box = Box(**frame["box_px"])
    mask = person.gbuffer(record, 32).mask
    assert box == head_box(mask, "") and 0 < box.left < box.right < 32
    assert frame["psnr"] == pytest.approx(psnr(box.cut(rendered), box.cut(record.rgb(32))))
    assert frame["psnr_full"] == pytest.approx(psnr(rendered, record.rgb(32)))
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
