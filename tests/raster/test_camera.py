import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit, head_turned, project, to_camera, to_clip, world_rays

FRONT = Orbit(azimuth_deg=0, elevation_deg=0, distance=2, target=(0, 0, 0), fov_deg=40)

coordinate = st.floats(-3, 3)
orbits = st.builds(
    Orbit,
    azimuth_deg=st.floats(-400, 400),
    elevation_deg=st.floats(-120, 120),
    distance=st.floats(0.1, 10),
    target=st.tuples(coordinate, coordinate, coordinate),
    fov_deg=st.floats(5, 120),
)


def position(orbit: Orbit) -> np.ndarray:
    matrix = orbit.camera(8, 8).matrix
    return -matrix[:3, :3].T @ matrix[:3, 3]


def offset(orbit: Orbit) -> np.ndarray:
    return position(orbit) - orbit.target


@given(orbits, st.floats(-300, 300), st.floats(-100, 100))
def test_orbiting_keeps_the_distance(orbit, d_azimuth, d_elevation):
    turned = orbit.orbited(d_azimuth, d_elevation)
    assert np.linalg.norm(offset(turned)) == pytest.approx(orbit.distance)
    assert turned.target == orbit.target


@given(orbits)
def test_target_lies_in_the_middle_of_the_picture(orbit):
    target = torch.tensor([orbit.target], dtype=torch.float64)
    pixels, depth = project(target, orbit.camera(30, 20))
    assert pixels[0].tolist() == pytest.approx([15, 10], abs=1e-6)
    assert depth.item() == pytest.approx(orbit.distance)


@given(orbits)
def test_world_up_points_up_in_the_picture(orbit):
    x, y, _ = orbit.camera(8, 8).matrix[:3, :3] @ (0, 1, 0)
    assert x == pytest.approx(0, abs=1e-9)
    assert y > 0


def test_sides():
    assert offset(FRONT).tolist() == pytest.approx([0, 0, 2])
    assert offset(FRONT.orbited(90, 0)).tolist() == pytest.approx([2, 0, 0])
    x, y, z = offset(FRONT.orbited(30, 20))
    assert x > 0 and y > 0 and z > 0


def test_elevation_stops_before_the_pole():
    assert FRONT.orbited(0, 500).elevation_deg == 89
    assert FRONT.orbited(0, -500).elevation_deg == -89


def test_whole_turns_come_back_to_the_same_view():
    assert FRONT.orbited(90, 0).orbited(270, 0) == FRONT


@pytest.mark.parametrize(
    ("pose_deg", "moved", "by"),
    [
        ((20, 0, 0), (0, 0, 0.5), (1, 0)),  # the nose goes to the subject's left, our right
        ((0, 20, 0), (0, 0, 0.5), (0, -1)),  # up
        ((0, 0, 20), (0, 0.5, 0), (-1, 0)),  # the crown goes to the subject's right
    ],
)
def test_a_head_that_is_turned_is_seen_so(pose_deg, moved, by):
    camera = FRONT.camera(100, 100)
    turned = head_turned(camera, pose_deg)
    points = torch.tensor([moved, (0.0, 0.0, 0.0)])
    before, after = (project(points, c)[0] for c in (camera, turned))
    way = after[0] - before[0]
    assert way @ torch.tensor(by, dtype=way.dtype) > 5
    assert torch.allclose(after[1], before[1], atol=1e-4)
    assert head_turned(camera, (0, 0, 0)).matrix == pytest.approx(camera.matrix)


def test_pan_moves_the_camera_in_its_own_plane():
    orbit = FRONT.orbited(90, 0)
    moved = np.subtract(orbit.panned(0.3, 0.2).target, orbit.target)
    assert moved.tolist() == pytest.approx([0, 0.2, -0.3])
    point = torch.tensor([orbit.target])
    pixels, _ = project(point, orbit.panned(0.3, 0.2).camera(100, 100))
    assert pixels[0, 0] < 50 and pixels[0, 1] > 50


def test_zoom_in_comes_closer():
    assert FRONT.zoomed(2).distance == 1
    assert FRONT.zoomed(0.5).distance == 4


def test_clip_planes_enclose_the_target():
    camera = FRONT.camera(8, 8)
    assert (camera.near, camera.far) == pytest.approx((0.1, 8))


def test_right_and_up_in_the_picture():
    pixels, depth = project(torch.tensor([[0.1, 0.2, 0.5]]), FRONT.camera(64, 48))
    scale = 24 / np.tan(np.radians(20)) / 1.5
    assert pixels[0].tolist() == pytest.approx([32 + 0.1 * scale, 24 - 0.2 * scale])
    assert depth.item() == pytest.approx(1.5)


def test_clip_space_agrees_with_projection():
    camera = FRONT.orbited(20, 10).camera(64, 48)
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    x, y, _, w = to_clip(points, camera).unbind(1)
    pixels, depth = project(points.double(), camera)
    torch.testing.assert_close(w, depth)
    torch.testing.assert_close((x / w + 1) * 32, pixels[:, 0])
    torch.testing.assert_close((1 - y / w) * 24, pixels[:, 1])


def test_clip_space_ends_at_near_and_far():
    camera = FRONT.camera(8, 8)
    points = torch.tensor([[0, 0, 2 - camera.near], [0, 0, 2 - camera.far]], dtype=torch.float64)
    _, _, z, w = to_clip(points, camera).unbind(1)
    torch.testing.assert_close(z / w, torch.tensor([-1.0, 1.0], dtype=torch.float64))


def test_to_camera_is_the_matrix_product():
    camera = FRONT.orbited(33, -12).panned(0.1, 0.2).camera(8, 8)
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).double()
    matrix = torch.from_numpy(camera.matrix)
    expected = points @ matrix[:3, :3].T + matrix[:3, 3]
    torch.testing.assert_close(to_camera(points, camera), expected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"distance": 0.0}, "distance"),
        ({"fov_deg": 180.0}, "fov_deg"),
        ({"azimuth_deg": float("nan")}, "finite"),
    ],
)
def test_bad_orbits_are_named(change, named):
    values = {
        "azimuth_deg": 0.0,
        "elevation_deg": 0.0,
        "distance": 1.0,
        "target": (0.0, 0.0, 0.0),
        "fov_deg": 40.0,
    }
    with pytest.raises(AvatarError, match=named):
        Orbit(**(values | change))


def test_zoom_must_be_positive():
    with pytest.raises(AvatarError, match="zoom"):
        FRONT.zoomed(0)


@given(orbits)
def test_rays_lead_back_to_what_their_pixels_show(orbit):
    camera = orbit.camera(5, 4)
    rays = world_rays(camera)
    depth = torch.linspace(0.5, 1.5, 20).view(4, 5) * orbit.distance
    points = rays.origin + depth[..., None] * rays.direction
    pixels, depths = project(points.flatten(0, 1).double(), camera)
    columns, rows = torch.meshgrid(torch.arange(5) + 0.5, torch.arange(4) + 0.5, indexing="xy")
    expected = torch.stack([columns, rows], dim=-1).flatten(0, 1).double()
    torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(depths, depth.flatten().double(), atol=1e-4, rtol=1e-4)
