import numpy as np
import pytest
import torch
import trimesh

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.scan import POINTS, read_scan

BALL_M = trimesh.creation.icosphere(subdivisions=4, radius=0.12)


def write(path, mesh=BALL_M, scale=1.0):
    mesh = mesh.copy()
    mesh.apply_scale(scale)
    path.write_bytes(
        content
        if isinstance(content := mesh.export(file_type=path.suffix[1:]), bytes)
        else content.encode()
    )
    return path


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".stl", ".off"])
def test_a_mesh_is_sampled_on_its_surface_with_normals(tmp_path, suffix):
    scan = read_scan(write(tmp_path / f"ball{suffix}"), units_per_metre=4)
    assert scan.points.shape == (POINTS, 3) and scan.normals is not None
    radius = scan.points.norm(dim=1)
    assert radius.max() < 0.4801 and radius.min() > 0.47
    assert ((scan.points * scan.normals).sum(dim=1) / radius > 0.99).all()
    again = read_scan(tmp_path / f"ball{suffix}", units_per_metre=4)
    assert torch.equal(scan.points, again.points)


@pytest.mark.parametrize(("unit", "scale"), [("m", 1), ("dm", 10), ("cm", 100), ("mm", 1000)])
def test_units(tmp_path, unit, scale):
    scan = read_scan(write(tmp_path / "ball.ply", scale=scale), 4, unit)
    assert scan.points.norm(dim=1).max() == pytest.approx(0.48, abs=1e-3)


def test_a_point_cloud_is_taken_as_it_is(tmp_path):
    trimesh.PointCloud(BALL_M.vertices).export(tmp_path / "points.ply")
    scan = read_scan(tmp_path / "points.ply", units_per_metre=2)
    assert scan.normals is None and len(scan.points) == len(BALL_M.vertices)
    torch.testing.assert_close(scan.points.norm(dim=1), torch.full((len(scan.points),), 0.24))


def error_of(path, **options):
    with pytest.raises(AvatarError) as caught:
        read_scan(path, 4, **options)
    line = str(caught.value)
    assert "\n" not in line and "expected" in line and "found" in line
    return line


def test_other_units_are_named_by_the_size(tmp_path):
    line = error_of(write(tmp_path / "ball.ply", scale=1000))
    assert line.endswith("expected a head of 0.15 to 0.7 m, found 240 m; it would be one in mm")
    assert "in cm" in error_of(write(tmp_path / "ball.ply", scale=100))
    assert error_of(write(tmp_path / "ball.ply", scale=1e-4)).endswith("found 2.4e-05 m")
    assert "unit: expected m | dm | cm | mm" in error_of(tmp_path / "ball.ply", unit="inch")


@pytest.mark.parametrize("content", [None, b"", b"solid nothing", b"ply\nformat ascii 1.0\nend"])
def test_a_file_that_is_no_mesh(tmp_path, content):
    path = tmp_path / "scan.ply"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in error_of(path)


def test_an_unknown_format(tmp_path):
    (tmp_path / "scan.xyzabc").write_text("1 2 3")
    assert "scan.xyzabc" in error_of(tmp_path / "scan.xyzabc")


def test_nan(tmp_path):
    broken = BALL_M.vertices.copy()
    broken[5] = np.nan
    trimesh.PointCloud(broken).export(tmp_path / "points.ply")
    assert "finite coordinates, found NaN" in error_of(tmp_path / "points.ply")
    lines = [f"v {x} {y} {z}" for x, y, z in broken] + ["f 6 7 8"]
    (tmp_path / "mesh.obj").write_text("\n".join(lines))
    assert "finite coordinates, found NaN" in error_of(tmp_path / "mesh.obj")


def test_a_mesh_without_faces(tmp_path):
    (tmp_path / "flat.off").write_text("OFF\n3 1 0\n0 0 0\n0.3 0 0\n0.2 0 0\n3 0 1 2\n")
    assert "expected a mesh with faces, found none" in error_of(tmp_path / "flat.off")
