"""The figures as text, each beside its bound where the project promises one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Limits = Mapping[str, float]
"""By figure."""


@dataclass(frozen=True)
class Line:
    """One figure of the report."""

    figure: str
    text: str
    at_least: bool = False
    """Whether a bound is a lower one."""
    digits: int = 1

    def written(self, value: float | None, limit: float | None) -> str:
        """The figure beside its bound."""
        found = "not measured" if value is None else f"{value:.{self.digits}f}"
        if limit is None:
            return f"{self.text:<46}{found:>12}"
        bound = f"bound {'>=' if self.at_least else '<='} {limit:g}"
        if value is None:
            return f"{self.text:<46}{found:>12}   {bound}"
        kept = value >= limit if self.at_least else value <= limit
        return f"{self.text:<46}{found:>12}   {bound:<14}{'kept' if kept else 'MISSED'}"


FRAMES = (
    Line("pad_fps", "pad moves, 1/s", at_least=True),
    Line("view_fps", "view moves, 1/s", at_least=True),
    Line("half_pad_fps", "pad moves, half the size, 1/s", at_least=True),
    Line("half_view_fps", "view moves, half the size, 1/s", at_least=True),
    Line("fps_1", "both move, 1 step, 1/s", at_least=True),
    Line("fps_2", "both move, 2 steps, 1/s", at_least=True),
    Line("fps_4", "both move, 4 steps, 1/s", at_least=True),
)
DRAG = (
    Line("drag_fps", "new pictures, 1/s", at_least=True),
    Line("evenness", "intervals between them, p95 / p50", digits=2),
    Line("mean_steps", "their denoising steps, mean"),
    Line("reduced_percent", "of them smaller than the avatar's size, %"),
    Line("latency_p50_ms", "input to finished picture, p50, ms"),
    Line("latency_p95_ms", "input to finished picture, p95, ms"),
    Line("unchanged_renders", "renders of an unchanged request"),
    Line("unchanged_submit_us", "submitting an unchanged request, us"),
)
START = (
    Line("load_s", "loading, s"),
    Line("first_picture_s", "first picture, s"),
    Line("rss_mb", "resident memory, MB", digits=0),
    Line("rss_peak_mb", "resident memory, peak, MB", digits=0),
    Line("cuda_peak_mb", "GPU memory, peak, MB", digits=0),
)
FLOPS = (
    Line("matrix_gflops", "this machine's matrix products, GFLOP/s", digits=0),
    Line("embed_gflop", "control of a view, GFLOP"),
    Line("unet_gflop", "U-Net, GFLOP"),
    Line("controlnet_gflop", "ControlNet, GFLOP"),
    Line("decode_gflop", "decoder, GFLOP"),
    Line("denoise_percent", "denoising at that rate, %", at_least=True),
    Line("decode_percent", "decoding at that rate, %", at_least=True),
    Line("frame_percent", "whole picture at that rate, %", at_least=True),
)
AGAINST = (
    Line("quick_ms", "a quick picture, ms"),
    Line("plain_ms", "20 steps, teacher, full VAE, plain, ms", digits=0),
    Line("plain_times", "  times the quick one", at_least=True),
    Line("eager_ms", "networks in torch, ms"),
    Line("eager_times", "  times the quick one", at_least=True, digits=2),
    Line("turned_ms", "same expression, ms"),
    Line("turned_forgetful_ms", "same expression, nothing kept, ms"),
    Line("turned_forgetful_times", "  times as long", at_least=True, digits=2),
    Line("same_view_ms", "same view, ms"),
    Line("same_view_forgetful_ms", "same view, nothing kept, ms"),
    Line("same_view_forgetful_times", "  times as long", at_least=True, digits=2),
)
HEAD = (
    Line("vertices", "vertices", digits=0),
    Line("baked_mean_mm", "baked against exact vertices, mean, mm", digits=3),
    Line("baked_max_mm", "baked against exact vertices, largest, mm", digits=3),
    Line("baked_ms", "baked expression to vertices, normals, ms"),
    Line("exact_ms", "exact expression to vertices, normals, ms"),
)
WINDOW = (
    Line("drag_fps", "new pictures while dragging, 1/s", at_least=True),
    Line("shown_p50_ms", "input to shown picture, p50, ms"),
    Line("shown_p95_ms", "input to shown picture, p95, ms"),
    Line("window_s", "window on screen, s"),
    Line("first_picture_s", "first picture, s"),
    Line("rss_peak_mb", "resident memory, peak, MB", digits=0),
    Line("rest_renders", "renders in 3 s at rest", digits=0),
    Line("rest_uploads", "texture uploads in 3 s at rest", digits=0),
    Line("rest_core_percent", "share of a core at rest, %"),
)
SECTIONS = {
    "frames": ("quick pictures, one after the other", FRAMES),
    "drag": ("pad and view dragged, on the render thread", DRAG),
    "start": ("start and memory", START),
    "flops": ("arithmetic of a quick picture", FLOPS),
    "against": ("against other ways", AGAINST),
    "head": ("head on the CPU", HEAD),
    "window": ("window", WINDOW),
}
"""By name of the figures: title and lines."""
WHY_NOT = {
    "head": "not baked",
    "window": "not measured without a display (xvfb-run -a gives one)",
}

TWO_CORES: Limits = {
    "pad_fps": 10,
    "view_fps": 10,
    "half_pad_fps": 20,
    "half_view_fps": 20,
    "drag_fps": 10,
    "evenness": 1.5,
    "latency_p95_ms": 120,
    "shown_p95_ms": 120,
    "unchanged_renders": 0,
    "rss_peak_mb": 1500,
    "first_picture_s": 10,
    "window_s": 2,
    "rest_renders": 0,
    "rest_uploads": 0,
    "rest_core_percent": 10,
    "plain_times": 40,
    "baked_mean_mm": 0.1,
    "baked_max_mm": 1,
    "baked_ms": 3,
    "exact_ms": 300,
}
"""What the project promises of the embedded avatar on two processor cores with AVX-512 or AMX, with
torch alone."""
TWO_CORES_FAST: Limits = {
    **TWO_CORES,
    "pad_fps": 25,
    "view_fps": 25,
    "half_pad_fps": 40,
    "half_view_fps": 40,
}
"""As above, with OpenVINO."""
FULL_SIZE_H100: Limits = {
    "fps_1": 200,
    "fps_2": 120,
    "fps_4": 60,
    "latency_p95_ms": 33,
    "evenness": 1.5,
    "frame_percent": 25,
    "cuda_peak_mb": 8000,
    "unchanged_renders": 0,
}
"""Of the paper's sizes on one H100."""


def limits_of(figures: Mapping[str, Any]) -> tuple[str, Limits]:
    """On which machine bounds hold, and the bounds."""
    if figures["config"] is not None:
        return "one H100", FULL_SIZE_H100
    if figures["runtime"] == "eager":
        return "two cores with AVX-512 or AMX, torch alone", TWO_CORES
    return "two cores with AVX-512 or AMX", TWO_CORES_FAST


def report(figures: Mapping[str, Any]) -> str:
    """All figures as text."""
    machine, limits = limits_of(figures)
    lines = [
        f"{figures['avatar']} ({figures['source']}): {figures['resolution_px']} px, "
        f"{figures['steps']} steps at rest, {figures['quick_steps']} in a quick picture",
        f"on {figures['device']} in {figures['dtype']}, {figures['threads']} threads, "
        f"runtime {figures['runtime']}; bounds are those of {machine}",
        "",
        *_stage_table(figures["frames"]),
    ]
    for name, (title, section) in SECTIONS.items():
        found = figures.get(name)
        if found is not None:
            lines += ["", title]
            lines += [
                line.written(found[line.figure], limits.get(line.figure))
                for line in section
                if line.figure in found
            ]
        elif name in WHY_NOT:
            lines += ["", f"{title}: {WHY_NOT[name]}"]
    return "\n".join(lines)


def _stage_table(frames: Mapping[str, Any]) -> list[str]:
    """p50 and p95 by stage of full, quick and half-size quick pictures."""
    columns = {
        name: frames[f"{key}_ms"]
        for name, key in (("full", "full"), ("quick", "quick"), ("half", "half_quick"))
        if f"{key}_ms" in frames
    }
    lines = [f"{'ms':<12}" + "".join(f"{f'{name} p50':>12}{'p95':>10}" for name in columns)]
    for stage in columns["full"]:
        cells = [column.get(stage, {"p50": 0.0, "p95": 0.0}) for column in columns.values()]
        lines.append(f"{stage:<12}" + "".join(f"{c['p50']:>12.1f}{c['p95']:>10.1f}" for c in cells))
    return lines


def full_size_report(figures: Mapping[str, Any]) -> str:
    """The figures of `full_size.full_size_bound`."""
    lines = [
        f"{figures['avatar']} ({figures['source']}): one picture, counted",
        "",
        *(line.written(figures[line.figure], None) for line in FLOPS if line.figure in figures),
        Line("least_s", "one picture in one step here takes at least, s").written(
            figures["least_s"], None
        ),
        "",
        "Measuring it needs a GPU.",
    ]
    return "\n".join(lines)
