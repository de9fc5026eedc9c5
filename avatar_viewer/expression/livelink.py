"""Recordings of the 52 ARKit weights: of Apple's Live Link Face, and of other trackers, as CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights

TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;.](\d+(?:\.\d+)?)")
"""Hours, minutes, seconds, frames with their fraction."""
RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 120.0)
"""Of timecodes."""
DEFAULT_FPS = 60.0
"""Of recordings that do not tell: Live Link Face's own."""
HEAD_ANGLES = ("headyaw", "headpitch", "headroll")
OPTIONAL_UNITS = ("tongueOut",)
"""Trackers by pictures have no such column; absent it is 0."""
MOST_WEIGHT = 1.5
"""Some trackers exceed 1 a little; beyond this it is another unit."""
MOST_REST = 0.8
"""A face at rest does not use a unit further; what does is not calibrated beyond."""
DAY_S = 86400.0


@dataclass(frozen=True, eq=False)
class UnitRecording:
    """ARKit weights over time, rows without a face left out."""

    times_s: np.ndarray
    """[T] float64, rising from 0."""
    weights: np.ndarray
    """[T,52] float64 in the order of `ARKIT_UNITS`."""
    fps: float
    """How many rows there are in a second, where none is missing."""
    head_pose_deg: np.ndarray | None = None
    """[T,3] yaw, pitch, roll as the recording has them."""


def read_units(path: Path) -> UnitRecording:
    """A CSV file with a column for each ARKit unit, in any order and case, others beside them.

    Times are `Timecode` (HH:MM:SS:FF.fff), as Live Link Face writes it, or `time_s`; without either
    rows are 1/60 s apart. Rows without any weight are times at which no face was seen. Raises
    AvatarError in one line.
    """
    columns = _read_columns(path)
    units = {unit: columns[unit.lower()] for unit in ARKIT_UNITS if unit.lower() in columns}
    seen = [any(cells) for cells in zip(*units.values(), strict=True)]
    if not any(seen):
        raise AvatarError(f"{path}: expected rows of weights, found none")

    def numbers(name: str, cells: list[str]) -> np.ndarray:
        return _numbers(path, name, cells, seen)

    weights = np.zeros((sum(seen), len(ARKIT_UNITS)))
    for unit, cells in units.items():
        weights[:, ARKIT_UNITS.index(unit)] = numbers(unit, cells)
    if (largest := np.abs(weights).max()) > MOST_WEIGHT:
        raise AvatarError(f"{path}: expected weights in 0..1, found up to {largest:g}")
    times_s, fps = _times(path, columns, seen)
    pose = None
    if all(name in columns for name in HEAD_ANGLES):
        angles = [numbers(name, columns[name]) for name in HEAD_ANGLES]
        pose = np.degrees(np.stack(angles, axis=1))
    return UnitRecording(times_s, weights, fps, pose)


def sequence_of_units(
    recording: UnitRecording,
    arkit_map: ArkitMap,
    *,
    source: str,
    neutral: int | None = None,
    fps: float | None = None,
) -> ExpressionSequence:
    """Expressions at even times, `fps` in a second (the recording's, where it is None).

    `neutral` is the number of a face at rest, by which the others are calibrated. Times that are
    further than 1.5 rows from one at which a face was seen have the confidence 0.
    """
    weights = np.clip(recording.weights, 0, 1)
    if neutral is not None:
        if not 0 <= neutral < len(weights):
            expected = f"a row of 0 to {len(weights) - 1} with a face"
            raise AvatarError(f"neutral: expected {expected}, found {neutral}")
        around = weights[max(0, neutral - 2) : neutral + 3]
        weights = calibrated(weights, np.median(around, axis=0))
    rate = recording.fps if fps is None else fps
    header = Header(rate, source)
    # The last row lasts as long as each other one.
    count = max(1, round((recording.times_s[-1] + 1 / recording.fps) * rate))
    times_s = np.arange(count) / rate

    def even(rows: np.ndarray) -> np.ndarray:
        columns = [np.interp(times_s, recording.times_s, column) for column in rows.T]
        return np.stack(columns, axis=1).astype(np.float32)

    weights = even(weights)
    z = arkit_map.codes(torch.from_numpy(weights)).numpy()
    codes = np.concatenate([z, gaze_of_weights(weights)], axis=1).astype(np.float32)
    after = np.searchsorted(recording.times_s, times_s).clip(0, len(recording.times_s) - 1)
    nearest = np.minimum(
        np.abs(recording.times_s[after] - times_s),
        np.abs(recording.times_s[np.maximum(after - 1, 0)] - times_s),
    )
    sure = (nearest <= 1.5 / recording.fps).astype(np.float32)
    pose = recording.head_pose_deg
    return ExpressionSequence(header, codes, sure, None if pose is None else even(pose))


def calibrated(weights: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Weights [T,52] such that those of a face at rest, `neutral` [52], become 0, and 1 stays 1."""
    rest = np.clip(neutral, 0, MOST_REST)
    return np.clip((weights - rest) / (1 - rest), 0, 1)


def _read_columns(path: Path) -> dict[str, list[str]]:
    """Cells by their column's name in lower case; AvatarError unless all units have one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{path}: expected a CSV of ARKit weights, found: {found}") from error
    except (ValueError, csv.Error) as error:
        found = one_line(error)
        raise AvatarError(f"{path}: expected a CSV of ARKit weights, found: {found}") from error
    if not rows:
        raise AvatarError(f"{path}: expected a CSV of ARKit weights, found no rows")
    names = [name.strip().lower() for name in rows[0]]
    needed = [unit for unit in ARKIT_UNITS if unit not in OPTIONAL_UNITS]
    if missing := [unit for unit in needed if unit.lower() not in names]:
        few = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise AvatarError(f"{path}: expected a column for each ARKit unit, found none for {few}")
    for number, row in enumerate(rows[1:]):
        if len(row) > len(names):
            expected = f"{len(names)} cells in row {number + 1}"
            raise AvatarError(f"{path}: expected {expected}, found {len(row)}")
    columns = zip_longest(*rows, fillvalue="")
    return {
        name: [cell.strip() for cell in cells[1:]]
        for name, cells in zip(names, columns, strict=True)
        if name
    }


def _numbers(path: Path, name: str, cells: list[str], seen: list[bool]) -> np.ndarray:
    """[T] of the rows in which a face was seen."""
    values = []
    for row, (cell, kept) in enumerate(zip(cells, seen, strict=True)):
        if not kept:
            continue
        try:
            values.append(float(cell))
        except ValueError:
            values.append(np.nan)
        if not np.isfinite(values[-1]):
            raise AvatarError(
                f"{path}: expected a finite number in row {row + 1}, column {name}, "
                f"found {cell or 'nothing'!r}"
            )
    return np.array(values)


def _times(path: Path, columns: dict[str, list[str]], seen: list[bool]) -> tuple[np.ndarray, float]:
    """Of the rows with a face, from 0; and how many rows there are in a second."""
    if "timecode" in columns:
        times_s, fps = _timecodes(path, columns["timecode"])
        times_s = times_s[np.array(seen)]
    elif "time_s" in columns:
        times_s = _numbers(path, "time_s", columns["time_s"], seen)
        steps = np.diff(times_s)
        fps = 1 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else DEFAULT_FPS
    else:
        times_s, fps = np.flatnonzero(seen) / DEFAULT_FPS, DEFAULT_FPS
    if (late := np.flatnonzero(np.diff(times_s) <= 0)).size:
        found = f"row {late[0] + 1} of those with a face at or after the next"
        raise AvatarError(f"{path}: expected rising times, found {found}")
    return times_s - times_s[0], fps


def _timecodes(path: Path, cells: list[str]) -> tuple[np.ndarray, float]:
    parts = []
    for row, cell in enumerate(cells):
        if (match := TIMECODE.fullmatch(cell)) is None:
            expected = f"a timecode HH:MM:SS:FF.fff in row {row + 1}"
            raise AvatarError(f"{path}: expected {expected}, found {cell!r}")
        parts.append([float(part) for part in match.groups()])
    hours, minutes, seconds, frames = np.array(parts).T
    whole_s = 3600 * hours + 60 * minutes + seconds
    # A recording that goes over a full second shows how many frames each has.
    fps = next((rate for rate in RATES if frames.max() < rate), RATES[-1])
    if whole_s[-1] - whole_s[0] < 2:
        fps = max(fps, DEFAULT_FPS)
    times_s = whole_s + frames / fps
    midnights = np.cumsum(np.diff(times_s, prepend=times_s[0]) < -DAY_S / 2)
    return times_s + DAY_S * midnights, fps
