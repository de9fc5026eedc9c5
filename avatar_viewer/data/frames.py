"""The data set format: a folder of pictures with cameras and expressions of one person.

    frames.jsonl   one JSON object a line: id, file, split,
                   expression {ARKit unit: weight, absent = 0},
                   camera {camera_from_world (16 numbers, row-major), fov_deg (vertical)}
    frames.I-of-N.jsonl
                   the same, where jobs shared the work: all lists are read as one
    frames/        RGBA pictures with straight alpha
    person.json    how the registered mesh follows from the expression (see `data.heads`)

The cameras of a data set stand in its own metric frame; they are handed out in the head model's
frame (`HeadFrame`), the only one that anything downstream knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.stages import Camera

LIST_NAMES = "frames*.jsonl"
"""Glob of the lists of one data set."""


@dataclass(frozen=True)
class HeadFrame:
    """Where a head model's frame lies in a data set's frame; the axes are parallel."""

    origin_m: tuple[float, float, float]
    """The head frame's origin, metres in the data set's frame."""
    units_per_metre: float

    def camera(self, record: dict, size_px: int, zoom: float = 1.0) -> Camera:
        """A data set's camera in head units, for a square picture enlarged about its centre.

        A uniform scale of the world leaves the picture as it was.
        """
        matrix = np.asarray(record["camera_from_world"], dtype=np.float64).reshape(4, 4).copy()
        distance_m = matrix[:3, :3] @ np.asarray(self.origin_m) + matrix[:3, 3]
        matrix[:3, 3] = distance_m * self.units_per_metre
        depth = max(-float(matrix[2, 3]), 1e-3)
        half_height = np.tan(np.radians(float(record["fov_deg"])) / 2)
        return Camera(
            camera_from_world=tuple(matrix.ravel()),
            fov_deg=2 * float(np.degrees(np.arctan(half_height / zoom))),
            width=size_px,
            height=size_px,
            near=0.05 * depth,
            far=4.0 * depth,
        )


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

    def rgb(self, size_px: int, *, zoom: float = 1.0) -> np.ndarray:
        """[size,size,3] uint8: the picture over white, enlarged about its centre by `zoom`."""
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


def read_frames(folder: Path, split: str | None = None) -> list[FrameRecord]:
    """The records of one split (all when None), in the order of their ids."""
    path = folder / "frames.jsonl"
    lists = sorted(folder.glob(LIST_NAMES))
    if not lists:
        raise AvatarError(f"{path}: expected a data set's frame list, found no file")
    records = [
        _parse(line, f"{file}, line {number}", folder)
        for file in lists
        for number, line in enumerate(_lines(file), start=1)
        if line.strip()
    ]
    chosen = [r for r in records if split is None or r.split == split]
    if not chosen:
        found = ", ".join(sorted({r.split for r in records})) or "no frames"
        raise AvatarError(f"{lists[0]}: expected frames of split '{split}', found {found}")
    return sorted(chosen, key=lambda record: record.id)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise AvatarError(f"{path}: expected text, found: {one_line(error)}") from error
    if lines and not lines[-1].endswith("\n"):
        try:
            json.loads(lines[-1])
        except json.JSONDecodeError:
            del lines[-1]  # its writer was killed, or is still at it
    return lines


def _parse(line: str, place: str, folder: Path) -> FrameRecord:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise AvatarError(f"{place}: expected a JSON object, found {error}") from error
    for name, kind in (
        ("id", str),
        ("file", str),
        ("split", str),
        ("expression", dict),
        ("camera", dict),
    ):
        if not isinstance(fields, dict) or not isinstance(fields.get(name), kind):
            raise AvatarError(f"{place}: expected field '{name}' ({kind.__name__}), found none")
    for name in ("camera_from_world", "fov_deg"):
        if name not in fields["camera"]:
            raise AvatarError(f"{place}: expected camera.{name}, found none")
    try:
        HeadFrame((0.0, 0.0, 0.0), 1.0).camera(fields["camera"], size_px=1)
    except AvatarError as error:
        raise AvatarError(f"{place}: camera: {error}") from error
    except (TypeError, ValueError) as error:
        raise AvatarError(
            f"{place}: expected camera.camera_from_world (16 numbers) and camera.fov_deg, "
            f"found: {one_line(error)}"
        ) from error
    for unit, weight in fields["expression"].items():
        if not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise AvatarError(f"{place}: expected {unit} in 0..1, found {weight}")
    return FrameRecord(
        id=fields["id"],
        path=folder / fields["file"],
        split=fields["split"],
        kind=str(fields.get("kind", "")),
        expression={unit: float(weight) for unit, weight in fields["expression"].items()},
        camera=fields["camera"],
    )
