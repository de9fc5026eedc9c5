"""Fits of a head whose codes have a plain meaning, so that the right answer is known."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from avatar_viewer.head.fit_scan import (
    CodePrior,
    carried,
    carried_back,
    fit_scan,
    landmark_alignment,
    rigid,
)
from avatar_viewer.head.scan import Scan


class Egg:
    """Identity: radius and height of an egg; expression: how far its upper half is lifted."""

    config = {"units_per_metre": 4.0}  # noqa: RUF012

    def axes(self, identity):
        radius, height = 0.35 + 0.05 * identity[..., :1], 0.4 + 0.05 * identity[..., 1:2]
        return torch.cat([radius, height, radius], dim=-1)

    def sdf(self, points, identity):
        scaled = points / self.axes(identity)
        return (scaled.norm(dim=-1) - 1) * 0.35

    def deform(self, points, identity, z):
        lift = 0.06 * z[..., :1] * torch.sigmoid(20 * points[..., 1:2])
        side = 0.03 * z[..., 1:2] * torch.sigmoid(20 * points[..., 2:])
        return torch.cat([side, lift, torch.zeros_like(lift)], dim=-1)

    def anchors(self, identity):
        directions = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
        return directions * self.axes(identity)


EGG = Egg()
IDENTITY, Z = torch.tensor([0.8, -0.6]), torch.tensor([0.9, -0.7])
CODES = torch.randn(200, 2, generator=torch.Generator().manual_seed(3))
PRIOR = CodePrior.of(CODES)


def scan_of(identity=IDENTITY, z=None, normals=True) -> Scan:
    random = torch.Generator().manual_seed(1)
    directions = normalize(torch.randn(4000, 3, generator=random), dim=1)
    axes = EGG.axes(identity)
    points = directions * axes
    if z is None:
        return Scan(points, normalize(directions / axes, dim=1) if normals else None)
    return Scan(points + EGG.deform(points, identity, z))


def test_an_identity_is_recovered_from_a_canonical_scan():
    for normals in (True, False):
        fit = fit_scan(EGG, scan_of(normals=normals), PRIOR)
        torch.testing.assert_close(fit.identity, IDENTITY, atol=0.05, rtol=0)
        assert fit.expression is None and fit.residual_mm.mean() < 0.2
        assert torch.equal(fit.head_from_scan, torch.eye(4))


def test_identity_and_expression_are_recovered_together():
    fit = fit_scan(EGG, scan_of(z=Z), PRIOR, PRIOR)
    torch.testing.assert_close(fit.identity, IDENTITY, atol=0.1, rtol=0)
    torch.testing.assert_close(fit.expression, Z, atol=0.1, rtol=0)
    assert fit.residual_mm.nanmean() < 0.3


def test_a_known_person_keeps_the_code():
    fit = fit_scan(EGG, scan_of(z=Z), IDENTITY, PRIOR)
    assert torch.equal(fit.identity, IDENTITY)
    torch.testing.assert_close(fit.expression, Z, atol=0.05, rtol=0)


def test_the_same_scan_gives_the_same_fit():
    first, second = (fit_scan(EGG, scan_of(z=Z), PRIOR, PRIOR, steps=20) for _ in range(2))
    assert torch.equal(first.identity, second.identity)
    assert torch.equal(first.expression, second.expression)


def test_stray_points_do_not_move_the_fit():
    scan = scan_of()
    stray = 3 * torch.rand(800, 3, generator=torch.Generator().manual_seed(2)) - 1.5
    fit = fit_scan(EGG, Scan(torch.cat([scan.points, stray])), PRIOR)
    torch.testing.assert_close(fit.identity, IDENTITY, atol=0.15, rtol=0)


def test_a_scan_that_lies_elsewhere_is_brought_back_by_landmarks():
    anchors = EGG.anchors(IDENTITY)
    scan = scan_of()
    here = Scan(scan.points, scan.normals, {k: anchors[k] for k in (0, 2, 3, 4)})
    motion = rigid(torch.tensor([0.4, -1.0, 0.3, 0.5, -0.2, 0.1]))
    there = carried(here, motion)
    fit = fit_scan(EGG, there, PRIOR, align=True)
    torch.testing.assert_close(fit.identity, IDENTITY, atol=0.1, rtol=0)
    away = (carried(there, fit.head_from_scan).points - scan.points).norm(dim=1)
    assert away.mean() < 0.02 and fit.residual_mm.mean() < 0.3


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6))
def test_alignment_undoes_any_rigid_motion(numbers):
    motion = rigid(torch.tensor(numbers))
    torch.testing.assert_close(motion[:3, :3] @ motion[:3, :3].T, torch.eye(3), atol=1e-4, rtol=0)
    anchors = EGG.anchors(IDENTITY)
    scan = Scan(anchors, None, dict(enumerate(anchors)))
    back = landmark_alignment(anchors, carried(scan, motion))
    torch.testing.assert_close(back @ motion, torch.eye(4), atol=1e-4, rtol=0)


def test_two_landmarks_align_nothing():
    anchors = EGG.anchors(IDENTITY)
    scan = Scan(anchors, None, {0: anchors[1], 1: anchors[2]})
    assert torch.equal(landmark_alignment(anchors, scan), torch.eye(4))


def test_points_are_carried_back_and_forth():
    canonical = scan_of().points
    posed = canonical + EGG.deform(canonical, IDENTITY, Z)
    found, lost = carried_back(EGG, posed, IDENTITY, Z)
    assert not lost.any()
    torch.testing.assert_close(found, canonical, atol=2e-3, rtol=0)
    same, lost = carried_back(EGG, posed, IDENTITY, None)
    assert torch.equal(same, posed) and not lost.any()


def test_the_prior_is_the_codebooks_gaussian():
    random = torch.Generator().manual_seed(0)
    codes = 3 + torch.randn(500, 2, generator=random) @ torch.randn(2, 6, generator=random)
    prior = CodePrior.of(codes)
    assert prior.axes.shape == (2, 6)  # no more than vary
    torch.testing.assert_close(prior.axes.T @ prior.axes, torch.cov(codes.T), atol=1e-3, rtol=1e-3)
    assert torch.equal(prior.code(torch.zeros(2)), codes.mean(dim=0))
