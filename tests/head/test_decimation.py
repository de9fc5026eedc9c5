import numpy as np
import trimesh
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


def test_a_small_mesh_is_left_alone():
    vertices, faces = extract_surface(sphere(0.4), AXES)
    same, same_faces = decimate(vertices, faces, len(faces), DETAILS, 0.1)
    assert same is vertices and same_faces is faces
