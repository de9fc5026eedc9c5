"""The head's figures, on a head model that is exactly right, and on one that is wrong by a known
length."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.head_sampler import HeadScans
from avatar_viewer.evaluation import head as evaluation
from avatar_viewer.evaluation.head import (
    FIGURES,
    cost_figures,
    extraction_figures,
    in_own_process,
    person_figures,
    table,
    to_surface,
)
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.storage import CANONICAL_HEAD_FILE, load_canonical_head
from avatar_viewer.stages import CanonicalHead

MM = 0.004
"""In units."""


class Ball:
    """A ball whose radius is the identity; the expression lifts it."""

    def __init__(self, wrong_by=0.0, lift=0.1):
        self.wrong_by, self.lift = wrong_by, lift
        self.expression_dim = 2
        self.config = {
            "units_per_metre": 4.0,
            "box_min": (-0.6, -0.6, -0.6),
            "box_max": (0.6, 0.6, 0.6),
            "detail_anchors": (),
            "expression_dim": 2,
        }

    def sdf(self, points, identity):
        return (
            points.norm(dim=-1)
            - 0.4
            - 0.05 * identity[..., 0]
            - self.wrong_by * points.sign()[..., 0]
        )

    def deform(self, points, identity, z):
        lift = self.lift * z[..., None, :1].expand(*points.shape[:-1], 1)
        return torch.cat([torch.zeros_like(lift), lift, torch.zeros_like(lift)], dim=-1)

    def prepared(self, points, identity):
        return points, identity

    def deform_prepared(self, prepared, z):
        return self.deform(*prepared, z)

    def anchors(self, identity):
        return torch.zeros(39, 3)


PRIORS = CodePrior(torch.zeros(1), torch.ones(1, 1)), CodePrior(torch.zeros(2), torch.eye(2))
MATRIX = torch.zeros(2, 52)
MATRIX[0, 3] = 1.0
ARKIT = ArkitMap(MATRIX, torch.zeros(2))


def person() -> HeadScans:
    random = torch.Generator().manual_seed(0)
    normals = normalize(torch.randn(3000, 3, generator=random), dim=1)
    points = 0.45 * normals
    weights = np.zeros((3, 52), np.float32)
    weights[:, 3] = (0.0, 0.5, 1.0)
    lifts = torch.tensor(weights[:, 3, None, None]) * torch.tensor([0.0, 0.1, 0.0])
    anchors = np.zeros((39, 3), np.float32)
    anchors[:] = (0.0, 0.0, 0.45)
    return HeadScans(
        canonical=points.numpy(),
        normals=normals.numpy(),
        on_surface=np.ones(3000, np.uint8),
        anchors=anchors,
        posed=(points + lifts).numpy(),
        weights=weights,
        gaze=np.zeros((3, 4), np.float32),
        sdf_points=np.zeros((1, 3), np.float32),
        sdf=np.zeros(1, np.float32),
    )


@pytest.fixture(autouse=True)
def few_cells(monkeypatch):
    monkeypatch.setattr(evaluation, "Extraction", lambda triangles: Extraction(64, triangles))
    monkeypatch.setattr(evaluation, "DENSE", Extraction(40, 2000))


def test_a_right_model_has_no_errors():
    figures = person_figures(Ball(), PRIORS, ARKIT, person())
    assert figures["surface_mean_mm"] < 0.3 and figures["surface_p95_mm"] < 0.5
    assert figures["normal_consistency"] > 0.998
    for name in ("vertices_mean_mm", "lips_lids_mean_mm", "arkit_mean_mm"):
        assert figures[name] < 0.1
    assert figures["free_vertices_mean_mm"] < 1


def test_wrong_models_have_theirs():
    """The surface is off by a millimetre on each side; the map lifts by a tenth too little."""
    figures = person_figures(Ball(wrong_by=MM), PRIORS, ARKIT, person())
    assert figures["surface_mean_mm"] == pytest.approx(1, abs=0.15)
    figures = person_figures(Ball(lift=0.09), PRIORS, ARKIT, person())
    assert figures["arkit_mean_mm"] == pytest.approx(0.5 * 0.01 / MM, rel=0.05)
    assert figures["vertices_mean_mm"] < 0.2  # which a code can make up for


def test_distance_and_normals_from_a_mesh():
    nphm = Ball()
    head = extract_head(nphm, torch.zeros(1), Extraction(64, None))
    inside = CanonicalHead(head.vertices, head.faces)
    normals = normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    distance, cosine = to_surface(inside, (0.4 + 2 * MM) * normals, normals)
    np.testing.assert_allclose(distance / MM, 2, atol=0.15)
    assert cosine.min() > 0.99
    _, opposite = to_surface(inside, 0.4 * normals, -normals)
    assert opposite.max() < -0.99


def test_costs_are_measured():
    figures = cost_figures(Ball(), torch.zeros(1), torch.randn(120, 2))
    assert figures["vertices"] > 500
    assert figures["baked_max_mm"] < 0.01 and 0 < figures["baked_ms"]


@pytest.mark.slow
def test_extraction_is_measured_in_a_process_of_its_own():
    _, identity = load_canonical_head(DEMO_FOLDER / "head" / CANONICAL_HEAD_FILE)
    figures = in_own_process(extraction_figures, DEMO_FOLDER / "head", identity.numpy())
    assert figures["extraction_s"] > 0.1 and figures["extraction_peak_mb"] > 100


def test_the_table_says_what_is_kept():
    good = {line.name: line.bound or 0.0 for line in FIGURES}
    lines = table(good, 7).splitlines()
    assert lines[0].startswith("| 7 unseen people") and len(lines) == len(FIGURES) + 2
    assert not any("MISSED" in line for line in lines)
    bad = table(good | {"surface_mean_mm": 0.5, "normal_consistency": 0.9}, 7)
    assert bad.count("MISSED") == 2
