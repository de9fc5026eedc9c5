"""Where a head model's frame lies among a data set's cameras and meshes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.frame import ORIGIN_FROM_EYES_M
from avatar_viewer.head.nphm import NPHM
from avatar_viewer.stages import Camera, is_rigid
from avatar_viewer.weights import read_json

PERSON_FILE = "person.json"
NO_ROTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class HeadFrame:
    """Where a head model's frame lies in a data set's frame, which is metric."""

    origin_m: tuple[float, float, float]
    """The head frame's origin, metres in the data set's frame."""
    units_per_metre: float
    rotation: tuple[float, ...] = NO_ROTATION
    """[9] row-major: the head frame's axes, as columns, in the data set's frame."""

    @property
    def axes(self) -> np.ndarray:
        """`rotation` as [3,3] float64."""
        return np.asarray(self.rotation, dtype=np.float64).reshape(3, 3)

    def points(self, points_m: np.ndarray) -> np.ndarray:
        """[...,3] of the data set, in metres, in head units; float64."""
        return (points_m - np.asarray(self.origin_m)) @ self.axes * self.units_per_metre

    def camera(self, record: dict, size_px: int, zoom: float = 1.0) -> Camera:
        """A data set's camera in head units, for a square picture enlarged about its centre.

        A uniform scale of the world leaves the picture as it was.
        """
        matrix = np.asarray(record["camera_from_world"], dtype=np.float64).reshape(4, 4).copy()
        distance_m = matrix[:3, :3] @ np.asarray(self.origin_m) + matrix[:3, 3]
        matrix[:3, :3] = matrix[:3, :3] @ self.axes
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


def read_head_frame(data: Path, nphm: NPHM) -> HeadFrame:
    """Where the head model's frame lies among a data set's cameras and meshes."""
    matrix = read_world_from_head(data)
    return HeadFrame(
        tuple(matrix[:3, 3].tolist()),
        nphm.config["units_per_metre"],
        tuple(matrix[:3, :3].ravel().tolist()),
    )


def read_world_from_head(data: Path) -> np.ndarray:
    """[4,4] rigid, metres: `world_from_head` of person.json.

    Where it is missing, the axes are parallel and the origin follows from `mesh.eye_centre_m`.
    """
    path = data / PERSON_FILE
    person = read_json(path)
    if "world_from_head" in person:
        return rigid_matrix(person["world_from_head"], f"{path}: world_from_head")
    matrix = np.eye(4)
    try:
        matrix[:3, 3] = np.asarray(person["mesh"]["eye_centre_m"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        matrix[:3, 3] = np.nan
    if not np.isfinite(matrix).all():
        raise AvatarError(
            f"{path}: expected world_from_head (16 numbers) or mesh.eye_centre_m (3 numbers), "
            "found none"
        )
    matrix[:3, 3] += ORIGIN_FROM_EYES_M
    return matrix


def rigid_matrix(numbers: object, place: str) -> np.ndarray:
    """[4,4] float64 of 16 numbers, row-major or nested; raises AvatarError that names `place`."""
    try:
        matrix = np.array(numbers, dtype=np.float64).reshape(4, 4)
    except (TypeError, ValueError) as error:
        raise AvatarError(
            f"{place}: expected 16 numbers of a rigid 4x4 matrix, found something else"
        ) from error
    if not is_rigid(matrix):
        raise AvatarError(f"{place}: expected a rigid 4x4 matrix, found another matrix")
    return matrix
