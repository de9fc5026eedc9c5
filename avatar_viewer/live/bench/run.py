"""All figures of an avatar: what `avatar-viewer bench` does."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER, RuntimeName
from avatar_viewer.device import Compute, best_compute
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.live.bench.against import against_figures
from avatar_viewer.live.bench.drag import drag_figures
from avatar_viewer.live.bench.flops import flops_figures
from avatar_viewer.live.bench.frames import HALF, Way, frames_figures
from avatar_viewer.live.bench.full_size import NAME, full_size_avatar, full_size_bound
from avatar_viewer.live.bench.head import head_figures
from avatar_viewer.live.bench.report import full_size_report, report
from avatar_viewer.live.bench.window import window_figures
from avatar_viewer.memory import resident_mb

BUILD_S = 1800.0
"""How long a runtime may take to build its programs; full-size ones are tuned for minutes."""


def bench(
    source: str | None = None,
    *,
    config: str | None = None,
    runtime: RuntimeName = "auto",
    against: bool = False,
    json_path: Path | None = None,
) -> None:
    """Measure, print the figures beside their bounds, and write them as JSON if wanted.

    `config` names an architecture that is measured with random weights in place of an avatar: on a
    CPU its work is only counted.
    """
    if json_path is not None:
        ensure_writable(json_path)
    if config is not None:
        if source is not None or config != NAME:
            raise AvatarError(f"config: expected {NAME} and no avatar, found {config}, {source}")
        source, figures = config, _of_full_size(best_compute(), runtime, against)
    else:
        source = source or str(DEMO_FOLDER)
        figures = _of_avatar(source, runtime, against)
    figures = {"config": config, "source": source, **figures}
    print(full_size_report(figures) if "least_s" in figures else report(figures))
    if json_path is not None:
        with written_aside(json_path) as aside:
            aside.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _of_avatar(source: str, runtime: RuntimeName, against: bool) -> dict[str, Any]:
    began = time.perf_counter()
    avatar = Avatar.load(source, runtime=runtime, notify=_say)
    figures = measured(avatar, began, against)
    window = window_figures(source, runtime)
    return {**figures, "head": head_figures(source), "window": window}


def _of_full_size(compute: Compute, runtime: RuntimeName, against: bool) -> dict[str, Any]:
    if compute.device.type == "cpu":
        return full_size_bound(compute)
    began = time.perf_counter()
    return measured(full_size_avatar(compute, runtime, _say), began, against)


def measured(avatar: Avatar, began: float, against: bool) -> dict[str, Any]:
    """All figures that need no folder; `began` is when loading did, on `time.perf_counter`."""
    info, compute, way = avatar.info, avatar.compute, Way(avatar.info)
    loaded = time.perf_counter()
    avatar.render(way.full(1)[0])
    first_picture_s = time.perf_counter() - began
    for reduction in (r for r in (1, HALF) if r in avatar.reductions):
        avatar.render(way.quick(1, reduction=reduction)[0])
    avatar.runtime.wait_built(BUILD_S)
    frames, drag = frames_figures(avatar, way), drag_figures(avatar, way)
    return {
        "avatar": info.name,
        "resolution_px": info.resolution_px,
        "steps": info.steps,
        "quick_steps": info.quick_steps,
        "device": _name(compute.device),
        "dtype": str(compute.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "runtime": avatar.runtime.label,
        "frames": frames,
        "drag": drag,
        "start": {"load_s": loaded - began, "first_picture_s": first_picture_s, **_memory(compute)},
        "flops": flops_figures(avatar, way, frames["quick_ms"]),
        "against": against_figures(avatar, way) if against else None,
    }


def _memory(compute: Compute) -> dict[str, float | None]:
    rss_mb, rss_peak_mb = resident_mb(os.getpid())
    memory = {"rss_mb": rss_mb, "rss_peak_mb": rss_peak_mb}
    if compute.device.type == "cuda":
        memory["cuda_peak_mb"] = torch.cuda.max_memory_allocated(compute.device) / 1e6
    return memory


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
