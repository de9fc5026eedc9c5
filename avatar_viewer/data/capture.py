"""A capture of a person, read from another layout, and its conversion to the data set format.

Captures are handed over in the head's own frame: what the head moves is moved back, in cameras and
meshes alike, for an expression code cannot turn a head.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trimesh

from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import FRAMES_FILE
from avatar_viewer.data.head_frame import PERSON_FILE
from avatar_viewer.data.meshes import CanonicalMesh
from avatar_viewer.data.resample import Lens, read_rgba, square_picture
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, make_folder
from avatar_viewer.weights import read_json

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
WEBP_QUALITY = 95


@dataclass(frozen=True)
class View:
    """One picture of a capture."""

    sequence: str
    time: int
    camera: str
    picture: Path
    mask: Path | None
    """Its alpha; None: the picture's own, or opaque."""
    lens: Lens
    camera_from_head: np.ndarray
    """[4,4] rigid, metres, OpenGL axes."""

    @property
    def time_step(self) -> tuple[str, int]:
        return self.sequence, self.time


@dataclass(frozen=True)
class Capture:
    """A person in front of several cameras."""

    views: list[View]
    canonical: CanonicalMesh
    """In metres, in the head's frame."""
    meshes: dict[tuple[str, int], Callable[[], np.ndarray]]
    """Of each time step: reads [V,3], metres, in the head's frame."""
    left_out: int = 0
    """How many time steps have pictures but no mesh."""


@dataclass(frozen=True)
class ImportOptions:
    """What becomes of a capture, as the options of `data import` say it."""

    size_px: int = 512
    crop: float = 1.0
    """Part of each picture's extent, around the principal point, that is kept."""
    every: int = 1
    """Take every n-th time step of a sequence."""
    held_out_sequences: tuple[str, ...] = field(default_factory=tuple)
    held_out_camera: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise AvatarError(f"--crop: expected more than 0, at most 1, found {self.crop}")
        for option, value in (("--size", self.size_px), ("--every", self.every)):
            if value < 1:
                raise AvatarError(f"{option}: expected 1 or more, found {value}")
        if not self.held_out_sequences and self.held_out_camera is None:
            raise AvatarError(
                "--held-out-sequences, --held-out-camera: expected one of them, found none: the "
                "test split would be empty"
            )

    def split(self, view: View) -> str:
        """train; test: unseen in every way that is held out; else named by what is unseen."""
        sequence = view.sequence in self.held_out_sequences
        camera = view.camera == self.held_out_camera
        if not sequence and not camera:
            return "train"
        if sequence and not camera and self.held_out_camera is not None:
            return "held_out_sequence"
        if camera and not sequence and self.held_out_sequences:
            return "held_out_camera"
        return "test"


def write_capture(capture: Capture, out: Path, options: ImportOptions) -> None:
    """Write a data set; it appears whole, checked, under its name, or not at all."""
    if out.exists():
        raise AvatarError(f"{out}: expected a folder that is not there yet, found one")
    views = chosen_views(capture.views, options)
    make_folder(out.parent)
    ensure_writable(out)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name in ("frames", "meshes"):
            make_folder(partial / name)
        write_meshes(capture, {view.time_step for view in views}, partial)
        lines = []
        for number, view in enumerate(views):
            lines.append(json.dumps(_write_view(view, partial, options)))
            if (number + 1) % 100 == 0:
                print(f"picture {number + 1}/{len(views)}", flush=True)
        (partial / FRAMES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        check_data(partial, at_least={"train": 1, "test": 1})
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    without = sum(view.mask is None for view in views)
    notes = f", {without} of them without a mask: they keep their background" if without else ""
    if capture.left_out:
        notes += f"; {capture.left_out} time steps left out, which have no mesh"
    print(f"wrote {out}: {len(views)} pictures{notes}")


def chosen_views(views: list[View], options: ImportOptions) -> list[View]:
    """Every n-th time step of each sequence; raises where a held-out name is not in the capture."""
    for option, wanted, known in (
        ("--held-out-sequences", set(options.held_out_sequences), {v.sequence for v in views}),
        ("--held-out-camera", {options.held_out_camera} - {None}, {v.camera for v in views}),
    ):
        if unknown := wanted - known:
            raise AvatarError(
                f"{option}: expected some of {', '.join(sorted(known))}, "
                f"found {', '.join(sorted(map(str, unknown)))}"
            )
    kept = set()
    for sequence in {view.sequence for view in views}:
        times = sorted({view.time for view in views if view.sequence == sequence})
        kept |= {(sequence, time) for time in times[:: options.every]}
    return [view for view in views if view.time_step in kept]


def write_meshes(capture: Capture, time_steps: set[tuple[str, int]], folder: Path) -> None:
    """person.json, the canonical mesh, and one array for each time step."""
    vertices, faces = capture.canonical.vertices, capture.canonical.faces
    trimesh.Trimesh(vertices, faces, process=False).export(folder / "meshes/canonical.ply")
    person = {
        "world_from_head": np.eye(4).ravel().tolist(),
        "mesh": {"canonical": "meshes/canonical.ply"},
    }
    (folder / PERSON_FILE).write_text(json.dumps(person, indent=1))
    for sequence, time in sorted(time_steps):
        posed = np.asarray(capture.meshes[sequence, time](), dtype=np.float32)
        np.save(folder / _mesh_name(sequence, time), posed)


def _write_view(view: View, folder: Path, options: ImportOptions) -> dict:
    name = _file_name(f"{view.sequence}_{view.camera}_{view.time:05d}")
    try:
        rgba = read_rgba(view.picture, view.mask)
        picture, fov_deg = square_picture(rgba, view.lens, options.size_px, options.crop)
    except AvatarError as error:
        raise AvatarError(f"{view.picture}: {error}") from error
    picture.save(folder / f"frames/{name}.webp", quality=WEBP_QUALITY)
    return {
        "id": name,
        "file": f"frames/{name}.webp",
        "split": options.split(view),
        "kind": f"sequence: {view.sequence}",
        "mesh": _mesh_name(view.sequence, view.time),
        "camera": {
            "camera_from_world": view.camera_from_head.ravel().tolist(),
            "fov_deg": fov_deg,
            "width": options.size_px,
            "height": options.size_px,
        },
    }


def _mesh_name(sequence: str, time: int) -> str:
    return f"meshes/{_file_name(f'{sequence}_{time:05d}')}.npy"


def _file_name(text: str) -> str:
    """Names of sequences and cameras may hold what a file's name cannot."""
    return re.sub(r"[^\w.+-]", "-", text).lstrip("_.")


def head_camera(camera_from_world: np.ndarray, world_from_head: np.ndarray) -> np.ndarray:
    """[4,4] the camera in the head's frame, where `world_from_head` may scale the head alike in all
    directions: the picture stays as it was when the whole world is scaled back."""
    scale = similarity_scale(world_from_head)
    matrix = camera_from_world @ world_from_head
    matrix[:3] /= scale
    return matrix


def similarity_scale(matrix: np.ndarray) -> float:
    """Of a rotation, one scale and a translation [4,4]; raises AvatarError for any other matrix."""
    linear = matrix[:3, :3]
    determinant = float(np.linalg.det(linear)) if np.isfinite(matrix).all() else 0.0
    scale = np.cbrt(determinant)
    if scale <= 0 or not np.allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-3 * scale**2):
        raise AvatarError("expected a rotation with one scale and a translation, found another")
    return float(scale)


def read_matrix(numbers: object, place: str) -> np.ndarray:
    """[4,4] float64 of nested or flat rows, also of [3,4]; raises AvatarError naming `place`."""
    try:
        rows = np.array(numbers, dtype=np.float64).reshape(-1, 4)
    except (TypeError, ValueError):
        rows = np.zeros((0, 4))
    matrix = np.concatenate([rows, [[0.0, 0.0, 0.0, 1.0]]]) if len(rows) == 3 else rows
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise AvatarError(f"{place}: expected a 4x4 matrix of finite numbers, found {numbers}")
    return matrix


def read_object(path: Path, *names: str) -> dict:
    """A JSON object that has these fields."""
    content = read_json(path)
    if missing := [name for name in names if name not in content]:
        raise AvatarError(f"{path}: expected {', '.join(missing)}, found none")
    return content
