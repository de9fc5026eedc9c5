"""The data set format: a folder of pictures with cameras and expressions of one person.

    frames.jsonl   one JSON object a line: a picture, its camera and its expression
    frames.I-of-N.jsonl
                   the same, where jobs shared the work: all lists are read as one
    frames/        RGBA pictures with straight alpha, square, all of one size
    person.json    where the head lies, and what the expressions' registered meshes are
    meshes/        tracked meshes, where the expressions are given by them (see `data.meshes`)

`docs/data.md` says every field. The cameras of a data set stand in its own metric frame; they are
handed out in the head model's frame (`HeadFrame`), the only one that anything downstream knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights, unit_weights
from avatar_viewer.head.nphm import GAZE_DIM

FRAMES_FILE = "frames.jsonl"
LIST_NAMES = "frames*.jsonl"
"""Glob of the lists of one data set."""


@dataclass(frozen=True)
class FrameRecord:
    """One line of frames.jsonl."""

    id: str
    path: Path
    split: str
    kind: str
    """What the expression is, for people: "corner: NAME", "mixture", ..."""
    expression: dict[str, float]
    """ARKit unit -> weight in 0..1; absent means 0."""
    camera: dict
    mesh: Path | None = None
    """The tracked mesh of its time step, which tells the expression in place of the weights."""
    gaze: tuple[float, ...] | None = None
    """[4] as `head.arkit.gaze_of_weights` gives it; None: it follows from the weights."""

    def weights(self) -> np.ndarray:
        """[52] float32."""
        return unit_weights(self.expression)

    def gaze_code(self) -> np.ndarray:
        """[4] float32."""
        if self.gaze is not None:
            return np.array(self.gaze, dtype=np.float32)
        return gaze_of_weights(self.weights())

    def rgb(self, size_px: int, *, zoom: float = 1.0) -> np.ndarray:
        """[size,size,3] uint8: the picture over white, enlarged about its centre by `zoom`."""
        rgba = self._rgba()
        alpha = rgba[..., 3:]
        over_white = rgba[..., :3] * alpha + (1 - alpha)
        picture = Image.fromarray(np.round(over_white * 255).astype(np.uint8))
        width, height = picture.size
        margin_x, margin_y = width * (1 - 1 / zoom) / 2, height * (1 - 1 / zoom) / 2
        return np.array(
            picture.resize(
                (size_px, size_px),
                Image.Resampling.BOX if zoom == 1 else Image.Resampling.BICUBIC,
                box=(margin_x, margin_y, width - margin_x, height - margin_y),
            )
        )

    def opacity(self, size_px: int) -> np.ndarray:
        """[size,size] uint8, in the size in which `rgb` is."""
        opacity = Image.fromarray(np.round(self.alpha() * 255).astype(np.uint8))
        return np.array(opacity.resize((size_px, size_px), Image.Resampling.BOX))

    def alpha(self) -> np.ndarray:
        """[H,H] float32 in 0..1, in the picture's own size."""
        return self._rgba()[..., 3]

    def _rgba(self) -> np.ndarray:
        try:
            with Image.open(self.path) as picture:
                rgba = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
        except (OSError, UnidentifiedImageError) as error:
            raise AvatarError(
                f"{self.path}: expected a readable picture, found: {one_line(error)}"
            ) from error
        if rgba.shape[0] != rgba.shape[1]:
            found = f"{rgba.shape[1]}x{rgba.shape[0]} pixels"
            raise AvatarError(f"{self.path}: expected a square picture, found {found}")
        return rgba


def read_frames(folder: Path, split: str | None = None) -> list[FrameRecord]:
    """The records of one split (all when None), in the order of their ids.

    Raises the first problem; `data.check.check_data` reports all of them at once.
    """
    records, problems = parse_frames(folder)
    if problems:
        raise AvatarError(problems[0])
    chosen = [r for r in records if split is None or r.split == split]
    if not chosen:
        raise AvatarError(no_frames(folder, split, records))
    return chosen


def no_frames(folder: Path, split: str | None, records: list[FrameRecord]) -> str:
    """The problem that a split has no frames."""
    found = ", ".join(sorted({record.split for record in records})) or "no frames"
    return f"{folder / FRAMES_FILE}: expected frames of split '{split}', found {found}"


def parse_frames(folder: Path) -> tuple[list[FrameRecord], list[str]]:
    """The records of all lists in the order of their ids, and what is wrong with them.

    A faulty frame has a record too where its split and its picture can be read, so that both can be
    looked at; what else it says is left out. Raises AvatarError where there is no list to read.
    """
    lists = sorted(folder.glob(LIST_NAMES))
    if not lists:
        path = folder / FRAMES_FILE
        raise AvatarError(f"{path}: expected a data set's frame list, found no file")
    records: list[FrameRecord] = []
    ids: set[str] = set()
    problems: list[str] = []
    for path in lists:
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            record, faults = _parse(line, folder, place)
            if record is not None:
                records.append(record)
                if record.id in ids:
                    faults.append(f"expected an id of its own, found '{record.id}' again")
                ids.add(record.id)
            problems += [f"{place}: {fault}" for fault in faults]
    return sorted(records, key=lambda record: record.id), problems


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise AvatarError(f"{path}: expected text, found: {one_line(error)}") from error
    if lines and not lines[-1].endswith("\n"):
        try:
            json.loads(lines[-1])
        except (ValueError, RecursionError):
            del lines[-1]  # its writer was killed, or is still at it
    return lines


def _parse(line: str, folder: Path, place: str) -> tuple[FrameRecord | None, list[str]]:
    """Where a frame has no id, its place stands for it."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, [f"expected a JSON object, found {one_line(error)}"]
    faults = list(_faults(fields))
    if not isinstance(fields, dict):
        return None, faults
    if not isinstance(fields.get("file"), str) or not isinstance(fields.get("split"), str):
        return None, faults
    gaze, mesh = fields.get("gaze"), fields.get("mesh")
    record = FrameRecord(
        id=fields["id"] if isinstance(fields.get("id"), str) else place,
        path=folder / fields["file"],
        split=fields["split"],
        kind=str(fields.get("kind", "")),
        expression={},
        camera={},
        mesh=folder / mesh if isinstance(mesh, str) else None,
    )
    if not faults:
        weights = fields.get("expression", {})
        record = replace(
            record,
            expression={unit: float(weight) for unit, weight in weights.items()},
            camera=fields["camera"],
            gaze=None if gaze is None else tuple(float(number) for number in gaze),
        )
    return record, faults


def _faults(fields: object) -> Iterator[str]:
    """What is wrong with the fields of a line, in the words of "expected ..., found ..."."""
    if not isinstance(fields, dict):
        yield f"expected an object with field 'id' (str), found {type(fields).__name__}"
        return
    kinds: dict[str, type] = {"id": str, "file": str, "split": str, "camera": dict}
    if "mesh" in fields:
        kinds["mesh"] = str
    if "mesh" not in fields or "expression" in fields:
        kinds["expression"] = dict
    for name, kind in kinds.items():
        if name not in fields:
            yield f"expected field '{name}' ({kind.__name__}), found none"
        elif not isinstance(fields[name], kind):
            found = type(fields[name]).__name__
            yield f"expected field '{name}' ({kind.__name__}), found {found}"
    if isinstance(fields.get("camera"), dict):
        yield from _camera_faults(fields["camera"])
    if isinstance(fields.get("expression"), dict):
        yield from _weight_faults(fields["expression"])
    if (gaze := fields.get("gaze")) is not None and not _is_gaze(gaze):
        yield f"expected gaze ({GAZE_DIM} numbers in -1..1), found {gaze}"


def _camera_faults(camera: dict) -> Iterator[str]:
    missing = [name for name in ("camera_from_world", "fov_deg") if name not in camera]
    for name in missing:
        yield f"expected camera.{name}, found none"
    if missing:
        return
    try:
        HeadFrame((0.0, 0.0, 0.0), 1.0).camera(camera, size_px=1)
    except AvatarError as error:
        yield f"camera: {error}"
    except (TypeError, ValueError) as error:
        yield (
            "expected camera.camera_from_world (16 numbers) and camera.fov_deg, "
            f"found: {one_line(error)}"
        )


def _weight_faults(weights: dict) -> Iterator[str]:
    for unit, weight in weights.items():
        if unit not in ARKIT_UNITS:
            yield f"expression: expected ARKit units, found {unit}"
        elif not _is_number(weight) or not 0 <= weight <= 1:
            found = f"the text '{weight}'" if isinstance(weight, str) else weight
            yield f"expected {unit} in 0..1, found {found}"


def _is_gaze(gaze: object) -> bool:
    return (
        isinstance(gaze, list)
        and len(gaze) == GAZE_DIM
        and all(_is_number(number) and -1 <= number <= 1 for number in gaze)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
