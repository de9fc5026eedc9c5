"""The report on a data set's split."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_person import know_codes
from PIL import Image
from tiny import CODE_DIM, tiny_avatar, tiny_person, write_tiny_frames

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.frames import read_frames
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import images
from avatar_viewer.evaluation.images import evaluate
from avatar_viewer.evaluation.metrics import Box, head_box, psnr
from avatar_viewer.evaluation.sheet import SheetOptions
from avatar_viewer.evaluation.split import runs
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import RenderRequest


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of discs."""
    folder = write_tiny_frames(tmp_path / "data", train=3, test=2)
    know_codes(folder, monkeypatch)
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
    assert box == head_box(person.gbuffer(record, 32), 1.0, "") and 0 < box.left < box.right < 32
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
    monkeypatch.setattr(images.Avatar, "load", lambda source: Truthful(data))
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


def as_sequence(data: Path) -> None:
    """Make the training frames one sequence whose head turns."""
    path = data / "frames.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for index, line in enumerate(line for line in lines if line["split"] == "train"):
        line["kind"] = "sequence"
        matrix = Orbit(4.0 * index, 0.0, 2.5, (0.0, 0.0, 0.0), 30.0).camera(32, 32)
        line["camera"]["camera_from_world"] = list(matrix.camera_from_world)
    path.write_text("\n".join(json.dumps(line) for line in lines))


class Truthful:
    """An avatar that shows the true frames, moved in colour by `off`."""

    def __init__(self, data: Path, off: int = 0) -> None:
        avatar, person = tiny_avatar(), tiny_person(data)
        self.info, self.head, self.off = avatar.info, avatar.head, off
        self.records = {person.expression(record).values: record for record in person.records}

    def render(self, request: RenderRequest):
        rgb = self.records[request.expression.values].rgb(request.camera.width).astype(int)
        rgb = np.clip(rgb - self.off, 0, 255).astype(np.uint8)
        return type("Frame", (), {"rgb": rgb})


def test_a_sequence_is_measured_as_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    as_sequence(data)
    monkeypatch.setattr(images.Avatar, "load", lambda source: Truthful(data))
    evaluate("any", data, "train", tmp_path / "report.json", fps=12)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["warping_error"] == report["true_warping_error"] > 0
    assert report["warping_ratio"] == 1
    assert report["protocol"]["sequences"] == [3] and report["protocol"]["stills"] == 0
    first, *later = report["frames"].values()
    assert "warping_error" not in first and all("warping_error" in frame for frame in later)
    mean = np.mean([frame["warping_error"] for frame in later])
    assert report["warping_error"] == pytest.approx(mean)
    assert "their ratio" in capsys.readouterr().out
    evaluate("any", data, "test", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert "warping_error" not in report and report["protocol"]["stills"] == 2


def test_runs_of_frames(data: Path):
    stills = read_frames(data, "test")
    assert runs(stills) == [slice(0, 1), slice(1, 2)]
    a, b, c, d, e = (
        replace(stills[0], id=str(index), kind=kind)
        for index, kind in enumerate(["sequence", "sequence", "still", "still", "sequence: two"])
    )
    assert runs([a, b, c, d, e]) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    of_split = [replace(record, split="sequence") for record in (c, d, e)]
    assert runs(of_split) == [slice(0, 2), slice(2, 3)]


def test_the_sheet_has_the_truth_above(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images.Avatar, "load", lambda source: Truthful(data, off=40))
    evaluate("any", data, "test", None, SheetOptions(tmp_path / "sheet.png"))
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert pixels.shape == (64, 64, 3)
    truth = [record.rgb(32) for record in read_frames(data, "test")]
    np.testing.assert_array_equal(pixels[:32], np.concatenate(truth, 1))
    np.testing.assert_array_equal(pixels[32:], (pixels[:32] - 40).clip(0))


def test_what_cannot_be_had_is_left_out_and_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(images.Avatar, "load", lambda source: Truthful(data, off=40))
    for name in ("flip_evaluator", "pyfvvdp"):
        monkeypatch.setitem(sys.modules, name, None)
    evaluate("any", data, "test", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert not {"flip", "jod", "lpips"} & set(report) and report["psnr"] < 30
    assert set(report["protocol"]["left_out"]) == {"flip", "jod", "lpips"}
    lines = capsys.readouterr().out.splitlines()
    assert "jod left out: no package pyfvvdp; pip install 'avatar-viewer[eval]'" in lines


def test_bad_options_are_said_before_the_work(data: Path, tmp_path: Path):
    with pytest.raises(AvatarError, match=r"fps: expected 1 to 1000 .*, found 0"):
        evaluate("nowhere", data, "test", None, fps=0)
    with pytest.raises(AvatarError, match=r"lm.task: expected a face landmarker's .*, found none"):
        evaluate("nowhere", data, "test", None, landmarks=tmp_path / "lm.task")
    with pytest.raises(AvatarError, match=r"sheet\.png: expected a writable path"):
        evaluate("nowhere", data, "test", None, SheetOptions(tmp_path / "no" / "sheet.png"))
