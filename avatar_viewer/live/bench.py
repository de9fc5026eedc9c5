"""Measures an avatar on this machine, through the same render thread that the window uses."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.live.render_thread import LiveState, RenderThread
from avatar_viewer.live.still import Picture
from avatar_viewer.memory import resident_mb
from avatar_viewer.stages import RenderRequest

FULL_FRAMES = 12
DRAG_S = 6.0
WINDOW_DRAG_S = 8.0
INPUT_INTERVAL_S = 0.016
"""How often a mouse that moves asks for a picture: once a GUI frame."""
UNCHANGED_SUBMITS = 200
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Bound:
    """What the project promises of a figure, on two CPU cores."""

    figure: str
    text: str
    limit: float
    at_least: bool = False
    digits: int = 1

    def line(self, value: float | None) -> str:
        """The figure beside its bound."""
        bound = f"bound {'>=' if self.at_least else '<='} {self.limit:g}"
        if value is None:
            return f"{self.text:<44}{'not measured':>12}   {bound}"
        kept = value >= self.limit if self.at_least else value <= self.limit
        return (
            f"{self.text:<44}{value:>12.{self.digits}f}   {bound:<14}{'kept' if kept else 'MISSED'}"
        )


BOUNDS = (
    Bound("drag_fps", "new frames while dragging, 1/s", 5, at_least=True),
    Bound("latency_p95_ms", "input to finished frame, p95, ms", 300),
    Bound("unchanged_renders", "renders of an unchanged request", 0),
    Bound("rss_peak_mb", "resident memory, peak, MB", 1500),
)
"""Of the render thread alone."""

HEAD_BOUNDS = (
    Bound("baked_mean_mm", "baked against exact vertices, mean, mm", 0.1, digits=3),
    Bound("baked_max_mm", "baked against exact vertices, largest, mm", 1, digits=3),
    Bound("baked_ms", "baked expression to vertices, normals, ms", 3),
    Bound("exact_ms", "exact expression to vertices, normals, ms", 300),
)
"""Of the head alone, over a grid of the pad."""

WINDOW_BOUNDS = (
    Bound("drag_fps", "new frames while dragging, 1/s", 5, at_least=True),
    Bound("shown_p95_ms", "input to shown frame, p95, ms", 300),
    Bound("window_s", "window on screen, s", 2),
    Bound("first_picture_s", "first picture, s", 10),
    Bound("rss_peak_mb", "resident memory, peak, MB", 1500),
    Bound("rest_renders", "renders in 3 s at rest", 0),
    Bound("rest_uploads", "texture uploads in 3 s at rest", 0),
)
"""Of the whole in its window."""


def bench(source: str | None = None, json_path: Path | None = None) -> None:
    """Measure, print the figures beside their bounds, and write them as JSON if wanted."""
    if json_path is not None:
        ensure_writable(json_path)
    source = source or str(DEMO_FOLDER)
    thread = RenderThread()
    try:
        figures = {"source": source, **measure(thread, source), "head": head_figures(source)}
    finally:
        thread.stop()
    figures["rss_mb"], figures["rss_peak_mb"] = resident_mb(os.getpid())
    figures["window"] = window_figures(source)
    print(report(figures))
    if json_path is not None:
        with written_aside(json_path) as aside:
            aside.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(
    thread: RenderThread, source: str, full_frames: int = FULL_FRAMES, drag_s: float = DRAG_S
) -> dict[str, Any]:
    """Timings of the avatar `source` on a render thread without an avatar."""
    began = time.perf_counter()
    thread.load(source)
    info = _settled(thread, lambda state: state.info is not None).info
    assert info is not None
    load_s = time.perf_counter() - began

    def moving(place: float) -> RenderRequest:
        """A place on a round trip over the pad, with the camera swinging along."""
        angle = 2 * math.pi * place
        pad = (0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle))
        azimuth_deg = info.default_view.azimuth_deg + 20 * math.sin(angle)
        return Picture(pad=pad, azimuth=azimuth_deg).request(info)

    _rendered(thread, moving(-0.01))  # the first picture compiles and fills caches
    full = [_rendered(thread, moving(i / full_frames)) for i in range(full_frames)]
    drag, elapsed_s = _drag(thread, moving, drag_s)
    _rendered(thread, moving(0))
    latencies = [state.latency_ms for state in drag]
    return {
        "avatar": info.name,
        "resolution_px": info.resolution_px,
        "steps": info.steps,
        "quick_steps": info.quick_steps,
        "load_s": load_s,
        "full_ms": _stage_percentiles(full),
        "quick_ms": _stage_percentiles(drag),
        "drag_fps": len(drag) / elapsed_s,
        "latency_p50_ms": _percentile(latencies, 50),
        "latency_p95_ms": _percentile(latencies, 95),
        **_unchanged(thread, moving(0)),
    }


def head_figures(source: str, grid: int = 9) -> dict[str, float] | None:
    """How far baked expressions are from exact ones, and what both cost; None without a bake."""
    import torch

    from avatar_viewer.avatar_folder import load_head, resolve
    from avatar_viewer.avatar_info import read_avatar_info
    from avatar_viewer.head.baked_expressions import baking_error_mm

    folder = resolve(source, lambda text: None)
    poser = load_head(folder / "head", torch.device("cpu"))
    if poser.baked is None:
        return None
    info = read_avatar_info(folder / "avatar.yaml")
    places = [(x / (grid - 1), y / (grid - 1)) for x in range(grid) for y in range(grid)]
    expressions = [Picture(pad=place).request(info).expression for place in places]
    codes = torch.stack(
        [expression.tensor()[: poser.nphm.expression_dim] for expression in expressions]
    )
    mean_mm, max_mm = baking_error_mm(poser.baked, poser.nphm, poser.head, poser.identity, codes)

    def median_ms(exact: bool) -> float:
        times = []
        for expression in expressions:
            began = time.perf_counter()
            poser.pose(expression, exact=exact)
            times.append((time.perf_counter() - began) * 1e3)
        return _percentile(times, 50)

    return {
        "vertices": len(poser.head.vertices),
        "baked_mean_mm": mean_mm,
        "baked_max_mm": max_mm,
        "baked_ms": median_ms(exact=False),
        "exact_ms": median_ms(exact=True),
    }


def _drag(
    thread: RenderThread, moving: Callable[[float], RenderRequest], seconds: float
) -> tuple[list[LiveState], float]:
    """The states with each new quick frame, while the pad moves at every GUI frame."""
    states: list[LiveState] = []
    seen = thread.poll().frames
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < seconds:
        thread.submit(moving(elapsed_s / seconds), dragging=True)
        state = thread.poll()
        _raise_failure(state)
        if state.frames > seen:
            seen = state.frames
            states.append(state)
        time.sleep(INPUT_INTERVAL_S)
    if not states:
        raise AvatarError(f"bench: expected a frame within {seconds:g} s of dragging, found none")
    return states, elapsed_s


def _unchanged(thread: RenderThread, request: RenderRequest) -> dict[str, float]:
    """What it costs to ask again for the picture that is shown."""
    frames = thread.poll().frames
    began = time.perf_counter()
    for _ in range(UNCHANGED_SUBMITS):
        thread.submit(request)
    submit_us = (time.perf_counter() - began) / UNCHANGED_SUBMITS * 1e6
    thread.wait(lambda state: state.frames > frames, 0.3)
    return {"unchanged_renders": thread.poll().frames - frames, "unchanged_submit_us": submit_us}


def _rendered(thread: RenderThread, request: RenderRequest) -> LiveState:
    thread.submit(request)
    return _settled(
        thread,
        lambda state: (
            state.frame is not None and not state.frame.preview and state.frame.request == request
        ),
    )


def _settled(thread: RenderThread, until: Callable[[LiveState], bool]) -> LiveState:
    state = thread.wait(lambda state: until(state) or state.failure is not None, TIMEOUT_S)
    _raise_failure(state)
    if not until(state):
        raise AvatarError(f"bench: expected a result within {TIMEOUT_S:g} s, found none")
    return state


def _raise_failure(state: LiveState) -> None:
    if state.failure is not None:
        raise AvatarError(state.failure.message)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))


def _stage_percentiles(states: Sequence[LiveState]) -> dict[str, dict[str, float]]:
    """p50 and p95 by stage, and of their sum, in milliseconds."""
    by_frame = [dict(state.frame.stage_ms) for state in states if state.frame is not None]
    stages = {name: [ms.get(name, 0.0) for ms in by_frame] for ms in by_frame for name in ms}
    stages["total"] = [sum(ms.values()) for ms in by_frame]
    return {
        name: {"p50": _percentile(values, 50), "p95": _percentile(values, 95)}
        for name, values in stages.items()
    }


def window_figures(source: str) -> dict[str, Any] | None:
    """What `viewer.measured_drag` finds in a window of its own; None where none can open."""
    if not os.environ.get("DISPLAY"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        words = (source, str(WINDOW_DRAG_S), str(path), str(time.time()))
        done = subprocess.run(
            [sys.executable, "-m", "avatar_viewer.viewer.measured_drag", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise AvatarError(f"bench: the window failed: {' '.join(last)}")
        figures = json.loads(path.read_text())
    shown_ms = figures.pop("shown_ms")
    return {
        **figures,
        "shown_p50_ms": _percentile(shown_ms, 50),
        "shown_p95_ms": _percentile(shown_ms, 95),
    }


def report(figures: dict[str, Any]) -> str:
    """The figures as text, each bound beside its figure."""
    lines = [
        f"{figures['avatar']} ({figures['source']}): {figures['resolution_px']} px, "
        f"{figures['steps']} steps at rest, {figures['quick_steps']} while dragging",
        "",
        f"{'ms':<16}{'full p50':>10}{'p95':>10}{'quick p50':>12}{'p95':>10}",
    ]
    for stage, full in figures["full_ms"].items():
        quick = figures["quick_ms"].get(stage, {"p50": 0.0, "p95": 0.0})
        lines.append(
            f"{stage:<16}{full['p50']:>10.1f}{full['p95']:>10.1f}"
            f"{quick['p50']:>12.1f}{quick['p95']:>10.1f}"
        )
    lines += ["", "render thread"]
    lines += [bound.line(figures[bound.figure]) for bound in BOUNDS]
    for name, text in (
        ("latency_p50_ms", "input to finished frame, p50, ms"),
        ("unchanged_submit_us", "submitting an unchanged request, us"),
        ("load_s", "loading, s"),
    ):
        lines.append(f"{text:<44}{figures[name]:>12.1f}")
    head = figures["head"]
    if head is None:
        lines += ["", "head: not baked"]
    else:
        lines += ["", f"head, {head['vertices']} vertices"]
        lines += [bound.line(head[bound.figure]) for bound in HEAD_BOUNDS]
    window = figures["window"]
    if window is None:
        lines += ["", "window: not measured without a display (xvfb-run -a gives one)"]
        return "\n".join(lines)
    lines += ["", "window"]
    lines += [bound.line(window[bound.figure]) for bound in WINDOW_BOUNDS]
    lines.append(f"{'input to shown frame, p50, ms':<44}{window['shown_p50_ms']:>12.1f}")
    lines.append(f"{'share of a core at rest, %':<44}{100 * window['rest_core_share']:>12.1f}")
    return "\n".join(lines)
