"""The backends: against each other, against ray casting, and at the awkward places."""

import sys

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster import numba_backend, nvdiffrast_backend, torch_backend
from avatar_viewer.raster.camera import Orbit, pixel_rays, project, to_camera
from avatar_viewer.stages import Camera, Hits

BACKENDS = pytest.mark.parametrize("hits", [torch_backend.hits, numba_backend.hits])
FRONT = Orbit(azimuth_deg=0, elevation_deg=0, distance=2, target=(0, 0, 0), fov_deg=40)
CAMERA = FRONT.camera(32, 24)


def triangles(*corners) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles that share no vertex, from [F,3,3]."""
    vertices = torch.tensor(np.array(corners), dtype=torch.float32).reshape(-1, 3)
    return vertices, torch.arange(len(vertices), dtype=torch.int32).reshape(-1, 3)


def sphere(subdivisions: int) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    return torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces).int()


def ray_cast(vertices, faces, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slow and by another road: solve ray = b0 p0 + b1 p1 + b2 p2 for each pixel and triangle.

    Returns triangle [H,W], barycentrics [H,W,2], and how clear the answer was [H,W]: the distance
    of any barycentric from 0, or of two depths from each other.
    """
    corners = to_camera(vertices, camera).numpy()[faces.numpy()]
    x, y = np.meshgrid(*pixel_rays(camera))
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1)
    best = np.full(x.shape, camera.far)
    triangle = np.full(x.shape, -1)
    barycentric = np.zeros((*x.shape, 2))
    clarity = np.full(x.shape, np.inf)
    for index, corner in enumerate(corners):
        if np.linalg.matrix_rank(corner) < 3:
            continue
        weights = rays @ np.linalg.inv(corner)
        total = weights.sum(axis=-1)
        depth = np.divide(1, total, out=np.full_like(total, -1), where=total != 0)
        share = weights * depth[..., None]
        inside = (share >= 0).all(axis=-1) & (depth >= camera.near)
        near_edge = np.abs(share).min(axis=-1)
        clarity = np.minimum(clarity, np.minimum(near_edge, np.abs(depth - camera.near)))
        clarity = np.where(inside, np.minimum(clarity, np.abs(depth - best)), clarity)
        nearer = inside & (depth < best)
        best[nearer], triangle[nearer] = depth[nearer], index
        barycentric[nearer] = share[nearer][:, :2]
    return triangle, barycentric, clarity


def assert_same(found: Hits, expected: Hits) -> None:
    torch.testing.assert_close(found.triangle, expected.triangle, rtol=0, atol=0)
    torch.testing.assert_close(found.barycentric, expected.barycentric, rtol=0, atol=0)


# Coarse numbers make shared depths, edges through pixel centres and degenerate triangles likely.
coarse = st.integers(-12, 12).map(lambda i: i / 4)
anywhere = st.one_of(coarse, st.floats(-3, 3, width=32))
corner = st.tuples(anywhere, anywhere, anywhere)
cameras = st.builds(
    lambda azimuth, elevation, distance, size: Orbit(
        azimuth, elevation, distance, (0.0, 0.0, 0.0), 60.0
    ).camera(*size),
    st.sampled_from([0.0, 90.0, 33.0, -120.0]),
    st.floats(-89, 89),
    st.floats(0.5, 5),
    st.sampled_from([(16, 16), (7, 12), (20, 5), (1, 1)]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=12), cameras)
def test_backends_agree_to_the_last_bit(corners, camera):
    vertices, faces = triangles(*corners)
    assert_same(
        numba_backend.hits(vertices, faces, camera), torch_backend.hits(vertices, faces, camera)
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=6), cameras)
def test_agrees_with_ray_casting(corners, camera):
    vertices, faces = triangles(*corners)
    found = numba_backend.hits(vertices, faces, camera)
    triangle, barycentric, clarity = ray_cast(vertices, faces, camera)
    clear = clarity > 1e-6
    np.testing.assert_array_equal(found.triangle.numpy()[clear], triangle[clear])
    np.testing.assert_allclose(
        found.barycentric.numpy()[clear], barycentric[clear], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("distance", [2.0, 0.6, 0.3])
@pytest.mark.parametrize("size", [(64, 64), (80, 40), (33, 65)])
def test_backends_agree_on_a_closed_mesh(distance, size):
    """From outside, very close (clipped), and from inside."""
    camera = Orbit(30, 20, distance, (0.0, 0.0, 0.0), 60).camera(*size)
    vertices, faces = sphere(3)
    expected = torch_backend.hits(vertices, faces, camera)
    assert (expected.triangle >= 0).any()
    assert_same(numba_backend.hits(vertices, faces, camera), expected)


def test_chunks_do_not_change_the_reference(monkeypatch):
    vertices, faces = sphere(2)
    expected = torch_backend.hits(vertices, faces, CAMERA)
    monkeypatch.setattr(torch_backend, "CANDIDATES_PER_CHUNK", 37)
    assert_same(torch_backend.hits(vertices, faces, CAMERA), expected)


@BACKENDS
@pytest.mark.parametrize("roll_deg", [0.0, 35.0, 180.0])
def test_near_plane_cuts_where_it_should(hits, roll_deg):
    """A floor from behind the camera to the distance: rays meet it at height / slope, or never."""
    roll = np.radians(roll_deg)
    right, up = (
        np.array([np.cos(roll), np.sin(roll), 0]),
        np.array([-np.sin(roll), np.cos(roll), 0]),
    )
    height, front = -0.03, np.array([0, 0, 1])
    vertices, faces = triangles(
        [height * up + 900 * x * right + z * front for x, z in ((-1, 40), (1, 40), (0, -900))]
    )
    found = hits(vertices, faces, CAMERA)

    x, y = np.meshgrid(*pixel_rays(CAMERA))
    slope = torch.from_numpy(x * up[0] + y * up[1])
    depth = torch.where(slope < 0, height / slope, torch.inf)
    expected = (depth >= CAMERA.near) & (depth <= CAMERA.far)
    assert torch.equal(found.triangle >= 0, expected)
    assert (depth < CAMERA.near).any() and (depth > CAMERA.far).any() and expected.any()

    weights = found.barycentric.double()
    weights = torch.cat([weights, 1 - weights.sum(2, keepdim=True)], dim=2)
    found_depth = 2 - (weights @ vertices.double())[..., 2]
    torch.testing.assert_close(found_depth[expected], depth[expected], rtol=1e-4, atol=1e-3)


@BACKENDS
def test_near_plane_leaves_nothing_of_what_is_closer(hits):
    z = 2 - 0.5 * CAMERA.near
    vertices, faces = triangles([(-1, -1, z), (1, -1, z), (0, 1, z)])
    assert (hits(vertices, faces, CAMERA).triangle == -1).all()


@BACKENDS
@pytest.mark.parametrize(
    "shift",
    [(50, 0, 0), (-50, 0, 0), (0, 50, 0), (0, -50, 0), (0, 0, 50), (0, 0, -50)],
    ids=["right", "left", "above", "below", "behind", "beyond far"],
)
def test_out_of_view_is_an_empty_picture(hits, shift):
    vertices, faces = sphere(1)
    found = hits(vertices + torch.tensor(shift), faces, CAMERA)
    assert (found.triangle == -1).all()
    assert (found.barycentric == 0).all()


@BACKENDS
def test_no_triangles_are_an_empty_picture(hits):
    found = hits(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), CAMERA)
    assert found.triangle.shape == (24, 32)
    assert (found.triangle == -1).all()


@BACKENDS
@pytest.mark.parametrize(
    "bad",
    [
        [(0, 0, 1), (0, 0, 1), (0, 0, 1)],
        [(-1, 0.01, 1), (0, 0.01, 1), (1, 0.01, 1)],
        [(0, 0, 1), (0, 0, 1), (1, 1, 1)],
        [(float("nan"), 0, 1), (1, 0, 1), (0, 1, 1)],
        [(-1, -1, 1), (1, -1, float("nan")), (0, 1, 1)],
        [(float("inf"), 0, 1), (1, 0, 1), (0, 1, 1)],
        [(0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 2.0)],
    ],
    ids=["point", "line", "two corners equal", "nan x", "nan z", "inf", "through the camera"],
)
def test_bad_triangles_are_skipped_and_hide_nothing(hits, bad):
    good = [(-2, -2, 0), (2, -2, 0), (0, 3, 0)]
    vertices, faces = triangles(bad, good)
    found = hits(vertices, faces, CAMERA)
    alone = hits(*triangles(good), CAMERA)
    assert torch.equal(found.triangle, torch.where(alone.triangle >= 0, 1, -1).int())
    assert torch.equal(found.barycentric, alone.barycentric)


@BACKENDS
def test_shared_edges_have_no_holes(hits):
    """A wavy sheet fills the picture; its diagonals and rows run through pixel centres."""
    count = 25
    lines = torch.linspace(-3, 3, count)
    y, x = torch.meshgrid(lines, lines, indexing="ij")
    wave = 0.2 * torch.sin(3 * x) * torch.cos(2 * y)
    vertices = torch.stack([x, y, wave], dim=2).reshape(-1, 3)
    corner = torch.arange(count * count).reshape(count, count)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    faces = torch.cat(
        [torch.stack([a, b, d], 2).reshape(-1, 3), torch.stack([a, d, c], 2).reshape(-1, 3)]
    ).int()
    for size in ((32, 32), (48, 48), (31, 47)):
        for azimuth in (0.0, 15.0):
            camera = FRONT.orbited(azimuth, 0).camera(*size)
            assert (hits(vertices, faces, camera).triangle >= 0).all()


@BACKENDS
def test_pixel_centre_on_an_edge_goes_to_the_lower_index(hits):
    camera = FRONT.camera(5, 5)
    left = [(0, -3, 0), (0, 3, 0), (-3, 0, 0)]
    right = [(0, -3, 0), (3, 0, 0), (0, 3, 0)]
    for first, second in ((left, right), (right, left)):
        found = hits(*triangles(first, second), camera)
        assert (found.triangle[:, 2] == 0).all()


@BACKENDS
def test_nearer_wins_in_either_order(hits):
    near = [(-2, -2, 0.5), (2, -2, 0.5), (0, 3, 0.5)]
    far = [(-2, -2, -0.5), (2, -2, -0.5), (0, 3, -0.5)]
    assert hits(*triangles(near, far), CAMERA).triangle[12, 16] == 0
    assert hits(*triangles(far, near), CAMERA).triangle[12, 16] == 1


@BACKENDS
def test_both_sides_are_drawn(hits):
    front = [(-1, -1, 0), (1, -1, 0), (0, 1, 0)]
    drawn = hits(*triangles(front), CAMERA).triangle
    turned = hits(*triangles(front[::-1]), CAMERA).triangle
    assert (drawn == 0).any()
    assert torch.equal(drawn, turned)


@BACKENDS
def test_pixels_lie_where_project_says(hits):
    """The hit point of each pixel projects to that pixel's centre; so x, y and sizes are right."""
    camera = FRONT.orbited(25, -15).camera(40, 28)
    vertices, faces = sphere(2)
    found = hits(vertices, faces, camera)
    row, column = (found.triangle >= 0).nonzero(as_tuple=True)
    u, v = found.barycentric[row, column].double().unbind(1)
    a, b, c = vertices.double()[faces[found.triangle[row, column].long()].long()].unbind(1)
    points = u[:, None] * a + v[:, None] * b + (1 - u - v)[:, None] * c
    pixels, _ = project(points, camera)
    expected = torch.stack([column + 0.5, row + 0.5], dim=1).double()
    assert len(row) > 100
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-4)


def test_numba_leaves_its_inputs_alone():
    vertices, faces = sphere(1)
    before = vertices.clone(), faces.clone()
    numba_backend.hits(vertices, faces.long(), CAMERA)
    assert torch.equal(vertices, before[0]) and torch.equal(faces, before[1])


def test_missing_nvdiffrast_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)
    monkeypatch.setitem(sys.modules, "nvdiffrast", None)
    with pytest.raises(AvatarError, match=r"nvdiffrast is not installed.*README"):
        nvdiffrast_backend.hits(*sphere(1), CAMERA)


@pytest.mark.gpu
def test_nvdiffrast_agrees_inside_triangles():
    pytest.importorskip("nvdiffrast")
    camera = FRONT.orbited(25, -15).camera(96, 72)
    vertices, faces = sphere(2)
    expected = torch_backend.hits(vertices, faces, camera)
    found = nvdiffrast_backend.hits(vertices.cuda(), faces.cuda(), camera)
    same = found.triangle.cpu() == expected.triangle
    assert same.float().mean() > 0.98
    torch.testing.assert_close(
        found.barycentric.cpu()[same], expected.barycentric[same], rtol=0, atol=5e-3
    )


@pytest.mark.gpu
def test_reference_on_cuda_agrees_with_the_cpu():
    vertices, faces = sphere(2)
    expected = torch_backend.hits(vertices, faces, CAMERA)
    found = torch_backend.hits(vertices.cuda(), faces.cuda(), CAMERA)
    assert (found.triangle.cpu() == expected.triangle).float().mean() > 0.99
