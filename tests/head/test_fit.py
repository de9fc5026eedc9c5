import pytest
import torch
from tiny_nphm import tiny_nphm

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.fit import fit_error_mm, fit_expressions


@pytest.fixture
def scans():
    """Scans that the model itself can make, so that there is a perfect code."""
    nphm = tiny_nphm()
    torch.nn.init.normal_(nphm.deformation.out.weight, std=0.1)
    identity, points = torch.randn(nphm.identity_dim), torch.rand(300, 3) - 0.5
    codes = 0.3 * torch.randn(3, 52)
    with torch.no_grad():
        posed = torch.stack([points + nphm.deform(points, identity, z) for z in codes])
    return nphm, identity, points, posed, codes


def test_true_codes_have_no_error_and_stay(scans):
    nphm, identity, points, posed, codes = scans
    assert fit_error_mm(nphm, identity, points, posed, codes).max() < 1e-3
    _, error_mm = fit_expressions(nphm, identity, points, posed, initial=codes, steps=20)
    zero = fit_error_mm(nphm, identity, points, posed, torch.zeros(3, 52))
    assert (error_mm < 0.2 * zero).all()


def test_from_zero_most_of_the_motion_is_found(scans):
    nphm, identity, points, posed, _ = scans
    zero = fit_error_mm(nphm, identity, points, posed, torch.zeros(3, 52))
    codes, error_mm = fit_expressions(nphm, identity, points, posed, steps=150)
    assert codes.shape == (3, 52) and (error_mm < 0.15 * zero).all()
    assert all(weight.grad is None for weight in nphm.parameters())


def test_points_must_correspond(scans):
    nphm, identity, points, posed, _ = scans
    with pytest.raises(AvatarError, match=r"canonical_points: expected shape \(300, 3\)"):
        fit_expressions(nphm, identity, points[:10], posed)
