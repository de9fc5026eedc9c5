"""The mesh's edges as a picture."""

import numpy as np
import pytest
import torch

from avatar_viewer.raster.camera import Orbit, project
from avatar_viewer.raster.gbuffer import find_hits
from avatar_viewer.raster.wireframe import LINE_LEVEL, edge_distance, wireframe
from avatar_viewer.stages import HeadMesh

CAMERA = Orbit(20, 10, 4, (0, 0, 0), 40).camera(48, 40)
CORNERS = torch.tensor([(-1.0, -1, 0), (1, -0.8, 0.3), (0.9, 1, 0), (-1, 0.7, -0.4)])
SQUARE = torch.tensor([(0, 1, 2), (0, 2, 3)], dtype=torch.int32)


def mesh(vertices: torch.Tensor = CORNERS, faces: torch.Tensor = SQUARE) -> HeadMesh:
    normals = torch.tensor([(0.0, 0, 1)]).expand(vertices.shape)
    return HeadMesh(vertices, vertices, normals, faces)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_distances_are_those_of_the_triangles_lines(backend):
    hits = find_hits(mesh(), CAMERA, backend)
    found = edge_distance(hits, mesh(), CAMERA)
    points = project(CORNERS, CAMERA)[0].double().numpy()
    seen = 0
    for y, x in np.ndindex(CAMERA.height, CAMERA.width):
        triangle = int(hits.triangle[y, x])
        if triangle < 0:
            assert found[y, x] == torch.inf
            continue
        seen += 1
        corners = points[SQUARE[triangle].numpy()]
        distances = []
        for a, b in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            nearest = a + (b - a) * np.dot((x + 0.5, y + 0.5) - a, b - a) / np.dot(b - a, b - a)
            distances.append(np.linalg.norm((x + 0.5, y + 0.5) - nearest))
        assert float(found[y, x]) == pytest.approx(min(distances), abs=1e-3)
    assert seen > 300


def test_edges_are_dark_and_the_surface_between_them_light():
    rgb = wireframe(mesh(), CAMERA)
    assert rgb.shape == (40, 48, 3) and rgb.dtype == np.uint8
    assert (rgb[..., :1] == rgb).all() and (rgb[0, 0] == 255).all()
    distance = edge_distance(find_hits(mesh(), CAMERA), mesh(), CAMERA).numpy()
    inside = rgb[np.isfinite(distance) & (distance > 2), 0]
    assert len(inside) > 100 and (inside > 140).all() and (inside < 255).all()
    on_line = rgb[distance < 0.2, 0]
    assert len(on_line) > 20 and on_line.mean() < inside.min() - 40
    assert rgb.min() > LINE_LEVEL * 255 - 1


def test_what_lies_behind_is_hidden():
    behind = CORNERS * torch.tensor((0.5, 0.5, 1)) - torch.tensor((0.0, 0, 2))
    both = mesh(torch.cat([CORNERS, behind]), torch.cat([SQUARE, SQUARE + 4]))
    camera = Orbit(0, 0, 4, (0, 0, 0), 40).camera(48, 40)
    assert (wireframe(both, camera) == wireframe(mesh(), camera)).all()


def test_a_triangle_that_reaches_behind_the_camera_has_no_edges():
    near = mesh(torch.tensor([(-1.0, -1, 0), (1, -1, 0), (0, 1, 9)]), SQUARE[:1])
    camera = Orbit(0, 0, 4, (0, 0, 0), 40).camera(48, 40)
    hits = find_hits(near, camera)
    assert (hits.triangle >= 0).any()
    assert (edge_distance(hits, near, camera) == torch.inf).all()
    assert wireframe(near, camera).min() > 140


def test_the_largest_picture_is_not_drawn_larger():
    camera = Orbit(0, 0, 4, (0, 50.0, 0), 40).camera(4096, 2)
    assert (wireframe(mesh(), camera) == 255).all()
