"""Hulls of a known solid's silhouettes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.data.visual_hull import Carving, carve, cut_moving, silhouette_distance_px
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.stages import CanonicalHead, HeadMesh

SIZE_PX = 128
UNITS_PER_METRE = 4.0
MM = UNITS_PER_METRE / 1000
RADII_MM = np.array([60.0, 80.0, 70.0])
BOX = Carving(low_mm=(-110,) * 3, high_mm=(110,) * 3, cell_mm=5, least_frames=4)


def mesh_of(solid: trimesh.Trimesh) -> HeadMesh:
    vertices = torch.from_numpy(solid.vertices).float()
    faces = torch.from_numpy(solid.faces.copy()).int()
    return HeadMesh(vertices, vertices, vertex_normals(vertices, faces), faces)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ellipsoid in pictures from all sides, 4 units to a metre."""
    folder = tmp_path_factory.mktemp("ellipsoid")
    mesh = mesh_of(trimesh.creation.icosphere(subdivisions=4).apply_scale(RADII_MM * MM))
    lines = []
    for number, (azimuth, elevation) in enumerate(
        (a, e) for e in (-60, -20, 20, 60) for a in range(0, 360, 30)
    ):
        camera = Orbit(azimuth, elevation, 2.5, (0.0, 0.0, 0.0), 25.0).camera(SIZE_PX, SIZE_PX)
        mask = rasterize(mesh, camera).mask.numpy()
        Image.fromarray(np.dstack([mask * np.uint8(255)] * 4)).save(folder / f"{number}.png")
        matrix = camera.matrix.copy()
        matrix[:3, 3] /= UNITS_PER_METRE
        lines.append(
            {"id": f"{number:03}", "file": f"{number}.png", "split": "train", "expression": {}}
            | {"camera": {"camera_from_world": matrix.ravel().tolist(), "fov_deg": 25.0}}
        )
    (folder / "frames.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return folder


FRAME = HeadFrame((0.0, 0.0, 0.0), UNITS_PER_METRE)


def test_an_ellipsoid_is_found_within_half_a_pixel(seen: Path):
    hull = carve(read_frames(seen), FRAME, BOX)
    # How far the level of the ellipsoid's equation is from 1 tells the distance, in radii.
    radii = (hull.vertices.numpy() / (RADII_MM * MM)) ** 2
    off_mm = (np.sqrt(radii.sum(axis=1)) - 1) * RADII_MM.mean()
    pixel_mm = 2.5 / MM * 2 * np.tan(np.radians(12.5)) / SIZE_PX
    # 48 silhouettes leave edges between them, which stand out: a hull is never too small.
    assert np.abs(np.median(off_mm)) < pixel_mm / 2
    assert off_mm.min() > -pixel_mm
    assert off_mm.max() < 5
    # Faces look outward.
    solid = trimesh.Trimesh(hull.vertices.numpy(), hull.faces.numpy())
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * np.prod(RADII_MM * MM), rel=0.06)


def test_no_view_sees_the_hull_inside_its_silhouette(seen: Path):
    records = read_frames(seen)
    hull = carve(records, FRAME, BOX)
    mesh = HeadMesh(
        hull.vertices, hull.vertices, vertex_normals(hull.vertices, hull.faces), hull.faces
    )
    for record in records[::7]:
        found = rasterize(mesh, FRAME.camera(record.camera, SIZE_PX)).mask.numpy()
        assert (found != (record.alpha() > 0.5)).mean() < 0.004


def test_what_few_pictures_show_is_left_out(seen: Path):
    records = read_frames(seen)[:6]
    with pytest.raises(AvatarError, match="hull: expected silhouettes that share a volume"):
        carve(records, FRAME, Carving(**vars(BOX) | {"least_frames": 7}))


def test_distance_to_a_straight_outline():
    alpha = np.zeros((9, 9), np.float32)
    alpha[:, 4:] = 1
    row = silhouette_distance_px(alpha)[0]
    torch.testing.assert_close(row, 3.5 - torch.arange(9.0))


def test_the_hull_is_cut_where_the_head_moves():
    ball = trimesh.creation.icosphere(subdivisions=3)
    head = CanonicalHead(
        torch.from_numpy(ball.vertices).float(), torch.from_numpy(ball.faces).int()
    )
    hull = CanonicalHead(head.vertices * 1.1, head.faces)
    offsets = torch.zeros(3, len(head.vertices), 3)
    front = head.vertices[:, 2] > 0.3
    offsets[1, front] = 2 * MM
    left = cut_moving(hull, head, offsets, mm=MM)
    assert len(left.vertices) < len(hull.vertices)
    assert (left.vertices[:, 2] <= 0.3 * 1.1 + 1e-6).all()
    assert len(left.vertices) == int((~front).sum())
    assert cut_moving(hull, head, 0.2 * offsets, mm=MM).faces.shape == hull.faces.shape


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low_mm": (0, 0, 200)}, "hull: expected low_mm below high_mm"),
        ({"cell_mm": 0}, "hull: cell_mm: expected 0.1 or more, found 0"),
        ({"cell_mm": float("nan")}, "hull: cell_mm"),
        ({"least_frames": 0}, "hull: least_frames: expected 1 or more, found 0"),
    ],
)
def test_impossible_carvings(change: dict, said: str):
    with pytest.raises(AvatarError, match=said):
        Carving(**change)
