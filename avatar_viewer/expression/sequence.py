"""Expressions over time, and the file that keeps them (docs/sequences.md)."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from avatar_viewer.config import from_plain, take_format_version, to_plain
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import written_aside
from avatar_viewer.stages import ExpressionCode

FORMAT_VERSION = 1
SUFFIX = ".npz"
OPTIONAL = ("confidence", "head_pose_deg")
"""Arrays that a file may lack."""
MOST_BYTES = 2**28
"""Of a file's arrays: an hour and more of any avatar. A small file may hold far larger ones."""


@dataclass(frozen=True)
class Header:
    """What a sequence's file says in words."""

    fps: float
    """How many expressions there are in a second."""
    source: str = ""
    """Where they came from, for people."""

    def __post_init__(self) -> None:
        _expect(0 < self.fps < math.inf, "fps", "more than 0", f"{self.fps:g}")


@dataclass(frozen=True, eq=False)
class ExpressionSequence:
    """Expressions at even times; each lasts 1 / fps, so that rounds of it join evenly."""

    header: Header
    codes: np.ndarray
    """[T,E] float32, as `stages.ExpressionCode`."""
    confidence: np.ndarray | None = None
    """[T] float32 in 0..1, how sure what made them was; None where it does not say."""
    head_pose_deg: np.ndarray | None = None
    """[T,3] float32: yaw, pitch and roll of the source's head; no expression turns a head."""

    def __post_init__(self) -> None:
        shape, sure, pose = self.codes.shape, self.confidence, self.head_pose_deg
        _expect(len(shape) == 2 and min(shape) > 0, "codes", "shape [T,E]", f"{list(shape)}")
        _expect(self.codes.dtype == np.float32, "codes", "float32", str(self.codes.dtype))
        _expect(bool(np.isfinite(self.codes).all()), "codes", "finite numbers", "NaN or inf")
        if sure is not None:
            _expect(sure.shape == shape[:1], "confidence", f"[{shape[0]}]", f"{list(sure.shape)}")
            _expect(sure.dtype == np.float32, "confidence", "float32", str(sure.dtype))
            within = bool(((sure >= 0) & (sure <= 1)).all())
            _expect(within, "confidence", "numbers in 0..1", "others")
        if pose is not None:
            expected = (shape[0], 3)
            _expect(pose.shape == expected, "head_pose_deg", f"{expected}", f"{pose.shape}")
            _expect(pose.dtype == np.float32, "head_pose_deg", "float32", str(pose.dtype))
            _expect(bool(np.isfinite(pose).all()), "head_pose_deg", "finite numbers", "NaN or inf")

    @property
    def duration_s(self) -> float:
        return len(self.codes) / self.header.fps

    def expect_dim(self, expression_dim: int, avatar: str) -> None:
        """Raise AvatarError unless the avatar of that name has expressions of this length."""
        expected = f"expressions of {expression_dim} values for {avatar}"
        found = self.codes.shape[1]
        _expect(found == expression_dim, "sequence", expected, str(found))

    def at(self, time_s: float) -> ExpressionCode:
        """The expression at that time, between its neighbours; the nearest beyond the ends."""
        return ExpressionCode.from_array(_between(self.codes, np.array([time_s * self._fps]))[0])

    def head_pose_at(self, time_s: float) -> tuple[float, float, float] | None:
        """Yaw, pitch and roll at that time, as `at`; None where there is no `head_pose_deg`."""
        if self.head_pose_deg is None:
            return None
        yaw, pitch, roll = _between(self.head_pose_deg, np.array([time_s * self._fps]))[0].tolist()
        return yaw, pitch, roll

    def resampled(self, fps: float) -> ExpressionSequence:
        """The same course in another number of expressions a second."""
        count = max(1, round(self.duration_s * fps))
        places = np.arange(count) * self._fps / fps
        even = self.each(lambda rows: _between(rows, places))
        return replace(even, header=Header(fps, self.header.source))

    def trimmed(self, start_s: float, end_s: float) -> ExpressionSequence:
        """The expressions at `start_s` and later, before `end_s`."""
        times_s = np.arange(len(self.codes)) / self._fps
        # Times that were typed as they are shown mean the expression at that time.
        kept = (times_s >= start_s - 1e-6) & (times_s < end_s - 1e-6)
        found = f"none in {start_s:g} to {end_s:g} s of {self.duration_s:g} s"
        _expect(bool(kept.any()), "trim", "at least one expression", found)
        return self.each(lambda rows: rows[kept])

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> ExpressionSequence:
        """With another choice or mix of its times: `change` takes rows [T,N] to others [S,N]."""
        sure, pose = self.confidence, self.head_pose_deg
        return ExpressionSequence(
            self.header,
            change(self.codes),
            None if sure is None else change(sure[:, None])[:, 0],
            None if pose is None else change(pose),
        )

    @property
    def _fps(self) -> float:
        return self.header.fps


def save_sequence(sequence: ExpressionSequence, path: Path) -> None:
    """Write a file that `load_sequence` reads; raises AvatarError where it cannot be written."""
    _expect(path.suffix.lower() == SUFFIX, str(path), f"a name that ends in {SUFFIX}", "another")
    content = {"format_version": FORMAT_VERSION, **to_plain(sequence.header)}
    # In ASCII: PyYAML writes some line breaks of Unicode so that they are read as spaces.
    text = yaml.safe_dump(content, sort_keys=False)
    arrays = {"codes": sequence.codes, "header": np.frombuffer(text.encode("utf-8"), np.uint8)}
    for name in OPTIONAL:
        if (array := getattr(sequence, name)) is not None:
            arrays[name] = array
    with written_aside(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_sequence(path: Path) -> ExpressionSequence:
    """Read a sequence's file; raises AvatarError in one line for any other."""
    arrays = _read_arrays(path)
    for name in ("header", "codes"):
        _expect(name in arrays, str(path), f"an array {name!r}", "none")
    content = _read_header(arrays["header"], str(path))
    take_format_version(content, FORMAT_VERSION, str(path))
    header = from_plain(content, Header, f"{path}: header")
    try:
        optional = {name: arrays.get(name) for name in OPTIONAL}
        return ExpressionSequence(header, arrays["codes"], **optional)
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        _expect_size(path.stat().st_size, path)
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("a single array")
        with file:
            _expect_size(sum(member.file_size for member in file.zip.infolist()), path)
            arrays = {name: file[name] for name in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("an archive of other files")
        return arrays
    except OSError as error:
        found = error.strerror or one_line(error)
    # A cut or damaged file gives any of these, by the place that is hit.
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        found = one_line(error)
    except (KeyError, NotImplementedError, RuntimeError, SyntaxError, MemoryError) as error:
        found = f"a damaged one ({type(error).__name__})"
    raise AvatarError(f"{path}: expected an expression sequence, found: {found}")


def _expect_size(size: int, path: Path) -> None:
    found = f"{size / 2**20:.0f} MiB"
    _expect(size <= MOST_BYTES, str(path), f"at most {MOST_BYTES // 2**20} MiB", found)


def _read_header(text: np.ndarray, where: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text.tobytes().decode("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AvatarError(f"{where}: header: expected YAML, found: {one_line(error)}") from error
    _expect(isinstance(content, dict), f"{where}: header", "fields", type(content).__name__)
    return content


def _between(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows [T,E] at fractional indices [N], linear between neighbours: [N,E] float32."""
    places = np.clip(places, 0, len(rows) - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(rows) - 1)
    part = (places - before)[:, None]
    return ((1 - part) * rows[before] + part * rows[after]).astype(np.float32)


def _expect(condition: bool, name: str, expected: str, found: str) -> None:
    if not condition:
        raise AvatarError(f"{name}: expected {expected}, found {found}")
