"""`evaluate transfer`: what is lost when another person's expressions drive an avatar.

The other people are those of `data heads` that the head model was not trained on. The truth is the
avatar's own person, registered, in the same ARKit weights (`evaluation.known_motion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from avatar_viewer.avatar_folder import resolve
from avatar_viewer.avatar_info import read_avatar_info
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.head_sampler import HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.data.synthesis.made_up_motion import MadeUpMotion, make_up_motion
from avatar_viewer.evaluation.images import write_json
from avatar_viewer.evaluation.known_motion import (
    LID_PAIRS,
    LIP_PAIRS,
    REGIONS,
    event_time,
    gap_mm,
)
from avatar_viewer.evaluation.results import write_section
from avatar_viewer.evaluation.transfer_footage import (
    footage_codes,
    read_footage,
    tracker_misses,
)
from avatar_viewer.evaluation.transfer_report import AT_REST, FACE, report
from avatar_viewer.evaluation.transfer_sources import (
    Codes,
    Stage,
    load_stage,
    mesh_codes,
    unit_codes,
)
from avatar_viewer.files import ensure_writable

Figures = dict[str, dict[str, float]]
"""By source, and by their name."""


@dataclass(frozen=True)
class Sources:
    """Whose expressions drive the avatar."""

    heads: Path
    """Of `data heads`, the avatar's person first."""
    people: int | None = None
    """So many of those that were held out."""
    footage: tuple[Path, ...] = ()
    """Data sets of `data synthesize --split footage`, each of a person."""
    face_model: Path | None = None


def evaluate_transfer(
    ckpt: str | None, sources: Sources, json: Path | None = None, results: Path | None = None
) -> None:
    """Drive an avatar by other people; print the tables, and write them where asked to."""
    for path in (json, results):
        if path is not None:
            ensure_writable(path)
    folder = resolve(ckpt or DEMO_FOLDER, lambda text: None)
    stage = load_stage(folder, sources.heads)
    rows = _rows_of_heads(stage, load_heads(sources.heads, "held_out", sources.people))
    films, no_video = _rows_of_footage(stage, folder, sources)
    means = mean_figures(rows) | mean_figures(films)
    name = read_avatar_info(folder / "avatar.yaml").name
    text = report(means, (len(rows), len(films)), name, no_video)
    print(text)
    if json is not None:
        write_json({"mean": means, "people": rows, "footage": films}, json)
    if results is not None:
        write_section(results, text)


def _rows_of_heads(stage: Stage, people: list[HeadScans]) -> list[Figures]:
    rows = []
    for number, person in enumerate(people):
        rng = np.random.default_rng(number)
        motion = make_up_motion(rng)
        by_source = {
            "meshes": mesh_codes(stage, person, motion, rng),
            "ARKit weights": unit_codes(stage, person, motion, rng),
        }
        row = {
            name: figures(stage, codes, person.weights, motion) for name, codes in by_source.items()
        }
        rows.append(row)
        print(f"person {number + 1}/{len(people)}: {_short(row)}", flush=True)
    return rows


def _rows_of_footage(stage: Stage, folder: Path, sources: Sources) -> tuple[list[Figures], str]:
    """And why there are none."""
    if not sources.footage:
        return [], "no --footage was given"
    films = [read_footage(path) for path in sources.footage]
    if (missing := tracker_misses(sources.face_model)) is not None:
        return [], missing
    rows = []
    for film in films:
        codes = footage_codes(stage, film, folder, sources.face_model)
        motion = film.motion(stage.truth)
        found = figures(stage, codes, motion.weights, motion)
        at_rest = stage.arkit_map.offset.expand(len(codes.still), -1)
        rows.append({"video": found, AT_REST: still_figures(stage, at_rest, motion.weights)})
        print(f"{film.video}: {_short(rows[-1])}", flush=True)
    return rows, ""


def figures(
    stage: Stage, codes: Codes, weights: np.ndarray, motion: MadeUpMotion
) -> dict[str, float]:
    """Of one source and person; `weights` [S,52] are those of the still codes."""
    raw = moving_figures(stage, codes.trembling, motion)
    found = still_figures(stage, codes.still, weights) | moving_figures(stage, codes.moving, motion)
    return found | {f"raw_{key}": value for key, value in raw.items()}


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


def mean_figures(rows: list[Figures]) -> Figures:
    """Over people; of timing the worst. None where there are none."""
    if not rows:
        return {}
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
        f"{source} {row['face_mm']:.2f} mm"
        + (f", moving {row['moving_mm']:.2f} mm" if "moving_mm" in row else "")
        for source, row in figures.items()
    )
