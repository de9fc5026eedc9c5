import numpy as np
import pytest
import trimesh
from tiny import tiny_avatar

from avatar_viewer import avatar_folder as stored
from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.blend import bilinear
from avatar_viewer.live.mesh_export import export_mesh, write_mesh


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
    avatar = tiny_avatar()
    corners = [corner.expression for corner in avatar.info.corners]
    found = []
    for pad in ((0.0, 0.0), (1.0, 0.5)):
        out = tmp_path / f"head{pad[0]:.0f}{suffix}"
        words = ["mesh", "--ckpt", str(avatar_folder), "--pad", *map(str, pad), "--out", str(out)]
        assert main(words) == 0
        mesh, posed = loaded(out), avatar.head.pose(bilinear(corners, *pad))
        metres = posed.vertices / avatar.head.nphm.config["units_per_metre"]
        # The folder's weights are in float16.
        np.testing.assert_allclose(mesh.vertices, metres, atol=1e-4)
        np.testing.assert_array_equal(mesh.faces, posed.faces)
        np.testing.assert_allclose(mesh.vertex_normals, posed.normals, atol=2e-2)
        assert mesh.vertices.shape == avatar.head.head.vertices.shape
        found.append(mesh)
    assert np.array_equal(found[0].faces, found[1].faces)
    assert not np.allclose(found[0].vertices, found[1].vertices, atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left aside


def test_bad_options_are_named_before_any_work(avatar_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "load_head", lambda *_: pytest.fail("loaded"))
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


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_meshes_stand_upright_in_metres_whatever_the_head_model_s_frame(tmp_path, suffix):
    avatar = tiny_avatar()
    avatar.head.nphm.register_to_config(
        axes="x = front, y = subject's left, z = up", units_per_metre=10.0
    )
    posed = avatar.head.pose(avatar.info.corners[1].expression)
    for twin in (posed.vertices, posed.normals):
        twin[1] = twin[0]  # vertices that meet stay two
    write_mesh(posed, avatar.head.nphm, tmp_path / f"head{suffix}")
    mesh = loaded(tmp_path / f"head{suffix}")
    left_up_front = [1, 2, 0]
    np.testing.assert_allclose(mesh.vertices, posed.vertices[:, left_up_front] / 10, atol=1e-6)
    np.testing.assert_allclose(mesh.vertex_normals, posed.normals[:, left_up_front], atol=2e-3)
    assert mesh.volume > 0  # faces still look outward
