"""Where the head's frame lies in a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_nphm
from tracked_data import WORLD_FROM_HEAD, cameras, head_frame, to_metres

from avatar_viewer.data.head_frame import read_head_frame, read_world_from_head
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.frame import ORIGIN_FROM_EYES_M
from avatar_viewer.raster.camera import project


def test_a_turned_head_is_seen_where_the_data_sets_own_camera_sees_it():
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 3))
    points_m = to_metres(points)
    np.testing.assert_allclose(head_frame().points(points_m), points, atol=1e-9)
    for record in cameras():
        matrix = np.array(record["camera_from_world"]).reshape(4, 4)
        x, y, z = (points_m @ matrix[:3, :3].T + matrix[:3, 3]).T
        focal = 32 / np.tan(np.radians(record["fov_deg"]) / 2)
        expected = np.stack([32 + focal * x / -z, 32 - focal * y / -z], 1)
        pixels, _ = project(torch.from_numpy(points), head_frame().camera(record, 64))
        np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)


def test_it_is_read_from_the_persons_file(tmp_path: Path):
    path = tmp_path / "person.json"
    path.write_text(json.dumps({"world_from_head": WORLD_FROM_HEAD.tolist()}))
    found = read_head_frame(tmp_path, tiny_nphm())
    assert found.units_per_metre == 4.0 and found.origin_m == (0.3, 1.6, -0.2)
    np.testing.assert_allclose(found.axes, WORLD_FROM_HEAD[:3, :3])
    path.write_text(json.dumps({"mesh": {"eye_centre_m": [0.0, 0.7, 0.1]}}))
    matrix = read_world_from_head(tmp_path)
    np.testing.assert_allclose(matrix[:3, 3], np.add((0, 0.7, 0.1), ORIGIN_FROM_EYES_M))
    np.testing.assert_array_equal(matrix[:3, :3], np.eye(3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "world_from_head (16 numbers) or mesh.eye_centre_m (3 numbers), found none"),
        ({"mesh": {"eye_centre_m": [0, 1]}}, "mesh.eye_centre_m (3 numbers)"),
        ({"mesh": {"eye_centre_m": [0, float("nan"), 1]}}, "mesh.eye_centre_m (3 numbers)"),
        ({"world_from_head": [1, 2, 3]}, "world_from_head: expected 16 numbers"),
        ({"world_from_head": "here"}, "world_from_head: expected 16 numbers"),
        ({"world_from_head": [1.1] * 16}, "world_from_head: expected a rigid 4x4 matrix"),
    ],
)
def test_a_head_that_lies_nowhere(tmp_path: Path, content: dict, words: str):
    (tmp_path / "person.json").write_text(json.dumps(content))
    with pytest.raises(AvatarError) as caught:
        read_world_from_head(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "person.json"))
    assert words in str(caught.value)
