"""Reads captures described by a nerfstudio-style `transforms.json`, with a mesh per time step.

Beside nerfstudio's own fields each frame names the mesh of its time step (`mesh_path`), and the
file its canonical mesh (`canonical_mesh_path`); `docs/data.md` lists the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar_viewer.data.capture import (
    Capture,
    View,
    head_camera,
    read_matrix,
    read_object,
    similarity_scale,
)
from avatar_viewer.data.head_frame import rigid_matrix
from avatar_viewer.data.meshes import CanonicalMesh, read_mesh, read_tracked
from avatar_viewer.data.resample import Lens
from avatar_viewer.errors import AvatarError

TRANSFORMS_FILE = "transforms.json"
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
REFUSED = ("k4", "k5", "k6")


@dataclass(frozen=True)
class _Fields:
    """A frame's fields, before those that hold for all frames."""

    frame: dict
    common: dict
    place: str

    def get(self, name: str, default: object = None) -> object:
        return self.frame.get(name, self.common.get(name, default))

    def number(self, name: str, default: float | None = None) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise AvatarError(f"{self.place}: expected {name} (a number), found {value}")
        return float(value)

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise AvatarError(f"{self.place}: expected {name} (a path), found {value}")
        return value


def read_nerfstudio(folder: Path) -> Capture:
    """A folder with `transforms.json`, or that file."""
    is_file = folder.is_file() or folder.suffix == ".json"
    path = folder if is_file else folder / TRANSFORMS_FILE
    common = read_object(path, "frames", "canonical_mesh_path")
    folder = path.parent
    if not isinstance(common["frames"], list) or not common["frames"]:
        raise AvatarError(f"{path}: expected frames (a list of objects), found none")
    canonical_path = folder / _Fields({}, common, str(path)).text("canonical_mesh_path")
    in_world = read_mesh(canonical_path)
    head = _world_from_head(_Fields({}, common, str(path)))
    canonical = CanonicalMesh(_to_head(in_world.vertices, head), in_world.faces)
    views: list[View] = []
    tracked: dict[tuple[str, int], tuple[Path, np.ndarray]] = {}
    for number, frame in enumerate(common["frames"]):
        if not isinstance(frame, dict):
            raise AvatarError(f"{path}: frame {number}: expected an object, found {frame}")
        fields = _Fields(frame, common, f"{path}: frame {number}")
        views.append(_view(fields, folder, number))
        found = folder / fields.text("mesh_path"), _world_from_head(fields)
        mesh, pose = tracked.setdefault(views[-1].time_step, found)
        if mesh != found[0] or not np.allclose(pose, found[1]):
            raise AvatarError(
                f"{fields.place}: expected mesh_path and world_from_head as in other frames of "
                f"time step {views[-1].time}, found others"
            )
    count = len(canonical.vertices)
    meshes = {step: _reader(mesh, count, pose) for step, (mesh, pose) in tracked.items()}
    return Capture(views, canonical, meshes)


def _view(fields: _Fields, folder: Path, number: int) -> View:
    time = fields.number("timestep_index", number)
    camera = fields.get("camera_id", fields.get("camera_index", 0))
    mask = fields.get("mask_path")
    place = f"{fields.place}: transform_matrix"
    world_from_camera = rigid_matrix(read_matrix(fields.get("transform_matrix"), place), place)
    matrix = head_camera(np.linalg.inv(world_from_camera), _world_from_head(fields))
    return View(
        sequence=str(fields.get("sequence", "")),
        time=int(time),
        camera=str(camera),
        picture=folder / fields.text("file_path"),
        mask=None if mask is None else folder / str(mask),
        lens=read_lens(fields),
        camera_from_head=matrix,
    )


def read_lens(fields: _Fields) -> Lens:
    """The intrinsics of a frame; AvatarError for what OpenCV's k1, k2, k3, p1, p2 cannot say."""
    model = fields.get("camera_model", "OPENCV")
    if model not in MODELS:
        raise AvatarError(
            f"{fields.place}: expected camera_model {' | '.join(MODELS)}, found {model}: "
            "undistort its pictures first"
        )
    for name in REFUSED:
        if fields.number(name, 0.0) != 0:
            raise AvatarError(
                f"{fields.place}: expected {name} to be 0, found {fields.get(name)}: undistort "
                "its pictures first"
            )
    fl_x = fields.number("fl_x")
    try:
        return Lens(
            focal=(fl_x, fields.number("fl_y", fl_x)),
            centre=(fields.number("cx"), fields.number("cy")),
            size=(int(fields.number("w")), int(fields.number("h"))),
            radial=(fields.number("k1", 0.0), fields.number("k2", 0.0), fields.number("k3", 0.0)),
            tangential=(fields.number("p1", 0.0), fields.number("p2", 0.0)),
        )
    except AvatarError as error:
        text = str(error)
        raise AvatarError(
            text if text.startswith(fields.place) else f"{fields.place}: {text}"
        ) from error


def _world_from_head(fields: _Fields) -> np.ndarray:
    place = f"{fields.place}: world_from_head"
    matrix = read_matrix(fields.get("world_from_head", np.eye(4).tolist()), place)
    try:
        similarity_scale(matrix)
    except AvatarError as error:
        raise AvatarError(f"{place}: {error}") from error
    return matrix


def _to_head(points: np.ndarray, world_from_head: np.ndarray) -> np.ndarray:
    head_from_world = np.linalg.inv(world_from_head)
    return points @ head_from_world[:3, :3].T + head_from_world[:3, 3]


def _reader(path: Path, vertices: int, world_from_head: np.ndarray) -> Callable[[], np.ndarray]:
    """Reads a time step's mesh: a .npy array, or a mesh file of the canonical one's topology."""

    def read() -> np.ndarray:
        if path.suffix == ".npy":
            points = read_tracked(path, vertices).astype(np.float64)
        else:
            points = read_mesh(path).vertices
        if len(points) != vertices:
            raise AvatarError(
                f"{path}: expected {vertices} vertices as the canonical mesh has, "
                f"found {len(points)}"
            )
        return _to_head(points, world_from_head)

    return read
