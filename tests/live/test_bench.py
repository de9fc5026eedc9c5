"""The benchmark's figures, with avatars whose speed is known."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stepwise_avatar import INFO
from tiny import tiny_avatar

from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.storage import BAKED_FILE
from avatar_viewer.live import bench as bench_module
from avatar_viewer.live.bench import (
    Bound,
    head_figures,
    measure,
    report,
    window_figures,
)
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.stages import Frame, RenderRequest

STEP_S = 0.01


class SteadyAvatar:
    """Takes 10 ms a step, and counts its pictures."""

    def __init__(self) -> None:
        self.info = replace(INFO, steps=8, quick_steps=2)
        self.requests: list[RenderRequest] = []

    def render(self, request, cancelled):
        self.requests.append(request)
        time.sleep(STEP_S * request.steps)
        size = (request.camera.height, request.camera.width, 3)
        stage_ms = {"head": 1.0, "denoise": 10.0 * request.steps}
        return Frame(request, np.zeros(size, np.uint8), stage_ms)


@pytest.fixture
def thread_of():
    threads = []

    def make(load) -> RenderThread:
        threads.append(RenderThread(load))
        return threads[-1]

    yield make
    for thread in threads:
        thread.stop()


def figures_of(thread: RenderThread) -> dict:
    measured = measure(thread, "steady", full_frames=3, drag_s=0.5)
    return {"source": "steady", **measured, "rss_peak_mb": 900.0, "window": None, "head": None}


def test_the_figures_of_a_steady_avatar(thread_of):
    avatar = SteadyAvatar()
    figures = figures_of(thread_of(lambda source, progress: avatar))
    assert figures["full_ms"]["denoise"] == {"p50": 80, "p95": 80}
    assert figures["full_ms"]["total"]["p50"] == 81
    assert figures["quick_ms"]["denoise"] == {"p50": 20, "p95": 20}
    assert figures["unchanged_renders"] == 0
    # A quick picture takes 20 ms here, so no more than 50 a second, and no less late than that.
    assert 0 < figures["drag_fps"] <= 50
    assert figures["latency_p95_ms"] >= figures["latency_p50_ms"] >= 20
    # Every picture was of another request, so that no cache answered.
    assert len(set(avatar.requests)) >= len(avatar.requests) - 2


def test_the_report_says_each_figure_beside_its_bound(thread_of):
    text = report(figures_of(thread_of(lambda source, progress: SteadyAvatar())))
    (line,) = [line for line in text.splitlines() if "unchanged request" in line and "<=" in line]
    assert line.split()[-1] == "kept"
    assert "denoise" in text
    assert text.splitlines()[-1].startswith("window: not measured")
    assert "head: not baked" in text


def test_the_head_is_measured_over_the_pad(tmp_path):
    tiny_avatar().save(tmp_path)
    figures = head_figures(str(tmp_path), grid=3)
    assert figures is not None and figures["vertices"] == 642
    assert 0 < figures["baked_mean_mm"] < figures["baked_max_mm"]
    assert 0 < figures["baked_ms"] and 0 < figures["exact_ms"]
    (tmp_path / "head" / BAKED_FILE).unlink()
    assert head_figures(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(5, True, "kept"), (4.9, True, "MISSED"), (5, False, "kept"), (5.1, False, "MISSED")],
)
def test_a_bound_is_kept_or_missed(value: float, at_least: bool, verdict: str):
    assert Bound("figure", "a figure", 5, at_least).line(value).split()[-1] == verdict


def test_a_failed_load_or_render_ends_the_benchmark(thread_of):
    def no_avatar(source, progress):
        raise AvatarError("steady: expected an avatar, found none")

    with pytest.raises(AvatarError, match="found none"):
        measure(thread_of(no_avatar), "steady")

    class Failing(SteadyAvatar):
        def render(self, request, cancelled):
            raise AvatarError("render: expected luck, found none")

    with pytest.raises(AvatarError, match="expected luck"):
        measure(thread_of(lambda source, progress: Failing()), "steady")


def test_the_figures_are_written_as_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    load = lambda source, progress: SteadyAvatar()  # noqa: E731
    monkeypatch.setattr(bench_module, "RenderThread", lambda: RenderThread(load))
    monkeypatch.setattr(bench_module, "window_figures", lambda source: None)
    monkeypatch.setattr(bench_module, "head_figures", lambda source: None)
    monkeypatch.setattr(
        bench_module, "measure", lambda thread, source: measure(thread, source, 2, 0.3)
    )
    bench_module.bench("steady", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["source"] == "steady"
    assert figures["full_ms"]["total"]["p50"] == 81
    assert "drag" in capsys.readouterr().out
    with pytest.raises(AvatarError, match="writable"):
        bench_module.bench("steady", tmp_path / "nowhere" / "figures.json")


def test_without_a_display_the_window_is_not_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    assert window_figures("steady") is None


@pytest.mark.gui
def test_a_window_that_cannot_load_ends_the_benchmark():
    if not os.environ.get("DISPLAY"):
        assert os.environ.get("AVATAR_VIEWER_REQUIRE_GUI") != "1", "no display"
        pytest.skip("needs an X display")
    with pytest.raises(AvatarError, match="no/avatar"):
        window_figures("no/avatar")


@pytest.mark.gui
@pytest.mark.slow
def test_the_window_is_measured_from_inside(monkeypatch: pytest.MonkeyPatch):
    if not os.environ.get("DISPLAY"):
        assert os.environ.get("AVATAR_VIEWER_REQUIRE_GUI") != "1", "no display"
        pytest.skip("needs an X display")
    monkeypatch.setattr(bench_module, "WINDOW_DRAG_S", 2.0)
    figures = window_figures(str(DEMO_FOLDER))
    assert figures is not None
    assert figures["drag_fps"] > 0
    assert 0 < figures["shown_p50_ms"] <= figures["shown_p95_ms"]
    assert figures["window_s"] < figures["first_picture_s"]
    assert figures["rest_renders"] == figures["rest_uploads"] == figures["rest_submissions"] == 0
