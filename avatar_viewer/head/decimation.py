"""Fewer triangles for a head mesh, where they are not missed: lips and lids keep theirs."""

from __future__ import annotations

import numpy as np
import pyfqmr
from scipy.spatial import KDTree

AGGRESSIVENESS = 5
"""Of the quadric error's threshold; higher is faster and coarser."""
PROTECTED_SHARE = 0.5
"""At most this part of the wanted triangles is spent on protected ones."""


def decimate(
    vertices: np.ndarray, faces: np.ndarray, triangles: int, details: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """A mesh of about `triangles` faces (Garland and Heckbert 1997: quadric error).

    vertices [V,3], faces [F,3]. Faces within `radius` of the points `details` [D,3] are kept as
    they are, the nearest first where there are too many; so is the border of an open mesh.
    """
    if len(faces) <= triangles:
        return vertices, faces
    kept = _protected(vertices, faces, int(PROTECTED_SHARE * triangles), details, radius)
    still, still_faces = _used(vertices, faces[kept])
    rest, rest_faces = _used(vertices, faces[~kept])
    simplifier = pyfqmr.Simplify()  # pyright: ignore[reportAttributeAccessIssue]
    simplifier.setMesh(rest, rest_faces)
    simplifier.simplify_mesh(
        target_count=max(1, triangles - len(still_faces)),
        aggressiveness=AGGRESSIVENESS,
        preserve_border=True,  # the seam to the protected part is a border
        verbose=False,
    )
    rest, rest_faces, _ = simplifier.getMesh()
    return _welded(still, still_faces, rest, rest_faces)


def _protected(
    vertices: np.ndarray, faces: np.ndarray, most: int, details: np.ndarray, radius: float
) -> np.ndarray:
    """[F] which faces to keep."""
    if len(details) == 0:
        return np.zeros(len(faces), dtype=bool)
    distance = KDTree(details).query(vertices[faces].mean(axis=1))[0]
    return distance <= min(radius, np.partition(distance, most)[most])


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces name, and the faces renumbered."""
    names, renumbered = np.unique(faces, return_inverse=True)
    return vertices[names], renumbered.reshape(-1, 3).astype(np.int32)


def _welded(
    vertices: np.ndarray, faces: np.ndarray, others: np.ndarray, other_faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two meshes as one: vertices of the second that lie on one of the first become that one."""
    numbers = {place.tobytes(): index for index, place in enumerate(vertices)}
    same = np.array([numbers.get(place.tobytes(), -1) for place in others], dtype=np.int64)
    fresh = same < 0
    same[fresh] = len(vertices) + np.arange(int(fresh.sum()))
    return np.concatenate([vertices, others[fresh]]), np.concatenate([faces, same[other_faces]])
