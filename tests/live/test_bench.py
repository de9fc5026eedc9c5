"""What the benchmark says: figures beside their bounds, and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny import tiny_avatar

from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.storage import BAKED_FILE
from avatar_viewer.live.bench import against, frames, run, window
from avatar_viewer.live.bench.head import head_figures
from avatar_viewer.live.bench.report import (
    FULL_SIZE_H100,
    SECTIONS,
    TWO_CORES_FAST,
    Line,
    limits_of,
    report,
)
from avatar_viewer.live.bench.window import window_figures

DRAG = {"drag_fps": 12.0, "evenness": 1.25, "unchanged_renders": 0}


@pytest.fixture
def few_frames(monkeypatch: pytest.MonkeyPatch):
    """A benchmark of seconds, of a tiny avatar in place of whatever is asked for."""
    for module, name in ((frames, "FULL_FRAMES"), (frames, "QUICK_FRAMES"), (against, "FRAMES")):
        monkeypatch.setattr(module, name, 2)
    monkeypatch.setattr(against, "PLAIN_FRAMES", 1)
    monkeypatch.setattr(run, "drag_figures", lambda avatar, way: DRAG)
    monkeypatch.setattr(run.Avatar, "load", lambda source, **options: tiny_avatar())
    monkeypatch.setattr(run, "head_figures", lambda source: None)
    monkeypatch.setattr(run, "window_figures", lambda source, runtime: None)


def test_all_figures_are_written_and_said(
    few_frames: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "figures.json"
    run.bench("tiny", against=True, json_path=path)
    figures = json.loads(path.read_text())
    assert (figures["source"], figures["runtime"]) == ("tiny", "eager")
    measured = {line.figure for name in SECTIONS for line in SECTIONS[name][1]} & {
        figure for section in figures.values() if isinstance(section, dict) for figure in section
    }
    assert {"pad_fps", "half_view_fps", "fps_4", "frame_percent", "plain_times"} <= measured
    assert {"first_picture_s", "rss_peak_mb", "evenness"} <= measured
    text = capsys.readouterr().out
    assert text.strip() == report(figures)
    for stage in figures["frames"]["full_ms"]:
        assert f"\n{stage}" in text
    (line,) = [line for line in text.splitlines() if "renders of an unchanged" in line]
    assert line.split()[-1] == "kept"
    assert "head on the CPU: not baked" in text
    assert text.splitlines()[-1].startswith("window: not measured")


def test_reference_settings_are_measured_only_where_asked_for(few_frames: None, capsys):
    run.bench("tiny")
    assert SECTIONS["against"][0] not in capsys.readouterr().out


def test_where_json_cannot_be_written_nothing_is_measured(tmp_path: Path):
    with pytest.raises(AvatarError, match="writable"):
        run.bench("nothing", json_path=tmp_path / "nowhere" / "figures.json")


def test_an_architecture_has_no_avatar():
    with pytest.raises(AvatarError, match=r"config: expected sd21 and no avatar, found sd21, some"):
        run.bench("some/avatar", config="sd21")
    with pytest.raises(AvatarError, match="found sd35"):
        run.bench(config="sd35")


def test_without_a_gpu_full_size_is_counted(monkeypatch: pytest.MonkeyPatch, capsys):
    flops = {"embed": 10**9, "unet": 2 * 10**9, "controlnet": 3 * 10**9, "decode": 4 * 10**9}
    monkeypatch.setattr("avatar_viewer.live.bench.full_size.full_size_flops", lambda: flops)
    monkeypatch.setattr("avatar_viewer.live.bench.full_size.matrix_rate", lambda compute: 5e9)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run.bench(config="sd21")
    text = capsys.readouterr().out
    assert "RANDOM weights" in text and "needs a GPU" in text
    (line,) = [line for line in text.splitlines() if "at least" in line]
    assert float(line.split()[-1]) == 2.0


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(5, True, "kept"), (4.9, True, "MISSED"), (5, False, "kept"), (5.1, False, "MISSED")],
)
def test_a_bound_is_kept_or_missed(value: float, at_least: bool, verdict: str):
    assert Line("figure", "a figure", at_least).written(value, 5).split()[-1] == verdict


def test_a_figure_may_have_no_bound_or_no_value():
    assert Line("figure", "a figure").written(2, None).split()[-1] == "2.0"
    assert "not measured   bound <= 5" in Line("figure", "a figure").written(None, 5)


@pytest.mark.parametrize("limits", [TWO_CORES_FAST, FULL_SIZE_H100])
def test_every_bound_has_a_line(limits: dict[str, float]):
    assert limits.keys() <= {line.figure for _, lines in SECTIONS.values() for line in lines}


def test_more_is_promised_of_a_fast_runtime():
    eager, fast = (limits_of({"config": None, "runtime": r})[1] for r in ("eager", "openvino"))
    assert fast["pad_fps"] > eager["pad_fps"]
    assert limits_of({"config": "sd21", "runtime": "compiled"})[1] is FULL_SIZE_H100


def test_the_head_is_measured_over_the_pad(tmp_path: Path):
    tiny_avatar().save(tmp_path)
    figures = head_figures(str(tmp_path), grid=3)
    assert figures is not None and figures["vertices"] == 642
    assert 0 < figures["baked_mean_mm"] < figures["baked_max_mm"]
    assert 0 < figures["baked_ms"] and 0 < figures["exact_ms"]
    (tmp_path / "head" / BAKED_FILE).unlink()
    assert head_figures(str(tmp_path)) is None


def test_without_a_display_the_window_is_not_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    assert window_figures("steady", "eager") is None


def needs_display() -> None:
    if not os.environ.get("DISPLAY"):
        assert os.environ.get("AVATAR_VIEWER_REQUIRE_GUI") != "1", "no display"
        pytest.skip("needs an X display")


@pytest.mark.gui
def test_a_window_that_cannot_load_ends_the_benchmark():
    needs_display()
    with pytest.raises(AvatarError, match="no/avatar"):
        window_figures("no/avatar", "eager")


@pytest.mark.gui
@pytest.mark.slow
def test_the_window_is_measured_from_inside(monkeypatch: pytest.MonkeyPatch):
    needs_display()
    monkeypatch.setattr(window, "WINDOW_DRAG_S", 2.0)
    figures = window_figures(str(DEMO_FOLDER), "eager")
    assert figures is not None
    assert figures["drag_fps"] > 0
    assert 0 < figures["shown_p50_ms"] <= figures["shown_p95_ms"]
    assert figures["window_s"] < figures["first_picture_s"]
    assert figures["rest_renders"] == figures["rest_uploads"] == figures["rest_submissions"] == 0
    assert figures["rest_core_percent"] > 0
