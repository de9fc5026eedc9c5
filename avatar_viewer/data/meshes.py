"""Tracked meshes of a data set: one topology, one array of vertices for each time step.

person.json names the canonical mesh (`mesh.canonical`): this person in the head model's canonical
pose, with the faces of all. Everything is in metres, in the data set's frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from avatar_viewer.data.head_frame import PERSON_FILE
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.weights import read_json


@dataclass(frozen=True)
class CanonicalMesh:
    """What all tracked meshes of a data set correspond to."""

    vertices: np.ndarray
    """[V,3] float64, metres in the data set's frame."""
    faces: np.ndarray
    """[F,3] int64."""


def read_canonical(data: Path) -> CanonicalMesh:
    """The canonical mesh that person.json names; raises AvatarError in one line."""
    place = data / PERSON_FILE
    try:
        name = read_json(place)["mesh"]["canonical"]
        path = data / name
    except (KeyError, TypeError) as error:
        raise AvatarError(
            f"{place}: expected mesh.canonical (the canonical mesh's file), found none"
        ) from error
    return read_mesh(path)


def read_mesh(path: Path) -> CanonicalMesh:
    """A mesh file whose order of vertices is kept: PLY, OBJ and what else trimesh reads."""
    if not path.is_file():
        raise AvatarError(f"{path}: expected a mesh, found no file")
    try:
        mesh = trimesh.load_mesh(path, process=False, maintain_order=True)
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:  # each format's reader has its own
        raise AvatarError(f"{path}: expected a mesh, found: {one_line(error)}") from error
    if vertices.ndim != 2 or len(vertices) == 0 or len(faces) == 0:
        raise AvatarError(
            f"{path}: expected vertices and faces, found {len(vertices)} and {len(faces)}"
        )
    if not np.isfinite(vertices).all():
        raise AvatarError(f"{path}: expected finite vertices, found NaN or inf")
    if int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise AvatarError(f"{path}: expected faces of {len(vertices)} vertices, found others")
    return CanonicalMesh(vertices, faces)


def read_tracked(path: Path, vertices: int) -> np.ndarray:
    """[V,3] float32, metres: the vertices of one time step, as many as the canonical mesh has."""
    if not path.is_file():
        raise AvatarError(f"{path}: expected a tracked mesh, found no file")
    try:
        array = np.load(path, allow_pickle=False)
        shape, dtype = array.shape, array.dtype
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise AvatarError(f"{path}: expected a .npy array, found: {one_line(error)}") from error
    if shape != (vertices, 3) or dtype != np.float32:
        raise AvatarError(
            f"{path}: expected float32 of shape ({vertices}, 3), as the canonical mesh has, "
            f"found {dtype} of shape {shape}"
        )
    if not np.isfinite(array).all():
        raise AvatarError(f"{path}: expected finite vertices, found NaN or inf")
    return array
