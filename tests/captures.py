"""Made-up captures: a head whose one marked vertex is a blob in every picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.data.nersemble import CANONICAL_MAX, CANONICAL_MIN
from avatar_viewer.data.resample import Lens

MARK = 100
"""The vertex that pictures show."""
LENS = Lens(focal=(410.0, 380.0), centre=(150.0, 215.0), size=(320, 400))
"""Unequal focal lengths, an off-centre principal point, a picture that is not square."""
BLOB_PX = 4.0


def egg() -> trimesh.Trimesh:
    """A head of metres: half axes of 8 to 12 cm."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    return trimesh.Trimesh(ball.vertices * (0.08, 0.12, 0.1), ball.faces, process=False)


def opencv_camera(azimuth_deg: float) -> np.ndarray:
    """[4,4] camera_from_world: x right, y down, z forward, 0.9 m before the world's origin."""
    turn = Rotation.from_euler("y", azimuth_deg, degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
    matrix[:3, 3] = (0.01, -0.02, 0.9)
    return matrix


def blob(lens: Lens, camera: np.ndarray, point: np.ndarray) -> Image.Image:
    """An opaque dark picture, bright around where an OpenCV camera sees a point of the world."""
    x, y, z = camera[:3, :3] @ point + camera[:3, 3]
    (u,), (v,) = lens.pixels(np.array([x / z]), np.array([y / z]))
    columns, rows = np.meshgrid(np.arange(lens.size[0]) + 0.5, np.arange(lens.size[1]) + 0.5)
    bright = 255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * BLOB_PX**2))
    return Image.fromarray(np.stack([bright] * 3, axis=-1).round().astype(np.uint8))


def blob_place(picture: Path | Image.Image) -> np.ndarray:
    """[2] where a picture's blob is, pixels from the top-left corner."""
    opened = Image.open(picture) if isinstance(picture, Path) else picture
    bright = np.asarray(opened.convert("RGBA"), dtype=np.float64)
    weight = np.clip(bright[..., 0] - 30, 0, None) * (bright[..., 3] > 0)
    columns, rows = np.meshgrid(*(np.arange(side) + 0.5 for side in weight.shape[::-1]))
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def seen_place(record: FrameRecord, size_px: int) -> np.ndarray:
    """[2] where the format's camera sees the marked vertex of the frame's mesh."""
    assert record.mesh is not None
    point = np.load(record.mesh)[MARK]
    camera = HeadFrame((0.0, 0.0, 0.0), 1.0).camera(record.camera, size_px)
    x, y, z = camera.matrix[:3, :3] @ point + camera.matrix[:3, 3]
    return size_px / 2 + camera.focal_px * np.array([x, -y]) / -z


def expression(vertices: np.ndarray, amount: float) -> np.ndarray:
    """The lower half moves down: a jaw that opens."""
    return vertices - np.array([0, 1, 0.3]) * 0.02 * amount * (vertices[:, 1:2] < 0)


# NeRSemble's layout.

SEQUENCES = ("EMO-1", "SEN-2")
TIMES = (3, 6)
SERIALS = {"111": -20.0, "222": 15.0}
FLAME_SCALE = 1.3


def head_pose(row: int) -> tuple[np.ndarray, np.ndarray]:
    """FLAME's Euler angles and translation at a tracked row."""
    return np.array([0.1, -0.2, 0.15]) * (row + 1), np.array([0.03, 0.02, -0.04]) * (row + 1)


def write_nersemble(folder: Path, by_time: bool = True) -> Path:
    """Two sequences of two time steps, seen by two cameras; the second time step has masks."""
    vertices, faces = egg().vertices, egg().faces
    (folder / "calibration").mkdir(parents=True)
    k = [[820.0, 0, 300.0], [0, 760.0, 430.0], [0, 0, 1]]  # twice the pictures' size
    cameras = {serial: opencv_camera(azimuth) for serial, azimuth in SERIALS.items()}
    params = {
        "world_2_cam": {serial: camera.tolist() for serial, camera in cameras.items()},
        "intrinsics": k,
        "image_size": [640, 800],
    }
    (folder / "calibration/camera_params.json").write_text(json.dumps(params))
    for sequence in SEQUENCES:
        base = folder / "sequences" / sequence
        tracking = base / "annotations/tracking"
        for name in ("NPHM", "FLAME"):
            (tracking / name).mkdir(parents=True)
        poses = [head_pose(row) for row in range(len(TIMES))]
        np.savez(
            tracking / "FLAME/tracked_flame_params.npz",
            rotation=np.stack([rotation for rotation, _ in poses]),
            translation=np.stack([translation for _, translation in poses]),
            scale=np.full((1, 3), FLAME_SCALE),
        )
        for row, time in enumerate(TIMES):
            posed = expression(vertices, row + 1)
            order = np.random.default_rng(time).permutation(len(vertices)) if row else slice(None)
            _write_nphm(tracking / "NPHM", time, vertices[order], posed[order], faces)
            rotation, translation = poses[row]
            turn = Rotation.from_euler("XYZ", rotation).as_matrix()
            point = FLAME_SCALE * turn @ posed[MARK] + translation
            for serial, camera in cameras.items():
                picture, mask = _paths(base, time, serial, by_time)
                picture.parent.mkdir(parents=True, exist_ok=True)
                blob(LENS, camera, point).save(picture)
                if row == 1:
                    mask.parent.mkdir(parents=True, exist_ok=True)
                    half = np.zeros(LENS.size[::-1], np.uint8)
                    half[: LENS.size[1] // 2 + 60] = 255
                    Image.fromarray(half).save(mask)
    return folder


def _paths(base: Path, time: int, serial: str, by_time: bool) -> tuple[Path, Path]:
    frame, camera = f"frame_{time:05d}", f"cam_{serial}"
    if by_time:
        step = base / "timesteps" / frame
        return step / f"images-2x/{camera}.png", step / f"alpha_map/{camera}.png"
    return base / f"images/{camera}/{frame}.png", base / f"alpha_map/{camera}/{frame}.png"


def _write_nphm(
    folder: Path, time: int, canonical: np.ndarray, posed: np.ndarray, faces: np.ndarray
) -> None:
    """In NPHM's units. The faces are the first time step's: those of others are not used."""
    trimesh.Trimesh(4 * posed, faces, process=False).export(folder / f"{time:05d}_local_new.ply")
    five = np.concatenate([4 * canonical, np.zeros((len(canonical), 2))], axis=1)
    low, high = np.append(CANONICAL_MIN, (-0.2, -0.2)), np.append(CANONICAL_MAX, (0.2, 0.2))
    quantized = np.round((five - low) / (high - low) * 65535).astype(np.uint16)
    np.savez(folder / f"{time:05d}_canonical_vertices_uint16.npz", quantized)


# nerfstudio's.


def write_nerfstudio(folder: Path) -> Path:
    """Two time steps and two cameras, one of them distorted; the world is z up, in centimetres."""
    world_from_head = np.eye(4)
    world_from_head[:3, :3] = 100 * np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    world_from_head[:3, 3] = (5, 10, 160)
    distorted = Lens(LENS.focal, LENS.centre, LENS.size, (-0.12, 0.03, 0.0), (0.002, -0.001))

    def to_world(points: np.ndarray) -> np.ndarray:
        return points @ world_from_head[:3, :3].T + world_from_head[:3, 3]

    (folder / "images").mkdir(parents=True)
    mesh = egg()
    trimesh.Trimesh(to_world(mesh.vertices), mesh.faces, process=False).export(
        folder / "canonical.obj"
    )
    frames = []
    for time in range(2):
        posed = to_world(expression(mesh.vertices, time + 1))
        np.save(folder / f"{time}.npy", posed.astype(np.float32))
        for number, (azimuth, lens) in enumerate(((0.0, LENS), (25.0, distorted))):
            # The camera stands in the head's frame; carry it to the world, in centimetres.
            camera = opencv_camera(azimuth) @ np.linalg.inv(world_from_head)
            camera[:3] *= 100
            blob(lens, camera, posed[MARK]).save(folder / f"images/{time}_{number}.png")
            frame = {
                "file_path": f"images/{time}_{number}.png",
                "transform_matrix": (
                    np.linalg.inv(camera) @ np.diag([1.0, -1.0, -1.0, 1.0])
                ).tolist(),
                "timestep_index": time,
                "camera_id": f"cam{number}",
                "mesh_path": f"{time}.npy",
                "sequence": f"s{time}",
            }
            if number == 1:
                names = ("k1", "k2", "k3", "p1", "p2")
                frame |= dict(zip(names, (*lens.radial, *lens.tangential), strict=True))
            frames.append(frame)
    transforms = {
        "camera_model": "OPENCV",
        "fl_x": LENS.focal[0],
        "fl_y": LENS.focal[1],
        "cx": LENS.centre[0],
        "cy": LENS.centre[1],
        "w": LENS.size[0],
        "h": LENS.size[1],
        "world_from_head": world_from_head.tolist(),
        "canonical_mesh_path": "canonical.obj",
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(transforms))
    return folder
