import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mesh_extraction import AXES, open_edges, sphere

from avatar_viewer.head.decimation import decimate
from avatar_viewer.head.mesh_extraction import extract_surface

NOWHERE = np.zeros((0, 3))
DETAILS = np.array([[0.0, 0.0, 0.4], [0.4, 0.0, 0.0]])


def test_the_shape_and_the_count_are_kept():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    few, few_faces = decimate(vertices, faces, 1000, NOWHERE, 0.0)
    assert abs(len(few_faces) - 1000) <= 10
    assert np.abs(np.linalg.norm(few, axis=1) - 0.4).max() < 0.004
    assert len(open_edges(few_faces)) == 0
    volume = trimesh.Trimesh(few, few_faces).volume
    assert np.isclose(volume, 4 / 3 * np.pi * 0.4**3, rtol=0.02)  # its sign: faces look outward


def test_details_are_kept_exactly_and_welded():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    few, few_faces = decimate(vertices, faces, 2500, DETAILS, 0.15)
    near = np.linalg.norm(vertices[:, None] - DETAILS, axis=2).min(axis=1) < 0.1
    kept = {vertex.tobytes() for vertex in few}
    assert near.sum() > 40 and all(vertex.tobytes() in kept for vertex in vertices[near])
    assert abs(len(few_faces) - 2500) <= 25
    assert len(open_edges(few_faces)) == 0  # no crack along the seam


def test_details_take_half_of_the_triangles_at_most():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    few, few_faces = decimate(vertices, faces, 600, DETAILS, 0.5)
    assert abs(len(few_faces) - 600) <= 6 and len(open_edges(few_faces)) == 0
    assert np.abs(np.linalg.norm(few, axis=1) - 0.4).max() < 0.02


def test_the_border_of_an_open_mesh_stays():
    vertices, faces = extract_surface(sphere(0.4, (0.0, -0.4, 0.0)), AXES)
    few, few_faces = decimate(vertices, faces, 800, DETAILS, 0.05)
    border = vertices[np.unique(open_edges(faces))]
    left = few[np.unique(open_edges(few_faces))]
    assert {v.tobytes() for v in border} == {v.tobytes() for v in left}


@settings(deadline=None, max_examples=10)
@given(st.tuples(*[st.floats(-0.45, 0.45)] * 3), st.integers(700, 2500), st.floats(0.0, 0.5))
def test_decimation_opens_and_turns_nothing(centre, triangles, radius):
    vertices, faces = extract_surface(sphere(0.4, centre), AXES)
    few, few_faces = decimate(vertices, faces, triangles, DETAILS + centre, radius)
    kept = {vertex.tobytes() for vertex in vertices[np.unique(open_edges(faces))]}
    assert {vertex.tobytes() for vertex in few[np.unique(open_edges(few_faces))]} == kept
    mesh = trimesh.Trimesh(few, few_faces, process=False)
    assert mesh.is_winding_consistent and mesh.body_count == 1
    outward = (mesh.face_normals * (mesh.triangles_center - centre)).sum(axis=1)
    assert (outward[mesh.area_faces > 1e-9] > 0).all()


def test_decimation_is_close_both_ways_and_repeatable():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    few, few_faces = decimate(vertices, faces, 2000, DETAILS, 0.1)
    again, again_faces = decimate(vertices, faces, 2000, DETAILS, 0.1)
    assert np.array_equal(few, again) and np.array_equal(few_faces, again_faces)
    for a, b in (((vertices, faces), (few, few_faces)), ((few, few_faces), (vertices, faces))):
        points = trimesh.sample.sample_surface(trimesh.Trimesh(*a), 100, seed=0)[0]
        triangles = b[0][b[1]]
        nearest = [
            trimesh.triangles.closest_point(triangles, np.tile(point, (len(triangles), 1)))
            for point in points
        ]
        distance = np.linalg.norm(np.array(nearest) - points[:, None], axis=2).min(axis=1)
        assert distance.max() < 0.002 and distance.mean() < 0.0005


def test_a_small_mesh_is_left_alone():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    same, same_faces = decimate(vertices, faces, len(faces), DETAILS, 0.1)
    assert same is vertices and same_faces is faces
