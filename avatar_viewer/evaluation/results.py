"""An ablation's report as Markdown, with a sheet of pictures for each split beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.evaluation.images import FIGURES
from avatar_viewer.evaluation.sheet import write_picture
from avatar_viewer.files import written_aside

SMALLER_IS_BETTER = ("flip", "lpips", "landmark_px", "warping_error")
LARGER_IS_BETTER = ("psnr", "ssim", "jod", "psnr_full", "ssim_full")
OF_EACH_PICTURE = ("psnr", "ssim", "flip", "jod")


def write_results(report: Mapping[str, Any], out: Path, path: Path) -> str:
    """Write `path` from an ablation's report and the rows of pictures in `out`; its text."""
    done = {name: entry for name, entry in report["variants"].items() if "splits" in entry}
    sections = [_introduction(report)]
    for split in report["splits"]:
        sections.append(f"## Split `{split}`\n\n{table(report, split)}")
        if done:
            sheet = path.with_name(f"{path.stem}_{split}.webp")
            rows = [out / f"truth_{split}.png", *(out / name / f"{split}.png" for name in done)]
            write_picture(np.concatenate([_row(row) for row in rows]), sheet)
            titles = ", ".join(["truth", *(entry["title"] for entry in done.values())])
            sections.append(f"From above: {titles}.\n\n![{titles}]({sheet.name})")
            sections.append(frames_table(done, split))
    text = "\n\n".join(sections)
    write_section(path, text)
    return text


def write_section(path: Path, text: str) -> None:
    """Put a section, whose first line is its title ("# ..."), in place of the one with that title
    in a Markdown file, or at its end."""
    title = text.splitlines()[0]
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AvatarError(f"{path}: expected Markdown, found: {one_line(error)}") from error
    sections = [part.strip() for part in re.split(r"^(?=# )", before, flags=re.MULTILINE)]
    titles = [part.split("\n", 1)[0] for part in sections]
    if title in titles:
        sections[titles.index(title)] = text.strip()
    else:
        sections.append(text.strip())
    with written_aside(path) as aside:
        aside.write_text("\n\n".join(filter(None, sections)) + "\n", encoding="utf-8")


def table(report: Mapping[str, Any], split: str) -> str:
    """A row for each variant, a column for each figure that any of them has; the best is bold."""
    variants = report["variants"].values()
    means = [entry.get("splits", {}).get(split, {}) for entry in variants]
    names = [name for name in FIGURES if any(name in mean for mean in means)]
    header = ["variant", *(FIGURES[name][0] for name in names)]
    lines = [f"| {' | '.join(header)} |", "| --- " * len(header) + "|"]
    best = {name: _best(name, [mean[name] for mean in means if name in mean]) for name in names}
    for entry, mean in zip(variants, means, strict=True):
        cells = [_cell(mean.get(name), FIGURES[name][1], best[name]) for name in names]
        title = entry["title"] if mean else f"{entry['title']}: skipped, {entry['skipped']}"
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines)


def frames_table(variants: Mapping[str, Any], split: str) -> str:
    """Each picture's figures, folded away: a row for each, a column for each variant."""
    frames = {entry["title"]: entry["splits"][split]["frames"] for entry in variants.values()}
    every = [frame for of_variant in frames.values() for frame in of_variant.values()]
    names = [name for name in OF_EACH_PICTURE if any(name in frame for frame in every)]
    lines = [f"| picture | {' | '.join(frames)} |", "| --- " * (len(frames) + 1) + "|"]
    for picture in next(iter(frames.values())):
        cells = [
            " / ".join(_cell(of[picture].get(name), FIGURES[name][1], None) for name in names)
            for of in frames.values()
        ]
        lines.append(f"| {picture} | {' | '.join(cells)} |")
    about = " / ".join(FIGURES[name][0] for name in names)
    return "\n".join(
        ["<details>", f"<summary>Each picture: {about}</summary>", "", *lines, "", "</details>"]
    )


def _best(name: str, values: list[float]) -> float | None:
    """None for a figure of which neither more nor less is better."""
    if name in SMALLER_IS_BETTER:
        return min(values)
    return max(values) if name in LARGER_IS_BETTER else None


def _cell(value: float | None, digits: int, best: float | None) -> str:
    if value is None:
        return "-"
    return f"**{value:.{digits}f}**" if value == best else f"{value:.{digits}f}"


def _introduction(report: Mapping[str, Any]) -> str:
    """How the figures came about; the same for all variants."""
    lines = [
        "# Ablation",
        "",
        "Written by `avatar-viewer evaluate ablation`, not by hand. Each variant was trained for "
        f"{report['steps']} steps with the settings of `{report['avatar']}` but for the part that "
        "it lacks.",
    ]
    reports = [r for entry in report["variants"].values() for r in entry.get("splits", {}).values()]
    if reports:
        first = reports[0]
        protocol = first["protocol"]
        lines += [
            "",
            f"* pictures: {first['resolution_px']} px over {first['background']}, seed "
            f"{first['seed']}; denoising steps "
            + ", ".join(
                f"{next(iter(entry['splits'].values()))['steps']} ({entry['title']})"
                for entry in report["variants"].values()
                if "splits" in entry
            ),
            f"* region: {protocol['region']}",
            *(f"* {name}: {about}" for name, about in protocol["metrics"].items()),
            *(f"* {name}: left out, {why}" for name, why in protocol["left_out"].items()),
        ]
    return "\n".join(lines)


def _row(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise AvatarError(
            f"{path}: expected a row of pictures, found: {one_line(error)}"
        ) from error
