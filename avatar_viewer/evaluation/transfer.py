"""`evaluate transfer`: what is lost when another person's expressions drive an avatar.

The other people are those of `data heads` that the head model was not trained on. The truth is the
avatar's own person, registered, in the same ARKit weights (`evaluation.made_up_motion`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from avatar_viewer.avatar_folder import resolve
from avatar_viewer.avatar_info import read_avatar_info
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.head_sampler import HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.evaluation.images import write_json
from avatar_viewer.evaluation.made_up_motion import (
    LID_PAIRS,
    LIP_PAIRS,
    REGIONS,
    MadeUpMotion,
    event_time,
    make_up_motion,
)
from avatar_viewer.evaluation.results import write_section
from avatar_viewer.evaluation.transfer_report import FACE, report
from avatar_viewer.evaluation.transfer_sources import Stage, load_stage, mesh_codes, unit_codes
from avatar_viewer.files import ensure_writable

Figures = dict[str, dict[str, float]]
"""By source, and by their name."""


def evaluate_transfer(
    ckpt: str | None,
    heads: Path,
    people: int | None = None,
    json: Path | None = None,
    results: Path | None = None,
) -> None:
    """Drive an avatar by held-out heads; print the tables, and write them where asked to."""
    for path in (json, results):
        if path is not None:
            ensure_writable(path)
    folder = resolve(ckpt or DEMO_FOLDER, lambda text: None)
    stage, others = load_stage(folder, heads), load_heads(heads, "held_out", people)
    rows = []
    for number, person in enumerate(others):
        rows.append(person_figures(stage, person, np.random.default_rng(number)))
        print(f"person {number + 1}/{len(others)}: {_short(rows[-1])}", flush=True)
    means = mean_figures(rows)
    text = report(means, len(rows), read_avatar_info(folder / "avatar.yaml").name)
    print(text)
    if json is not None:
        write_json({"mean": means, "people": rows}, json)
    if results is not None:
        write_section(results, text)


def person_figures(stage: Stage, person: HeadScans, rng: np.random.Generator) -> Figures:
    """Figures by source."""
    motion = make_up_motion(rng)
    sources = {
        "meshes": mesh_codes(stage, person, motion, rng),
        "ARKit weights": unit_codes(stage, person, motion, rng),
    }
    figures = {}
    for name, codes in sources.items():
        moving = moving_figures(stage, codes.moving, motion)
        raw = moving_figures(stage, codes.trembling, motion)
        figures[name] = still_figures(stage, codes.still, person.weights) | moving
        figures[name] |= {f"raw_{key}": value for key, value in raw.items()}
    return figures


def still_figures(stage: Stage, codes: Tensor, weights: np.ndarray) -> dict[str, float]:
    """Mean distance of the avatar's points from the truth by region, millimetres."""
    skin, truth = stage.truth.skin, stage.truth
    wrong = stage.offsets(codes, skin) - truth.offsets(weights, skin)
    error_mm = np.linalg.norm(wrong, axis=2) * truth.to_mm
    figures = {
        f"{name}_mm": float(error_mm[:, truth.region(name)[skin]].mean()) for name in REGIONS
    }
    figures["face_mm"] = float(np.mean([figures[f"{name}_mm"] for name in FACE]))
    return figures | {"head_mm": float(error_mm.mean())}


def moving_figures(stage: Stage, codes: Tensor, motion: MadeUpMotion) -> dict[str, float]:
    """Error, jitter and events of a motion [T,E] on the avatar."""
    truth = stage.truth
    regions = [np.flatnonzero(truth.region(name)) for name in REGIONS]
    pairs = [truth.pairs(names) for names in (LID_PAIRS, LIP_PAIRS)]
    chosen = np.concatenate([*regions, *(pair.ravel() for pair in pairs)])
    here, there = stage.offsets(codes, chosen), truth.offsets(motion.weights, chosen)
    ends = np.cumsum([len(region) for region in regions])
    error_mm = np.linalg.norm(here - there, axis=2) * truth.to_mm
    in_face = np.split(error_mm[:, : ends[-1]], ends[:-1], axis=1)[: len(FACE)]

    def jitter(offsets: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(offsets[:, : ends[-1]], n=2, axis=0), axis=2).mean())

    figures = {
        "moving_mm": float(np.mean([part.mean() for part in in_face])),
        "jitter": jitter(here) / jitter(there),
    }
    canonical = truth.canonical[chosen]
    first = ends[-1]
    for name, pair, events in zip(
        ("blink", "closure"), pairs, (motion.blinks, motion.closures), strict=True
    ):
        part = slice(first, first + pair.size)
        first += pair.size
        gaps = [gap_mm((canonical + o)[:, part], truth.to_mm) for o in (here, there)]
        late = [event_time(gaps[0], event) - event_time(gaps[1], event) for event in events]
        open_mm = [gaps[0][event - 2 : event + 3].min() for event in events]
        true_mm = [gaps[1][event - 2 : event + 3].min() for event in events]
        figures[f"{name}_frames"] = float(np.abs(late).max())
        figures[f"{name}_gap_mm"] = float(np.abs(np.subtract(open_mm, true_mm)).mean())
    return figures


def gap_mm(points: np.ndarray, to_mm: float) -> np.ndarray:
    """[T] mean distance of successive pairs of points [T,2P,3]."""
    return np.linalg.norm(points[:, 0::2] - points[:, 1::2], axis=2).mean(axis=1) * to_mm


def mean_figures(rows: list[Figures]) -> Figures:
    """Over people; of timing the worst."""
    return {
        source: {
            name: float(
                (np.max if name.endswith("_frames") else np.mean)(
                    [row[source][name] for row in rows]
                )
            )
            for name in figures
        }
        for source, figures in rows[0].items()
    }


def _short(figures: Figures) -> str:
    return "; ".join(
        f"{source} {row['face_mm']:.2f} mm, moving {row['moving_mm']:.2f} mm"
        for source, row in figures.items()
    )
