"""A data set whose expressions are tracked meshes of the tiny head, seen by two cameras each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation
from tiny import RESOLUTION_PX, VIEW, Z_DIM, tiny_poser

from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.head.frame import UNITS_PER_METRE

TIMES = 3
WORLD_FROM_HEAD = np.eye(4)
WORLD_FROM_HEAD[:3, :3] = Rotation.from_euler("xyz", (20, -35, 10), degrees=True).as_matrix()
WORLD_FROM_HEAD[:3, 3] = (0.3, 1.6, -0.2)


def tracked_codes() -> torch.Tensor:
    """[T,Z] z_exp of the time steps."""
    return 0.5 * torch.randn(TIMES, Z_DIM, generator=torch.Generator().manual_seed(11))


def head_frame() -> HeadFrame:
    rotation = tuple(WORLD_FROM_HEAD[:3, :3].ravel().tolist())
    return HeadFrame(tuple(WORLD_FROM_HEAD[:3, 3].tolist()), UNITS_PER_METRE, rotation)


def to_metres(points: np.ndarray) -> np.ndarray:
    """Head units [N,3] -> metres in the data set's frame."""
    return points / UNITS_PER_METRE @ WORLD_FROM_HEAD[:3, :3].T + WORLD_FROM_HEAD[:3, 3]


def cameras() -> list[dict]:
    """Two views, in metres and in the data set's frame."""
    views = []
    for azimuth_deg in (0.0, 30.0):
        matrix = VIEW.orbited(azimuth_deg, 5).camera(8, 8).matrix
        matrix[:3, 3] /= UNITS_PER_METRE
        matrix = matrix @ np.linalg.inv(WORLD_FROM_HEAD)
        views.append({"camera_from_world": matrix.ravel().tolist(), "fov_deg": VIEW.fov_deg})
    return views


def write_tracked_data(folder: Path) -> Path:
    """Frames t0c0, t0c1, t1c0, ...: the last time step is the test split."""
    poser = tiny_poser()
    for name in ("frames", "meshes"):
        (folder / name).mkdir(parents=True)
    vertices, faces = poser.head.vertices, poser.head.faces
    mesh = trimesh.Trimesh(to_metres(vertices.numpy()), faces.numpy(), process=False)
    mesh.export(folder / "meshes/canonical.ply")
    lines = []
    for time, code in enumerate(tracked_codes()):
        posed = (vertices + poser.nphm.deform(vertices, poser.identity, code)).numpy()
        np.save(folder / f"meshes/t{time}.npy", to_metres(posed).astype(np.float32))
        for number, camera in enumerate(cameras()):
            name = f"t{time}c{number}"
            rgba = np.full((RESOLUTION_PX, RESOLUTION_PX, 4), 40 * time + 60, np.uint8)
            Image.fromarray(rgba).save(folder / f"frames/{name}.png")
            frame = {
                "id": name,
                "file": f"frames/{name}.png",
                "split": "test" if time == TIMES - 1 else "train",
                "mesh": f"meshes/t{time}.npy",
                "gaze": [0.1 * time, 0.0, 0.1 * time, -0.2],
                "camera": camera,
            }
            lines.append(json.dumps(frame))
    (folder / "frames.jsonl").write_text("\n".join(lines))
    person = {
        "world_from_head": WORLD_FROM_HEAD.ravel().tolist(),
        "mesh": {"canonical": "meshes/canonical.ply"},
    }
    (folder / "person.json").write_text(json.dumps(person))
    return folder
