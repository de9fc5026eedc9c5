"""One report of everything that is wrong with a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import write_tiny_avatar, write_tiny_frames
from tracked_data import write_tracked_data

from avatar_viewer.cli import main
from avatar_viewer.data.check import check_data, check_people
from avatar_viewer.errors import MOST_PROBLEMS, AvatarError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_frames(tmp_path / "data", train=4, test=2)


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    return write_tracked_data(tmp_path / "tracked")


def changed(folder: Path, number: int, **changes) -> None:
    """Change fields of a frame; None removes a field."""
    lines = (folder / "frames.jsonl").read_text().splitlines()
    fields = json.loads(lines[number]) | changes
    lines[number] = json.dumps({name: value for name, value in fields.items() if value is not None})
    (folder / "frames.jsonl").write_text("\n".join(lines))


def problems(folder: Path, *arguments, **options) -> list[str]:
    with pytest.raises(AvatarError) as caught:
        check_data(folder, *arguments, **options)
    lines = str(caught.value).splitlines()
    assert all("expected" in line and "found" in line for line in lines)
    return lines


def test_what_is_whole_is_handed_out(data: Path, tracked: Path):
    assert [r.id for r in check_data(data, "test")] == ["frame_4", "frame_5"]
    assert len(check_data(data, at_least={"train": 4, "test": 1})) == 6
    records = check_data(tracked)
    assert [r.mesh for r in records[:3]] == [
        *2 * [tracked / "meshes/t0.npy"],
        tracked / "meshes/t1.npy",
    ]
    assert records[4].gaze == (0.2, 0.0, 0.2, -0.2)


def test_all_problems_are_in_one_report(data: Path):
    (data / "frames/0.png").unlink()
    whole = (data / "frames/1.png").read_bytes()
    (data / "frames/1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGBA", (16, 20)).save(data / "frames/2.png")
    changed(data, 3, camera={"camera_from_world": [2.0] * 16, "fov_deg": 20})
    changed(data, 4, expression={"jawOpened": 0.5, "jawOpen": 1.5, "mouthLeft": float("nan")})
    changed(data, 5, id="frame_0")
    (data / "person.json").write_text("{}")
    headline, *lines = problems(data, at_least={"train": 8})
    assert headline == f"{data}: expected a data set without faults, found 10:"
    frames = data / "frames.jsonl"
    for line, words in zip(
        lines,
        [
            f"{frames}, line 4: camera: camera_from_world: expected a rigid 4x4",
            f"{frames}, line 5: expression: expected ARKit units, found jawOpened",
            f"{frames}, line 5: expected jawOpen in 0..1, found 1.5",
            f"{frames}, line 5: expected mouthLeft in 0..1, found nan",
            f"{frames}, line 6: expected an id of its own, found 'frame_0' again",
            f"{frames}: expected 8 or more frames of split 'train' (a batch), found 4",
            f"{data / 'person.json'}: expected world_from_head (16 numbers)",
            f"{data / 'frames/0.png'}: expected a picture, found no file",
            f"{data / 'frames/1.png'}: expected a readable picture, found: ",
            f"{data / 'frames/2.png'}: expected 64x64 pixels as most pictures have, found 16x20",
        ],
        strict=True,
    ):
        assert line.startswith(words)


@pytest.mark.parametrize("bad", [0, 1])
def test_the_odd_picture_is_the_one_of_another_size(data: Path, bad: int):
    Image.new("RGBA", (32, 32)).save(data / f"frames/{bad}.png")
    (line,) = problems(data)
    assert line == (
        f"{data}/frames/{bad}.png: expected 64x64 pixels as most pictures have, found 32x32 pixels"
    )


def test_pictures_must_be_square(data: Path):
    for number in range(6):
        Image.new("RGBA", (20, 30)).save(data / f"frames/{number}.png")
    lines = problems(data)
    assert len(lines) == 7
    assert lines[1].endswith("0.png: expected 20x20 pixels, a square, found 20x30 pixels")


def test_only_a_splits_own_pictures_are_asked_for(data: Path):
    (data / "frames/0.png").unlink()
    assert len(check_data(data, "test")) == 2
    assert len(problems(data, "train")) == 1


def test_a_long_report_is_cut(data: Path):
    for number in range(6):
        changed(data, number, expression={f"unit{k}": 0.5 for k in range(7)})
    with pytest.raises(AvatarError) as caught:
        check_data(data)
    lines = str(caught.value).splitlines()
    assert "found 42:" in lines[0]
    assert len(lines) == MOST_PROBLEMS + 2 and lines[-1] == "and 22 more"


def test_a_faulty_frame_counts_and_its_picture_is_looked_at(data: Path):
    """Each fault is said, and none that follows from it: its split has as many frames as before."""
    changed(data, 0, expression={"jawOpen": 1.5}, gaze=[2, 0, 0, 0])
    (data / "frames/0.png").unlink()
    changed(data, 4, id=None)
    changed(data, 5, id=None)
    (data / "frames/5.png").write_bytes(b"")
    frames = data / "frames.jsonl"
    assert problems(data, at_least={"train": 4, "test": 2})[1:] == [
        f"{frames}, line 1: expected jawOpen in 0..1, found 1.5",
        f"{frames}, line 1: expected gaze (4 numbers in -1..1), found [2, 0, 0, 0]",
        f"{frames}, line 5: expected field 'id' (str), found none",
        f"{frames}, line 6: expected field 'id' (str), found none",
        f"{data / 'frames/5.png'}: expected a readable picture, found: cannot identify image file "
        f"'{data / 'frames/5.png'}'",
        f"{data / 'frames/0.png'}: expected a picture, found no file",
    ]
    for line in problems(data, "train")[1:]:
        assert "5.png" not in line


def test_a_frame_without_split_or_picture_is_only_named(data: Path):
    changed(data, 0, split=5)
    changed(data, 1, file=None)
    lines = problems(data)[1:]
    assert [line.partition(": ")[2] for line in lines] == [
        "expected field 'split' (str), found int",
        "expected field 'file' (str), found none",
    ]


def test_several_data_sets_have_one_report_and_fill_one_batch(data: Path, tmp_path: Path):
    other = write_tiny_frames(tmp_path / "other", train=2, test=1)
    check_people((data, other), "train", at_least=6)
    with pytest.raises(AvatarError) as caught:
        check_people((data, other), "train", at_least=7)
    assert str(caught.value) == (
        "data: expected 7 or more frames of split 'train' (a batch) in all, found 6"
    )
    changed(data, 0, expression={"jawOpen": "0.5"})
    (other / "frames/1.png").unlink()
    (other / "frames/2.png").unlink()  # of another split
    with pytest.raises(AvatarError) as caught:
        check_people((data, tmp_path / "none", other), "train", at_least=6)
    assert str(caught.value).splitlines() == [
        "data: expected data sets without faults, found 3:",
        f"{data / 'frames.jsonl'}, line 1: expected jawOpen in 0..1, found the text '0.5'",
        f"{tmp_path / 'none/frames.jsonl'}: expected a data set's frame list, found no file",
        f"{other / 'frames/1.png'}: expected a picture, found no file",
    ]


def test_bad_meshes_are_named(tracked: Path):
    np.save(tracked / "meshes/t0.npy", np.zeros((7, 3), np.float32))
    broken = np.load(tracked / "meshes/t1.npy")
    broken[3, 1] = np.nan
    np.save(tracked / "meshes/t1.npy", broken)
    (tracked / "meshes/t2.npy").unlink()
    changed(tracked, 1, mesh=None, expression={"jawOpen": 0.5})
    changed(tracked, 2, gaze=[0, 0, 2, 0])
    lines = problems(tracked)[1:]
    for line, words in zip(
        lines,
        [
            "line 3: expected gaze (4 numbers in -1..1), found [0, 0, 2, 0]",
            "frame 't0c1': expected a mesh as 5 other frames have, found none",
            "t0.npy: expected float32 of shape (642, 3), as the canonical mesh has, found float32 "
            "of shape (7, 3)",
            "t1.npy: expected finite vertices",
            "t2.npy: expected a tracked mesh, found no file",
        ],
        strict=True,
    ):
        assert words in line


def test_a_mesh_of_doubles_or_objects_is_refused(tracked: Path):
    np.save(tracked / "meshes/t0.npy", np.zeros((642, 3)))
    np.save(tracked / "meshes/t1.npy", np.array([{}]), allow_pickle=True)
    lines = problems(tracked)[1:]
    assert "found float64 of shape (642, 3)" in lines[0] and "t1.npy: expected a .npy" in lines[1]


@pytest.mark.parametrize("content", [None, "no mesh", "ply\nformat ascii 1.0\nend_header\n"])
def test_a_canonical_mesh_that_is_none(tracked: Path, content: str | None):
    path = tracked / "meshes/canonical.ply"
    path.unlink()
    if content is not None:
        path.write_text(content)
    (line,) = problems(tracked)
    assert line.startswith(f"{path}: expected ")


def test_meshes_without_a_canonical_one(tracked: Path):
    person = json.loads((tracked / "person.json").read_text())
    del person["mesh"]
    (tracked / "person.json").write_text(json.dumps(person))
    (line,) = problems(tracked)
    assert "person.json: expected mesh.canonical" in line


def test_the_command_line_prints_a_line_for_each_problem(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (data / "frames/4.png").unlink()
    (data / "frames/5.png").unlink()
    avatar = write_tiny_avatar(tmp_path / "avatar")
    assert main(["evaluate", "--ckpt", str(avatar), "--data", str(data)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("avatar-viewer: error: ")
    assert lines[2].endswith("5.png: expected a picture, found no file")
