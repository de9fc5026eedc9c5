"""What `evaluate transfer` found, as Markdown."""

from __future__ import annotations

from avatar_viewer.data.synthesis.plan import FOOTAGE_FPS
from avatar_viewer.evaluation.transfer_sources import (
    FPS,
    GAIN,
    HEAD_TURN_DEG,
    MESH_NOISE_MM,
    REST_WEIGHT,
    WEIGHT_NOISE,
)

FACE = ("lips", "lids", "brows")
"""The bounds speak of their mean."""
BOUNDS_MM = {"meshes": 0.8, "ARKit weights": 1.0, "video": 2.0}
AT_REST = "face at rest"
MOST_EVENT_FRAMES = 1.0
MOST_JITTER = 1.5
MOVING = {
    "moving_mm": "mm",
    "jitter": "jitter",
    "blink_frames": "blink, frames",
    "closure_frames": "closure, frames",
    "blink_gap_mm": "lids' gap, mm",
    "closure_gap_mm": "lips' gap, mm",
}

FILMS = (
    "of {films} more people: footage of `data synthesize`, with hair and gaze, seen from the\n"
    "  front, on a head that sways; tracked by MediaPipe. No frame is told to be at rest."
)
INTRODUCTION = f"""# Transfer

Written by `avatar-viewer evaluate transfer`, not by hand: how far the skin of {{avatar}} lies from
the truth where other people drive it, whom the head model was not trained on. Means over people, in
millimetres where nothing else is said.

The truth is the avatar's own person, registered, in the same ARKit weights as the other: points
that no head model and no map from weights had a part in. All are synthetic heads, which one
generator moves alike; real people also differ in manner, and real trackers err more. Figures on
real footage will be worse, and have not been measured.

* meshes, of {{people}} people of `data heads`: registered points, without normals, faces or
  template. The identity is fitted to the face at rest, whose code is the avatar's.
* ARKit weights, of the same people: as a phone gives them, made up: a face at rest shows up to
  {REST_WEIGHT:g} of each unit, full weight as {GAIN[0]:g} to {GAIN[1]:g} of it, with white noise
  of {WEIGHT_NOISE:g}; calibrated by a face at rest.
* video, {{films}}

## Transfer of expressions

Of meshes and weights each person's scans, mixtures of three to ten units up to full weight; of
videos the frames of their motion, where a face at rest would err as its row says.

{{still}}

## Transfer of motion

A few seconds of made-up talk at {FPS:g} frames a second, of videos {FOOTAGE_FPS:g}, with blinks of
five frames and closures of the mouth. The meshes tremble by {MESH_NOISE_MM:g} mm in each
coordinate, on a head that turns by {HEAD_TURN_DEG:g} degrees.

* mm: error over lips, lids and brows
* jitter: mean second difference of points against that of the truth (bound {MOST_JITTER:g})
* blink, closure: how far the middle of the worst blink and of the worst closure of the mouth lies
  from the true one (bound {MOST_EVENT_FRAMES:g} frame)
* gaps between lids and lips: how much they are off where they are narrowest

{{moving}}"""


def report(
    means: dict[str, dict[str, float]], counts: tuple[int, int], avatar: str, no_video: str
) -> str:
    """The section of Markdown: of so many people and videos; `no_video` says why there are none."""
    people, films = counts
    first, *others = FACE
    columns = [*FACE, f"{first}, {', '.join(others)}", "jaw", "whole head"]
    names = [*(f"{name}_mm" for name in FACE), "face_mm", "jaw_mm", "head_mm"]
    still = [
        f"| source | {' | '.join(columns)} | bound | |",
        "| --- " * (len(columns) + 3) + "|",
    ]
    for source, mean in means.items():
        cells = " | ".join(f"{mean[name]:.2f}" for name in names)
        bound = BOUNDS_MM.get(source)
        kept = "|  |" if bound is None else f"<= {bound:g} | {_kept(mean['face_mm'] <= bound)} |"
        still.append(f"| {source} | {cells} | {kept}")
    moving = [
        f"| source | {' | '.join(MOVING.values())} | |",
        "| --- " * (len(MOVING) + 2) + "|",
    ]
    for source, mean in means.items():
        if source == AT_REST:
            continue
        for prefix, title in (("", source), ("raw_", f"{source}, not smoothed")):
            shown = [mean[f"{prefix}{name}"] for name in MOVING]
            jitter, blink, closure = shown[1:4]
            kept = jitter <= MOST_JITTER and max(blink, closure) <= MOST_EVENT_FRAMES
            cells = " | ".join(f"{value:.2f}" for value in shown)
            moving.append(f"| {title} | {cells} | {_kept(kept) if not prefix else ''} |")
    return INTRODUCTION.format(
        avatar=avatar,
        people=people,
        films=FILMS.format(films=films) if films else f"left out: {no_video}",
        still="\n".join(still),
        moving="\n".join(moving),
    )


def _kept(kept: bool) -> str:
    return "kept" if kept else "MISSED"
