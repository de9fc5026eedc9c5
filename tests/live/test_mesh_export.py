import numpy as np
import pytest
import trimesh
from tiny import tiny_avatar

from avatar_viewer.avatar import Avatar
from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.blend import bilinear
from avatar_viewer.live.mesh_export import export_mesh


@pytest.fixture(scope="module")
def avatar_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatar")
    tiny_avatar().save(folder)
    return folder


def loaded(path):
    (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_meshes_of_two_expressions_correspond(avatar_folder, tmp_path, suffix):
    avatar = Avatar.load(avatar_folder)
    corners = [corner.expression for corner in avatar.info.corners]
    found = []
    for pad in ((0.0, 0.0), (1.0, 0.5)):
        out = tmp_path / f"head{pad[0]:.0f}{suffix}"
        words = ["mesh", "--ckpt", str(avatar_folder), "--pad", *map(str, pad), "--out", str(out)]
        assert main(words) == 0
        mesh, posed = loaded(out), avatar.head.pose(bilinear(corners, *pad))
        metres = posed.vertices / avatar.head.nphm.config["units_per_metre"]
        np.testing.assert_allclose(mesh.vertices, metres, atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, posed.faces)
        np.testing.assert_allclose(mesh.vertex_normals, posed.normals, atol=2e-3)
        found.append(mesh)
    assert np.array_equal(found[0].faces, found[1].faces)
    assert not np.allclose(found[0].vertices, found[1].vertices, atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left aside


def test_bad_options_are_named_before_any_work(avatar_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Avatar, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(
        AvatarError, match=r"--out: expected a name that ends in \.glb .* found .*stl"
    ):
        export_mesh(tmp_path / "head.stl", (0.5, 0.5))
    with pytest.raises(
        AvatarError, match=r"--pad: expected two numbers in 0\.\.1, found 1\.5 0\.5"
    ):
        export_mesh(tmp_path / "head.glb", (1.5, 0.5))
    with pytest.raises(AvatarError, match=r"expected a writable path"):
        export_mesh(tmp_path / "none" / "head.glb", (0.5, 0.5))
    assert list(tmp_path.iterdir()) == []
