"""Real captures' layouts become data sets: made-up ones whose pictures mark one vertex."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from captures import (
    MARK,
    blob_place,
    egg,
    expression,
    seen_place,
    write_nerfstudio,
    write_nersemble,
)
from PIL import Image

from avatar_viewer.cli import main
from avatar_viewer.data.capture import ImportOptions, head_camera, write_capture
from avatar_viewer.data.check import check_data
from avatar_viewer.data.head_frame import read_world_from_head
from avatar_viewer.data.meshes import read_canonical
from avatar_viewer.data.nerfstudio import read_nerfstudio
from avatar_viewer.data.nersemble import read_nersemble
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit

SIZE_PX = 256


@pytest.fixture(scope="module")
def nersemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nersemble(tmp_path_factory.mktemp("nersemble") / "037")


@pytest.fixture
def nerfstudio(tmp_path: Path) -> Path:
    return write_nerfstudio(tmp_path / "nerfstudio")


def assert_pictures_show_the_meshes(data: Path) -> None:
    for record in check_data(data):
        distance = np.abs(blob_place(record.path) - seen_place(record, SIZE_PX)).max()
        assert distance < 0.5, record.id


@pytest.mark.parametrize("by_time", [True, False])
def test_nersemble(tmp_path: Path, by_time: bool):
    source = write_nersemble(tmp_path / "037", by_time)
    arguments = ["--source", str(source), "--out", str(tmp_path / "data"), "--size", str(SIZE_PX)]
    held_out = ["--held-out-sequences", "SEN-2", "--held-out-camera", "222"]
    assert main(["data", "import", "nersemble", *arguments, *held_out]) == 0
    assert_pictures_show_the_meshes(tmp_path / "data")
    records = check_data(tmp_path / "data")
    assert {record.id: record.split for record in records} == {
        "EMO-1_111_00003": "train",
        "EMO-1_111_00006": "train",
        "EMO-1_222_00003": "held_out_camera",
        "EMO-1_222_00006": "held_out_camera",
        "SEN-2_111_00003": "held_out_sequence",
        "SEN-2_111_00006": "held_out_sequence",
        "SEN-2_222_00003": "test",
        "SEN-2_222_00006": "test",
    }
    # Head and expression as they were made, in metres; 16 bits of 2 units of 1/4 m are 8 um.
    np.testing.assert_allclose(
        read_canonical(tmp_path / "data").vertices, egg().vertices, atol=2e-5
    )
    for record, amount in ((records[0], 1), (records[1], 2)):
        expected = expression(egg().vertices, amount)
        np.testing.assert_allclose(np.load(record.mesh), expected, atol=5e-5)
    np.testing.assert_array_equal(read_world_from_head(tmp_path / "data"), np.eye(4))
    # The second time step has masks, the first none.
    alpha = [np.asarray(Image.open(record.path))[..., 3] for record in records[:2]]
    assert alpha[0][150:, 128].max() == 255 and alpha[1][190:].max() == 0
    assert alpha[1][20:100, 128].min() == 255
    assert not (tmp_path / "data.partial").exists()


def test_nerfstudio(nerfstudio: Path, tmp_path: Path):
    options = ImportOptions(SIZE_PX, held_out_camera="cam1")
    write_capture(read_nerfstudio(nerfstudio), tmp_path / "data", options)
    assert_pictures_show_the_meshes(tmp_path / "data")
    records = check_data(tmp_path / "data")
    assert [(r.id, r.split) for r in records] == [
        ("s0_cam0_00000", "train"),
        ("s0_cam1_00000", "test"),
        ("s1_cam0_00001", "train"),
        ("s1_cam1_00001", "test"),
    ]
    np.testing.assert_allclose(
        np.load(records[2].mesh)[MARK], expression(egg().vertices, 2)[MARK], atol=1e-5
    )


def test_time_steps_are_thinned(nersemble: Path, tmp_path: Path):
    options = ImportOptions(32, every=2, held_out_sequences=("EMO-1",))
    write_capture(read_nersemble(nersemble), tmp_path / "data", options)
    records = check_data(tmp_path / "data")
    assert {record.id[-5:] for record in records} == {"00003"} and len(records) == 4
    assert {record.split for record in records} == {"train", "test"}
    assert len(list((tmp_path / "data/meshes").glob("*.npy"))) == 2


def test_time_steps_without_a_mesh_are_counted(tmp_path: Path, capsys):
    source = write_nersemble(tmp_path / "037")
    (source / TRACKING / "NPHM/00006_local_new.ply").unlink()
    options = ImportOptions(32, held_out_camera="222")
    write_capture(read_nersemble(source), tmp_path / "data", options)
    assert len(check_data(tmp_path / "data")) == 6
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"wrote {tmp_path / 'data'}: 6 pictures, ")
    assert line.endswith("; 1 time steps left out, which have no mesh")
    write_capture(read_nersemble(write_nersemble(tmp_path / "038")), tmp_path / "whole", options)
    assert "left out" not in capsys.readouterr().out


def test_a_missing_file_is_named_as_it_was_given(tmp_path: Path, capsys):
    for given, named in (("nowhere.json", "nowhere.json"), ("nowhere", "nowhere/transforms.json")):
        arguments = ["nerfstudio", "--source", str(tmp_path / given), "--held-out-camera", "cam1"]
        words = f"error: {tmp_path / named}: expected a JSON file, found none"
        assert words in refused(arguments, tmp_path / "data", capsys)


def test_a_scaled_head_is_seen_as_before():
    camera = Orbit(20, 10, 1.5, (0.0, 0.1, 0.0), 30).camera(64, 64).matrix
    world_from_head = np.diag([2.0, 2.0, 2.0, 1.0])
    world_from_head[:3, 3] = (0.2, 0.0, -0.1)
    matrix = head_camera(camera, world_from_head)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    point = np.array([0.1, -0.05, 0.2, 1.0])
    before, after = camera @ world_from_head @ point, matrix @ point
    np.testing.assert_allclose(before[:2] / before[2], after[:2] / after[2])


# What is said.


def refused(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["data", "import", *arguments, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected" in line and "found" in line
    assert not out.exists() and not out.with_name(f"{out.name}.partial").exists()
    return line


def edited(path: Path, **changes) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--held-out-sequences, --held-out-camera: expected one of them"),
        (["--held-out-camera", "333"], "--held-out-camera: expected some of 111, 222, found 333"),
        (["--held-out-sequences", "A"], "--held-out-sequences: expected some of EMO-1, SEN-2"),
        (["--held-out-camera", "222", "--crop", "0"], "--crop: expected more than 0"),
        (["--held-out-camera", "222", "--every", "0"], "--every: expected 1 or more"),
        (
            ["--held-out-camera", "222", "--mesh-tracking", "X"],
            "annotations/tracking/X, found none",
        ),
        (["--held-out-camera", "222", "--pose-tracking", "X"], "X/tracked_flame_params.npz"),
        (["--held-out-sequences", "EMO-1", "SEN-2"], "expected frames of split 'train'"),
    ],
)
def test_bad_options(nersemble: Path, tmp_path: Path, capsys, options: list[str], words: str):
    arguments = ["nersemble", "--source", str(nersemble), "--size", "16", *options]
    assert words in refused(arguments, tmp_path / "data", capsys)


PARAMS = "calibration/camera_params.json"
TRACKING = "sequences/EMO-1/annotations/tracking"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no calibration": (
        lambda source: (source / PARAMS).unlink(),
        "camera_params.json: expected a JSON file, found none",
    ),
    "no poses": (
        lambda source: edited(source / PARAMS, world_2_cam=None),
        "camera_params.json: expected world_2_cam or cam_2_world",
    ),
    "a camera less": (
        lambda source: edited(source / PARAMS, world_2_cam={"111": np.eye(4).tolist()}),
        "camera_params.json: expected camera 222, found 111",
    ),
    "skew": (
        lambda source: edited(source / PARAMS, intrinsics=[[1, 5, 1], [0, 1, 1], [0, 0, 1]]),
        "111: expected intrinsics without skew",
    ),
    "no matrix": (
        lambda source: edited(source / PARAMS, world_2_cam={"111": [1, 2]}),
        "111: expected a 4x4 matrix of finite numbers, found [1, 2]",
    ),
    "not rigid": (
        lambda source: edited(source / PARAMS, world_2_cam={"111": (2 * np.eye(4)).tolist()}),
        "111: expected a rigid 4x4 matrix",
    ),
    "another shape": (
        lambda source: edited(source / PARAMS, image_size=[800, 640]),
        "cam_111.png: expected a picture of the shape (800, 640)",
    ),
    "few poses": (
        lambda source: np.savez(
            source / TRACKING / "FLAME/tracked_flame_params.npz",
            rotation=np.zeros((1, 3)),
            translation=np.zeros((1, 3)),
            scale=np.ones(1),
        ),
        "expected poses of 2 time steps, found 1 rotations",
    ),
    "pickles": (
        lambda source: np.savez(
            source / TRACKING / "FLAME/tracked_flame_params.npz", rotation=np.array([{}])
        ),
        "tracked_flame_params.npz: expected a .npz file",
    ),
    "no canonical": (
        lambda source: (source / TRACKING / "NPHM/00003_canonical_vertices_uint16.npz").unlink(),
        "00003_canonical_vertices_uint16.npz: expected tracked numbers",
    ),
    "fewer vertices": (
        lambda source: np.savez(
            source / TRACKING / "NPHM/00006_canonical_vertices_uint16.npz",
            np.zeros((7, 5), np.uint16),
        ),
        "expected 642 vertices as in 00006_local_new.ply, found 7",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_bad_nersemble(tmp_path: Path, capsys, what: str):
    source = write_nersemble(tmp_path / "037")
    broken, words = BROKEN[what]
    broken(source)
    arguments = ["nersemble", "--source", str(source), "--size", "16", "--held-out-camera", "222"]
    assert words in refused(arguments, tmp_path / "data", capsys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": []}, "expected frames (a list of objects)"),
        ({"canonical_mesh_path": None}, "expected canonical_mesh_path, found none"),
        ({"canonical_mesh_path": "x.ply"}, "x.ply: expected a mesh, found no file"),
        ({"camera_model": "OPENCV_FISHEYE"}, "found OPENCV_FISHEYE: undistort its pictures first"),
        ({"k4": 0.1}, "frame 0: expected k4 to be 0, found 0.1"),
        ({"fl_x": None}, "frame 0: expected fl_x (a number), found None"),
        ({"fl_x": -5}, "frame 0: intrinsics: expected finite numbers"),
        ({"cx": "wide"}, "frame 0: expected cx (a number), found wide"),
        ({"w": 100}, "0_0.png: expected a picture of the shape (100, 400)"),
        ({"world_from_head": [1, 2, 3]}, "world_from_head: expected a 4x4 matrix"),
        (
            {"world_from_head": np.diag([1.0, 2.0, 1.0, 1.0]).tolist()},
            "world_from_head: expected a rotation with one scale",
        ),
    ],
)
def test_bad_transforms(nerfstudio: Path, tmp_path: Path, capsys, changes: dict, words: str):
    edited(nerfstudio / "transforms.json", **changes)
    arguments = ["nerfstudio", "--source", str(nerfstudio), "--held-out-camera", "cam1"]
    assert words in refused(arguments, tmp_path / "data", capsys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transform_matrix": None}, "frame 2: transform_matrix: expected a 4x4 matrix"),
        ({"transform_matrix": (2 * np.eye(4)).tolist()}, "transform_matrix: expected a rigid"),
        ({"mesh_path": None}, "frame 2: expected mesh_path (a path), found None"),
        ({"file_path": "images/9.png"}, "images/9.png: expected a readable picture"),
        ({"mesh_path": "0.npy"}, "frame 3: expected mesh_path and world_from_head as in other"),
        (
            {"world_from_head": np.eye(4).tolist()},
            "frame 3: expected mesh_path and world_from_head as in other frames of time step 1",
        ),
    ],
)
def test_a_bad_frame_is_named(nerfstudio: Path, tmp_path: Path, capsys, changes: dict, words: str):
    path = nerfstudio / "transforms.json"
    frames = json.loads(path.read_text())["frames"]
    frames[2] = {k: v for k, v in (frames[2] | changes).items() if v is not None}
    edited(path, frames=frames)
    arguments = ["nerfstudio", "--source", str(nerfstudio), "--held-out-camera", "cam1"]
    assert words in refused(arguments, tmp_path / "data", capsys)


@pytest.mark.parametrize(
    ("vertices", "words"),
    [
        (np.zeros((5, 3), np.float32), "1.npy: expected float32 of shape (642, 3)"),
        (None, "no file"),
    ],
)
def test_a_bad_mesh_is_named(nerfstudio: Path, tmp_path: Path, capsys, vertices, words: str):
    (nerfstudio / "1.npy").unlink()
    if vertices is not None:
        np.save(nerfstudio / "1.npy", vertices)
    arguments = ["nerfstudio", "--source", str(nerfstudio), "--held-out-camera", "cam1"]
    assert words in refused(arguments, tmp_path / "data", capsys)


def test_names_that_are_no_file_names(nerfstudio: Path, tmp_path: Path):
    path = nerfstudio / "transforms.json"
    frames = json.loads(path.read_text())["frames"]
    for frame in frames:
        frame["sequence"] = f"../{frame['sequence']} a"
    edited(path, frames=frames)
    options = ImportOptions(16, held_out_camera="cam1")
    write_capture(read_nerfstudio(nerfstudio), tmp_path / "data", options)
    assert check_data(tmp_path / "data")[0].id == "-s0-a_cam0_00000"


def test_nothing_is_overwritten(nersemble: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    options = ImportOptions(16, held_out_camera="222")
    with pytest.raises(AvatarError, match="expected a folder that is not there yet"):
        write_capture(read_nersemble(nersemble), tmp_path / "data", options)
    assert list((tmp_path / "data").iterdir()) == []
