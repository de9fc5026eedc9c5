"""The data set format: its reader, its cameras in head units, its pictures over white."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import tiny_person, write_tiny_frames

from avatar_viewer.data.frames import FrameRecord, HeadFrame, read_frames
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit, project

EYE = np.eye(4).ravel().tolist()
GOOD = {
    "id": "a",
    "file": "frames/a.png",
    "split": "train",
    "kind": "corner: neutral",
    "expression": {"jawOpen": 0.25},
    "camera": {"camera_from_world": EYE, "fov_deg": 20.0},
}


def written(folder: Path, *lines: dict | str) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "frames.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def error_line(folder: Path, split: str | None = None) -> str:
    with pytest.raises(AvatarError) as caught:
        read_frames(folder, split)
    line = str(caught.value)
    assert line.startswith(str(folder / "frames.jsonl")) and "expected" in line
    assert len(line.splitlines()) == 1
    return line


def test_records_come_in_the_order_of_their_ids_by_split(tmp_path: Path):
    written(
        tmp_path,
        GOOD | {"id": "c"},
        "",
        GOOD | {"id": "b", "split": "test", "expression": {}},
        {key: value for key, value in GOOD.items() if key != "kind"},
    )
    assert [r.id for r in read_frames(tmp_path)] == ["a", "b", "c"]
    first, last = read_frames(tmp_path, "train")
    assert (first.id, first.kind, last.kind) == ("a", "", "corner: neutral")
    assert first.path == tmp_path / "frames/a.png" and first.expression == {"jawOpen": 0.25}
    (test,) = read_frames(tmp_path, "test")
    assert test.expression == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "a JSON object"),
        ("[]", "field 'id'"),
        ("5", "field 'id'"),
        ({k: v for k, v in GOOD.items() if k != "split"}, "field 'split' (str)"),
        (GOOD | {"id": 5}, "field 'id' (str)"),
        (GOOD | {"expression": ["jawOpen"]}, "field 'expression' (dict)"),
        (GOOD | {"expression": {"jawOpen": 1.5}}, "jawOpen in 0..1, found 1.5"),
        (GOOD | {"expression": {"jawOpen": "wide"}}, "jawOpen in 0..1, found the text 'wide'"),
        (GOOD | {"expression": {"jawOpen": None}}, "jawOpen in 0..1, found None"),
        (GOOD | {"expression": {"jawOpen": float("nan")}}, "jawOpen in 0..1, found nan"),
        (GOOD | {"camera": {"fov_deg": 20}}, "camera.camera_from_world"),
        (GOOD | {"camera": {"camera_from_world": EYE}}, "camera.fov_deg"),
        (GOOD | {"camera": {"camera_from_world": EYE[:15], "fov_deg": 20}}, "(16 numbers)"),
        (GOOD | {"camera": {"camera_from_world": [2.0] * 16, "fov_deg": 20}}, "a rigid 4x4"),
        (GOOD | {"camera": {"camera_from_world": EYE, "fov_deg": 200}}, "(0, 180)"),
        (GOOD | {"camera": {"camera_from_world": EYE, "fov_deg": "wide"}}, "wide"),
        (GOOD | {"camera": {"camera_from_world": None, "fov_deg": 20}}, "(16 numbers)"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: dict | str, words: str):
    found = error_line(written(tmp_path, GOOD, "", line))
    assert found.startswith(f"{tmp_path / 'frames.jsonl'}, line 3: ") and words in found


def test_files_without_what_is_wanted(tmp_path: Path):
    assert "found no file" in error_line(tmp_path)
    written(tmp_path, GOOD, GOOD | {"id": "b", "split": "val"})
    assert "split 'test', found train, val" in error_line(tmp_path, "test")
    written(tmp_path)
    assert "found no frames" in error_line(tmp_path)
    (tmp_path / "frames.jsonl").write_bytes(b"\xff\xfe\x00")
    error_line(tmp_path)


# Cameras.

metres = st.floats(-0.5, 0.5)


@given(
    eye=st.builds(
        Orbit,
        azimuth_deg=st.floats(-80, 80),
        elevation_deg=st.floats(-40, 40),
        distance=st.floats(0.4, 2),
        target=st.tuples(metres, metres, metres),
        fov_deg=st.floats(10, 60),
    ),
    origin=st.tuples(metres, metres, metres),
    offset=st.tuples(*[st.floats(-0.1, 0.1)] * 3),
    units_per_metre=st.sampled_from([1.0, 4.0, 0.1]),
    zoom=st.sampled_from([1.0, 1.3, 2.5]),
)
def test_a_converted_camera_sees_every_point_where_the_data_sets_own_does(
    eye: Orbit, origin, offset, units_per_metre: float, zoom: float
):
    size = 512
    matrix = eye.camera(size, size).matrix
    record = {"camera_from_world": matrix.ravel().tolist(), "fov_deg": eye.fov_deg}
    point_m = np.array(eye.target) + offset
    # The format's own formula, then enlarged about the picture's centre.
    x, y, z = matrix[:3, :3] @ point_m + matrix[:3, 3]
    focal = size / 2 / np.tan(np.radians(eye.fov_deg) / 2)
    expected = size / 2 + zoom * focal * np.array([x, -y]) / -z

    camera = HeadFrame(origin, units_per_metre).camera(record, size, zoom)
    point = torch.from_numpy((point_m - origin) * units_per_metre)[None]
    pixel, depth = project(point, camera)
    np.testing.assert_allclose(
        pixel[0].numpy(), expected, atol=1e-6 * np.abs(expected).max() + 1e-6
    )
    assert depth.item() == pytest.approx(-z * units_per_metre)
    assert (camera.width, camera.height) == (size, size)


def test_the_head_lies_between_near_and_far():
    matrix = np.eye(4)
    matrix[:3, 3] = (0.1, 0.0, -0.9)
    frame = HeadFrame((0.0, 0.1, 0.05), 4.0)
    camera = frame.camera({"camera_from_world": matrix.ravel(), "fov_deg": 20}, 64)
    distance = 4 * (0.9 - 0.05)
    assert camera.near < distance - 1 and distance + 1 < camera.far


# Pictures.


def picture(folder: Path, rgba: np.ndarray) -> FrameRecord:
    Image.fromarray(rgba).save(folder / "a.png")
    return FrameRecord("a", folder / "a.png", "train", "", {}, GOOD["camera"])


def test_pictures_lie_over_white(tmp_path: Path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 100
    rgba[:2, :, 3] = 255
    rgba[2:, :2, 3] = 128
    rgb = picture(tmp_path, rgba).rgb(4)
    assert rgb.dtype == np.uint8 and (rgb[:2] == (100, 0, 0)).all()
    share = 128 / 255
    expected = np.round([share * 100 + (1 - share) * 255, *2 * [(1 - share) * 255]])
    assert (rgb[2:, :2] == expected).all() and (rgb[2:, 2:] == 255).all()
    opaque = picture(tmp_path, rgba[..., :3]).rgb(4)
    assert (opaque == (100, 0, 0)).all()


def test_pictures_are_averaged_down(tmp_path: Path):
    rgba = np.full((4, 4, 4), 255, np.uint8)
    rgba[..., 1] = np.arange(16).reshape(4, 4) * 10
    rgb = picture(tmp_path, rgba).rgb(2)
    np.testing.assert_array_equal(rgb[..., 1], [[25, 45], [105, 125]])


def test_zoom_crops_about_the_centre(tmp_path: Path):
    y, x = np.mgrid[:64, :64].astype(np.float64)
    rgba = np.stack([2 * x, 3 * y, np.zeros_like(x), np.full_like(x, 255)], -1).astype(np.uint8)
    record = picture(tmp_path, rgba)
    zoom, size = 2.0, 32
    rgb = record.rgb(size, zoom=zoom).astype(np.float64)
    # Pixel centres of the crop in pixels of the whole picture, less the half of the first centre.
    source = 32 + (np.arange(size) + 0.5 - size / 2) * 64 / size / zoom - 0.5
    inner = slice(2, -2)
    np.testing.assert_allclose(rgb[size // 2, inner, 0], 2 * source[inner], atol=1.5)
    np.testing.assert_allclose(rgb[inner, size // 2, 1], 3 * source[inner], atol=1.5)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_picture_that_is_none_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AvatarError, match=r"a\.png: expected a readable picture") as caught:
        FrameRecord("a", path, "train", "", {}, GOOD["camera"]).rgb(4)
    assert "\n" not in str(caught.value)


def test_a_cut_picture_and_one_that_is_not_square(tmp_path: Path):
    record = picture(tmp_path, np.random.default_rng(0).integers(0, 255, (64, 64, 4), np.uint8))
    record.path.write_bytes(record.path.read_bytes()[:5000])
    with pytest.raises(AvatarError, match=r"a\.png: expected a readable picture"):
        record.rgb(8)
    wide = picture(tmp_path, np.zeros((4, 6, 4), np.uint8))
    with pytest.raises(AvatarError, match=r"a\.png: expected a square picture, found 6x4 pixels"):
        wide.rgb(4)


# The person whom a data set shows.


def test_a_person_is_rasterized_as_the_frames_camera_sees_it(tmp_path: Path):
    person = tiny_person(write_tiny_frames(tmp_path / "data"))
    record = person.frames("train")[1]
    plain, zoomed = person.gbuffer(record, 32), person.gbuffer(record, 32, zoom=1.3)
    assert 0 < plain.mask.sum() < zoomed.mask.sum() < 32 * 32
    assert plain.mask[16, 16] and plain.depth[16, 16] == pytest.approx(2.5 - 0.42, abs=0.1)
    assert person.expression(record).values[0] == pytest.approx(record.expression["jawOpen"])
    with pytest.raises(AvatarError, match="split 'val', found test, train"):
        person.frames("val")
