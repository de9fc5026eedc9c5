import numpy as np
import pytest
import torch
from tiny_nphm import tiny_nphm

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.mesh_extraction import (
    Resolution,
    extract_head,
    extract_surface,
    largest_piece,
    thinned,
)

AXES = [np.linspace(-0.6, 0.6, 38)] * 3


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda points: (points - torch.tensor(centre)).norm(dim=-1) - radius


def open_edges(faces):
    edges = np.sort(faces.numpy()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return int((counts == 1).sum())


def test_a_sphere_is_closed_round_and_faces_outward():
    head = extract_surface(sphere(0.4), AXES)
    assert (head.vertices.norm(dim=1) - 0.4).abs().max() < 0.002
    assert open_edges(head.faces) == 0
    a, b, c = head.vertices[head.faces.long()].unbind(1)
    outward = (torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(dim=1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    assert (outward[area > 1e-9] > 0).all()


def test_coarse_to_fine_equals_dense_and_asks_for_fewer_points():
    asked = []

    def counted(points):
        asked.append(len(points))
        # Two bumps: a surface with detail, and with a gradient above one.
        return sphere(0.4)(points) + 0.02 * torch.sin(12 * points).sum(dim=-1)

    fine = extract_surface(counted, AXES)
    coarse_count = sum(asked)
    dense = extract_surface(counted, AXES, coarse_to_fine=False)
    assert torch.equal(fine.vertices, dense.vertices) and torch.equal(fine.faces, dense.faces)
    assert coarse_count < 0.7 * (sum(asked) - coarse_count)


def test_the_box_cuts_the_surface_open():
    head = extract_surface(sphere(0.4, (0.0, -0.6, 0.0)), AXES)
    assert open_edges(head.faces) > 20
    assert head.vertices[:, 1].min() >= -0.6 - 1e-6


def test_only_the_largest_piece_is_kept():
    small, large = sphere(0.12, (-0.4, 0, 0)), sphere(0.3, (0.2, 0, 0))
    head = extract_surface(lambda p: torch.minimum(small(p), large(p)), AXES)
    assert head.vertices[:, 0].min() > -0.15
    assert int(head.faces.max()) == len(head.vertices) - 1


def test_largest_piece_of_two_triangles_and_one():
    faces = np.array([[0, 1, 2], [3, 4, 5], [4, 5, 6]])
    vertices, kept = largest_piece(np.arange(21.0).reshape(7, 3), faces)
    assert kept.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert vertices[0].tolist() == [9.0, 10.0, 11.0]


def test_no_surface_is_an_error():
    with pytest.raises(AvatarError, match="expected a surface inside the box, found none"):
        extract_surface(lambda points: torch.ones(len(points)), AXES)


def test_thinning_keeps_the_details_and_the_shape():
    head = extract_surface(sphere(0.4), AXES)
    detail = ((-1.0, 0.1, -1.0), (1.0, 1.0, 1.0))
    thin = thinned(head, Resolution(coarse=0.1, details=(detail,)))
    kept = {tuple(vertex) for vertex in thin.vertices.tolist()}
    upper = {tuple(vertex) for vertex in head.vertices.tolist() if vertex[1] >= 0.1}
    assert upper <= kept and len(kept) < 0.7 * len(head.vertices)
    assert (thin.vertices.norm(dim=1) - 0.4).abs().max() < 0.02
    assert open_edges(thin.faces) == 0
    assert len(thin.faces.unique()) == len(thin.vertices)


def test_a_head_model_is_extracted_in_its_box():
    nphm = tiny_nphm()
    nphm.sdf = lambda points, identity: sphere(0.9)(points)
    head = extract_head(nphm, torch.zeros(nphm.identity_dim), Resolution(fine=0.05, coarse=0.06))
    box_min, box_max = torch.tensor(nphm.config["box_min"]), torch.tensor(nphm.config["box_max"])
    assert (head.vertices >= box_min - 1e-5).all() and (head.vertices <= box_max + 1e-5).all()
    assert (head.vertices.norm(dim=1) - 0.9).abs().max() < 0.01
