"""Catmull-Clark subdivision of a closed quad mesh, as one sparse matrix."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse


def catmull_clark(quads: np.ndarray, vertices: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One level: a matrix S and new quads, such that the new vertices are ``S @ old``.

    quads [Q,4] of a closed mesh -> S [vertices + edges + Q, vertices], quads [4Q,4].
    """
    count = len(quads)
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, edge_of_side = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    edge_of_side = edge_of_side.reshape(-1)
    face_of_corner = np.repeat(np.arange(count), 4)

    def incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple) -> sparse.csr_matrix:
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)

    face_corners = incidence(face_of_corner, quads.ravel(), (count, vertices))
    edge_rows = np.repeat(np.arange(len(edges)), 2)
    edge_ends = incidence(edge_rows, edges.ravel(), (len(edges), vertices))
    edge_faces = incidence(edge_of_side, face_of_corner, (len(edges), count))

    face_points = 0.25 * face_corners
    edge_points = 0.25 * (edge_ends + edge_faces @ face_points)
    valence = np.maximum(np.asarray(face_corners.sum(axis=0)).ravel(), 1)
    faces_mean = sparse.diags(1 / valence) @ face_corners.T @ face_points
    edges_mean = sparse.diags(0.5 / valence) @ edge_ends.T @ edge_ends
    old = sparse.diags((valence - 3) / valence)
    vertex_points = sparse.diags(1 / valence) @ (faces_mean + 2 * edges_mean) + old

    edge_index = vertices + edge_of_side.reshape(count, 4)
    face_index = vertices + len(edges) + np.arange(count)
    corners = [
        np.stack([quads[:, k], edge_index[:, k], face_index, edge_index[:, k - 1]], axis=1)
        for k in range(4)
    ]
    matrix = sparse.csr_matrix(sparse.vstack([vertex_points, edge_points, face_points]))
    return matrix, np.concatenate(corners)


def triangulated(quads: np.ndarray) -> np.ndarray:
    """[2Q,3] triangles of [Q,4] quads."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
