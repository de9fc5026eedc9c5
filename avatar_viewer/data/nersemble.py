"""Reads multi-view captures laid out as NeRSemble's, with the NPHM meshes of DiffusionAvatars.

`docs/data.md` lists the files. Calibrations are OpenCV's: a camera looks along +z, y points down.
A mesh lies in NPHM's frame, which is FLAME's times 4; FLAME's tracked pose carries it to the world.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from avatar_viewer.data.capture import (
    OPENGL_FROM_OPENCV,
    Capture,
    View,
    head_camera,
    read_matrix,
    read_object,
    similarity_scale,
)
from avatar_viewer.data.head_frame import rigid_matrix
from avatar_viewer.data.meshes import CanonicalMesh, read_mesh
from avatar_viewer.data.resample import Lens
from avatar_viewer.errors import AvatarError, one_line

CALIBRATION = "calibration/camera_params.json"
CALIBRATED_SIZE = (2200, 3208)
"""Width and height of the pictures that NeRSemble's intrinsics are of."""
NPHM_UNITS_PER_FLAME = 4.0
CANONICAL_MIN, CANONICAL_MAX = np.array([-1, -1, -1.5]), np.array([1, 1, 0.5])
"""What 0 and 65535 mean in `*_canonical_vertices_uint16.npz`."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
NEIGHBOURS = 4
"""Of a canonical vertex, whose offsets give its own: meshes of two time steps share no topology."""


@dataclass(frozen=True)
class Tracking:
    """Names of the tracking folders of a sequence."""

    meshes: str = "NPHM"
    pose: str = "FLAME"


def read_nersemble(folder: Path, tracking: Tracking | None = None) -> Capture:
    """One person's folder; `calibration/` and `sequences/` lie in it."""
    tracking = tracking or Tracking()
    cameras = read_cameras(folder / CALIBRATION)
    views: list[View] = []
    posed: dict[tuple[str, int], _Posed] = {}
    left_out: set[tuple[str, int]] = set()
    sequences = sorted(path for path in (folder / "sequences").glob("*") if path.is_dir())
    for sequence in sequences:
        pictures = find_pictures(sequence)
        poses = _head_poses(sequence, tracking, sorted({time for time, _ in pictures}))
        for (time, camera), (picture, mask) in sorted(pictures.items()):
            mesh = _Posed.find(sequence / "annotations/tracking" / tracking.meshes, time)
            if mesh is None:
                left_out.add((sequence.name, time))
                continue
            posed[sequence.name, time] = mesh
            lens, camera_from_world = _camera(cameras, camera, folder / CALIBRATION)
            matrix = head_camera(camera_from_world, poses[time])
            views.append(View(sequence.name, time, camera, picture, mask, lens, matrix))
    if not views:
        raise AvatarError(
            f"{folder / 'sequences'}: expected pictures with tracked meshes in "
            f"annotations/tracking/{tracking.meshes}, found none"
        )
    first = posed[views[0].time_step]
    canonical = CanonicalMesh(first.canonical() / NPHM_UNITS_PER_FLAME, first.faces())
    meshes = {key: _carried(mesh, canonical) for key, mesh in posed.items()}
    return Capture(views, canonical, meshes, len(left_out))


def read_cameras(path: Path) -> dict[str, tuple[Lens, np.ndarray]]:
    """Serial -> lens and camera_from_world (OpenGL, metres), of camera_params.json."""
    params = read_object(path, "intrinsics")
    inverse = "cam_2_world" in params
    poses = params.get("cam_2_world" if inverse else "world_2_cam")
    if not isinstance(poses, dict) or not poses:
        raise AvatarError(
            f"{path}: expected world_2_cam or cam_2_world (serial: 4x4 matrix), found none"
        )
    size = tuple(params.get("image_size", CALIBRATED_SIZE))
    cameras = {}
    for serial, numbers in poses.items():
        place = f"{path}: {serial}"
        matrix = rigid_matrix(read_matrix(numbers, place), place)
        camera_from_world = np.linalg.inv(matrix) if inverse else matrix
        intrinsics = params["intrinsics"]
        if isinstance(intrinsics, dict):
            intrinsics = intrinsics.get(serial)
        cameras[serial] = _lens(intrinsics, size, place), OPENGL_FROM_OPENCV @ camera_from_world
    return cameras


def _lens(intrinsics: object, size: tuple, place: str) -> Lens:
    try:
        k = np.array(intrinsics, dtype=np.float64).reshape(3, 3)
        if abs(k[0, 1]) > 1e-6 or not np.allclose(k[2], (0, 0, 1)):
            raise AvatarError(f"expected intrinsics without skew, found {k.tolist()}")
        width, height = size
        return Lens((k[0, 0], k[1, 1]), (k[0, 2], k[1, 2]), (int(width), int(height)))
    except AvatarError as error:
        raise AvatarError(f"{place}: {error}") from error
    except (TypeError, ValueError) as error:
        raise AvatarError(
            f"{place}: expected intrinsics (3x3) and image_size (width, height), "
            f"found {intrinsics} and {size}"
        ) from error


def _camera(cameras: dict, name: str, path: Path) -> tuple[Lens, np.ndarray]:
    if name not in cameras:
        raise AvatarError(f"{path}: expected camera {name}, found {', '.join(sorted(cameras))}")
    return cameras[name]


def find_pictures(sequence: Path) -> dict[tuple[int, str], tuple[Path, Path | None]]:
    """(time step, serial) -> picture and mask, in either layout; of several sizes the first name.

    By time step: `timesteps/frame_00012/images*/cam_SERIAL.*`, masks in `alpha_map/` beside it.
    By camera: `images/cam_SERIAL/frame_00012.*`, masks in `alpha_map/cam_SERIAL/`.
    """
    found: dict[tuple[int, str], tuple[Path, Path | None]] = {}
    by_time = [
        (p, p.parent.parent.name, p.stem, p.parent.parent / "alpha_map")
        for p in sorted(sequence.glob("timesteps/frame_*/images*/cam_*"))
    ]
    by_camera = [
        (p, p.stem, p.parent.name, sequence / "alpha_map" / p.parent.name)
        for p in sorted(sequence.glob("images/cam_*/frame_*"))
    ]
    for picture, frame, camera, masks in [*by_time, *by_camera]:
        number = re.fullmatch(r"frame_(\d+)", frame)
        if number is None or picture.suffix.lower() not in PICTURES:
            continue
        mask = masks / f"{picture.stem}.png"
        key = int(number.group(1)), camera.removeprefix("cam_")
        found.setdefault(key, (picture, mask if mask.exists() else None))
    return found


def _head_poses(sequence: Path, tracking: Tracking, times: list[int]) -> dict[int, np.ndarray]:
    """Time step -> world_from_head [4,4], FLAME's pose with its scale.

    The tracked rows belong to the sequence's time steps in their order; where they are as many as
    the last time step's number says, to that number.
    """
    path = sequence / "annotations/tracking" / tracking.pose / "tracked_flame_params.npz"
    params = _load_npz(path)
    try:
        rotation = params["rotation"].reshape(-1, 3)
        translation = params["translation"].reshape(-1, 3)
        scale = float(np.unique(np.round(params["scale"], 9)).item())
    except (KeyError, ValueError) as error:
        raise AvatarError(
            f"{path}: expected rotation [T,3], translation [T,3] and one scale, "
            f"found {', '.join(f'{name} {array.shape}' for name, array in params.items())}"
        ) from error
    rows = dict(zip(times, range(len(times)), strict=True))
    if len(rotation) != len(times):
        rows = {time: time for time in times}
    if len(translation) != len(rotation) or max(rows.values(), default=0) >= len(rotation):
        raise AvatarError(
            f"{path}: expected poses of {len(times)} time steps, found {len(rotation)} rotations "
            f"and {len(translation)} translations"
        )
    poses = {}
    for time, row in rows.items():
        matrix = np.eye(4)
        matrix[:3, :3] = scale * Rotation.from_euler("XYZ", rotation[row]).as_matrix()
        matrix[:3, 3] = translation[row]
        poses[time] = matrix
        try:
            similarity_scale(matrix)
        except AvatarError as error:
            raise AvatarError(f"{path}: time step {time}: {error}") from error
    return poses


@dataclass(frozen=True)
class _Posed:
    """The files of one time step's mesh."""

    mesh: Path
    canonical_vertices: Path

    @staticmethod
    def find(folder: Path, time: int) -> _Posed | None:
        """None where the time step was not tracked."""
        meshes = sorted(folder.glob(f"{time:05d}_local*"))
        if not meshes:
            return None
        return _Posed(meshes[0], folder / f"{time:05d}_canonical_vertices_uint16.npz")

    def faces(self) -> np.ndarray:
        return read_mesh(self.mesh).faces

    def canonical(self) -> np.ndarray:
        """[V,3] NPHM units."""
        quantized = next(iter(_load_npz(self.canonical_vertices).values()))
        if quantized.ndim != 2 or quantized.shape[1] < 3 or quantized.dtype != np.uint16:
            raise AvatarError(
                f"{self.canonical_vertices}: expected uint16 [V,3 or more], "
                f"found {quantized.dtype} {quantized.shape}"
            )
        return CANONICAL_MIN + quantized[:, :3] / 65535.0 * (CANONICAL_MAX - CANONICAL_MIN)

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """Canonical vertices and how far they moved, [V,3] each, in metres of FLAME."""
        canonical, posed = self.canonical(), read_mesh(self.mesh).vertices
        if len(canonical) != len(posed):
            raise AvatarError(
                f"{self.canonical_vertices}: expected {len(posed)} vertices as in "
                f"{self.mesh.name}, found {len(canonical)}"
            )
        return canonical / NPHM_UNITS_PER_FLAME, (posed - canonical) / NPHM_UNITS_PER_FLAME


def _carried(posed: _Posed, reference: CanonicalMesh) -> Callable[[], np.ndarray]:
    """Reads a time step's mesh in the topology of the reference."""

    def read() -> np.ndarray:
        canonical, offsets = posed.offsets()
        count = min(NEIGHBOURS, len(canonical))
        distance, nearest = KDTree(canonical).query(reference.vertices, k=count)
        weight = 1 / (distance.reshape(-1, count) ** 2 + 1e-12)
        weight /= weight.sum(axis=1, keepdims=True)
        moved = (offsets[nearest.reshape(-1, count)] * weight[..., None]).sum(axis=1)
        return reference.vertices + moved

    return read


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise AvatarError(f"{path}: expected tracked numbers, found no file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise AvatarError(f"{path}: expected a .npz file, found: {one_line(error)}") from error
