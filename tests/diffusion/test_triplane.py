"""Look-ups in the feature planes against plain bilinear interpolation."""

import numpy as np
import pytest
import torch

from avatar_viewer.diffusion.triplane import TriPlane

LOW, HIGH = (-1.0, -2.0, 0.0), (1.0, 0.5, 3.0)
CHANNELS, RESOLUTION = 2, 5


@pytest.fixture
def triplane() -> TriPlane:
    torch.manual_seed(0)
    return TriPlane(CHANNELS, RESOLUTION, LOW, HIGH)


def bilinear_reference(planes: np.ndarray, point: np.ndarray) -> np.ndarray:
    """[3*C]: features of the planes xy, xz, yz one after the other."""
    unit = (point - LOW) / (np.array(HIGH) - LOW)
    texel = np.clip(unit, 0, 1) * (RESOLUTION - 1)
    features = []
    for plane, (column_axis, row_axis) in zip(planes, ((0, 1), (0, 2), (1, 2)), strict=True):
        x, y = texel[column_axis], texel[row_axis]
        x0, y0 = min(int(x), RESOLUTION - 2), min(int(y), RESOLUTION - 2)
        u, v = x - x0, y - y0
        upper = (1 - u) * plane[:, y0, x0] + u * plane[:, y0, x0 + 1]
        lower = (1 - u) * plane[:, y0 + 1, x0] + u * plane[:, y0 + 1, x0 + 1]
        features.append((1 - v) * upper + v * lower)
    return np.concatenate(features)


def test_lookup_is_bilinear_and_concatenates_xy_xz_yz(triplane: TriPlane):
    inside = np.random.default_rng(0).uniform(LOW, HIGH, (50, 3))
    expected = [bilinear_reference(triplane.planes.detach().numpy(), point) for point in inside]
    found = triplane(torch.from_numpy(inside).float()).detach().numpy()
    assert triplane.features == found.shape[1] == 3 * CHANNELS
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_box_ends_at_the_outer_texels_and_continues_as_its_border(triplane: TriPlane):
    corners = torch.tensor([LOW, HIGH])
    first, last = triplane(corners).detach()
    planes = triplane.planes.detach()
    assert torch.equal(first, planes[:, :, 0, 0].flatten())
    assert torch.equal(last, planes[:, :, -1, -1].flatten())
    outside = corners + torch.tensor([[-1.0, -4.0, -0.1], [0.2, 9.0, 50.0]])
    assert torch.equal(triplane(outside).detach(), torch.stack([first, last]))


def test_gradient_reaches_only_the_texels_that_were_looked_up(triplane: TriPlane):
    texel = torch.tensor([1.25, 3.5, 2.0])  # of each axis
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    point = low + texel / (RESOLUTION - 1) * (high - low)
    triplane(point[None]).sum().backward()
    assert triplane.planes.grad is not None
    touched = triplane.planes.grad[:, 0].abs() > 1e-5
    expected = torch.zeros(3, RESOLUTION, RESOLUTION, dtype=torch.bool)
    expected[0, 3:5, 1:3] = True  # xy: rows by y, columns by x
    expected[1, 2, 1:3] = True
    expected[2, 2, 3:5] = True
    assert torch.equal(touched, expected)


def test_no_points(triplane: TriPlane):
    assert triplane(torch.zeros(0, 3)).shape == (0, 3 * CHANNELS)
