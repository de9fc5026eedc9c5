import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_nphm import tiny_nphm

from avatar_viewer.avatar_folder import load_head
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.mesh_extraction import (
    Cut,
    Extraction,
    cut_away,
    extract_head,
    extract_surface,
    largest_piece,
)

AXES = [np.linspace(-0.6, 0.6, 38)] * 3


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda points: (points - torch.tensor(centre)).norm(dim=-1) - radius


def edges(faces):
    """Undirected edges [E,2] and how many faces have each."""
    sides = np.sort(np.asarray(faces)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(sides, axis=0, return_counts=True)


def open_edges(faces):
    found, counts = edges(faces)
    assert counts.max() <= 2  # manifold
    return found[counts == 1]


def test_a_sphere_is_closed_round_and_faces_outward():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 0.4).max() < 0.002
    assert len(open_edges(faces)) == 0
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    outward = (normals * (a + b + c)).sum(axis=1)
    assert (outward[np.linalg.norm(normals, axis=1) > 1e-9] > 0).all()


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(*[st.integers(34, 45)] * 3),
    st.sampled_from([(8, 3), (8,), (10, 3)]),
    st.floats(0.5, 20.0),
)
def test_coarse_to_fine_equals_the_plain_grid(counts, blocks, steepness):
    axes = [np.linspace(-0.6, 0.6, count) for count in counts]

    def bumpy(points):  # a surface with detail, and far from a distance
        return steepness * (sphere(0.4)(points) + 0.02 * torch.sin(12 * points).sum(dim=-1))

    fine, plain = extract_surface(bumpy, axes, blocks), extract_surface(bumpy, axes, ())
    np.testing.assert_array_equal(fine[1], plain[1])
    np.testing.assert_array_equal(fine[0], plain[0])


def test_the_demo_head_comes_out_as_on_the_plain_grid():
    head = load_head(DEMO_FOLDER / "head", torch.device("cpu"))
    config = head.nphm.config
    axes = [
        np.linspace(*ends, 49) for ends in zip(config["box_min"], config["box_max"], strict=True)
    ]

    def distance(points):
        with torch.no_grad():
            return head.nphm.sdf(points, head.identity)

    fine, plain = extract_surface(distance, axes), extract_surface(distance, axes, ())
    np.testing.assert_array_equal(fine[1], plain[1])
    # Which points are evaluated together changes the last bits.
    np.testing.assert_allclose(fine[0], plain[0], atol=1e-5)


def test_coarse_to_fine_asks_for_fewer_points():
    asked = []

    def counted(points):
        asked.append(len(points))
        return sphere(0.4)(points)

    extract_surface(counted, [np.linspace(-0.6, 0.6, 90)] * 3)
    assert sum(asked) < 0.2 * 90**3


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.floats(-0.5, 0.5)] * 3), st.floats(0.2, 0.5))
def test_only_the_box_opens_a_surface(centre, radius):
    vertices, faces = extract_surface(sphere(radius, centre), AXES)
    for vertex in np.unique(open_edges(faces)):
        assert np.isclose(np.abs(vertices[vertex]), 0.6, atol=1e-6).any()


def test_only_the_largest_piece_is_kept():
    small, large = sphere(0.12, (-0.4, 0, 0)), sphere(0.3, (0.2, 0, 0))
    vertices, faces = extract_surface(lambda p: torch.minimum(small(p), large(p)), AXES)
    assert vertices[:, 0].min() > -0.15
    assert int(faces.max()) == len(vertices) - 1


def test_largest_piece_of_two_triangles_and_one():
    faces = np.array([[0, 1, 2], [3, 4, 5], [4, 5, 6]])
    vertices, kept = largest_piece(np.arange(21.0).reshape(7, 3), faces)
    assert kept.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert vertices[0].tolist() == [9.0, 10.0, 11.0]


def test_no_surface_is_an_error():
    with pytest.raises(AvatarError, match="expected a surface inside the box, found none"):
        extract_surface(lambda points: torch.ones(len(points)), AXES)


@settings(deadline=None, max_examples=15)
@given(st.one_of(st.floats(-0.3, 0.3), st.sampled_from(list(AXES[0][12:26]))), st.floats(-1, 1))
@example(height=AXES[0][14], slope=0.0)  # through points of the grid
@example(height=AXES[0][12], slope=6e-8)  # all but through them
def test_only_the_cut_opens_a_cut_surface(height, slope):
    vertices, faces = extract_surface(sphere(0.4), AXES)
    point, normal = np.array([0.0, height, 0.0]), np.array([0.0, -1.0, slope])
    kept, kept_faces = cut_away(vertices, faces, point, normal)
    above = (kept - point) @ normal
    assert above.max() < 1e-9 and len(kept) < len(vertices)
    rim = np.unique(open_edges(kept_faces))
    assert len(rim) > 10
    np.testing.assert_allclose(above[rim], 0, atol=1e-9)


def test_a_plane_that_leaves_nothing_is_an_error():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    with pytest.raises(AvatarError, match="throat: expected a plane that leaves"):
        cut_away(vertices, faces, np.array([0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Extraction(cells=0), "cells: expected 2 or more, found 0"),
        (lambda: Extraction(triangles=-5), "triangles: expected 4 or more, found -5"),
        (lambda: Cut((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), "throat: expected a normal"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(AvatarError, match=message):
        make()


def test_a_head_model_is_extracted_in_its_box():
    nphm = tiny_nphm(detail_anchors=(0, 3))
    nphm.sdf = lambda points, identity: sphere(0.9)(points)
    identity = torch.zeros(nphm.identity_dim)
    head = extract_head(nphm, identity, Extraction(cells=40, triangles=1500))
    box_min, box_max = torch.tensor(nphm.config["box_min"]), torch.tensor(nphm.config["box_max"])
    assert (head.vertices >= box_min - 1e-5).all() and (head.vertices <= box_max + 1e-5).all()
    assert (head.vertices.norm(dim=1) - 0.9).abs().max() < 0.01
    assert len(head.faces) == pytest.approx(1500, rel=0.01)
    again = extract_head(nphm, identity, Extraction(cells=40, triangles=1500))
    assert torch.equal(head.vertices, again.vertices) and torch.equal(head.faces, again.faces)
    whole = extract_head(nphm, identity, Extraction(cells=40, triangles=None))
    assert len(whole.faces) > 2000


def test_a_throat_is_cut_in_metres_whatever_the_head_model_s_frame():
    nphm = tiny_nphm(
        axes="x = front, y = subject's left, z = up",
        units_per_metre=10.0,
        box_min=(-1.0, -1.0, -1.0),
        box_max=(1.0, 1.0, 1.0),
    )
    nphm.sdf = lambda points, identity: sphere(0.9)(points)
    throat = Cut(point_m=(0.0, -0.02, 0.0), normal=(0.0, -1.0, 0.0))
    head = extract_head(
        nphm, torch.zeros(nphm.identity_dim), Extraction(cells=40, triangles=1500, throat=throat)
    )
    lowest, highest = head.vertices.min(dim=0).values, head.vertices.max(dim=0).values
    assert lowest.tolist() == pytest.approx([-0.9, -0.9, -0.2], abs=0.01)
    assert highest.tolist() == pytest.approx([0.9, 0.9, 0.9], abs=0.01)
    rim = np.unique(open_edges(head.faces))
    np.testing.assert_allclose(head.vertices[rim, 2], -0.2, atol=1e-5)
