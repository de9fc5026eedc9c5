import math

import pytest
import torch
from tiny_nphm import tiny_nphm
from torch.nn import functional as F

MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture
def identity():
    return torch.randn(1, tiny_nphm().identity_dim, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def points():
    return torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(4)) - 0.5


def naive_distance(sdf, point, identity):
    """The formula, member by member, with every anchor taking part."""
    anchors = sdf.anchors(identity[None])[0]
    local = sdf.local_codes(identity[None])[0]
    values, weights = [], []
    for member in range(sdf.members):
        net = member // 2 if member < 2 * sdf.pairs else member - sdf.pairs
        everywhere = member == sdf.members - 1
        x = point if everywhere else point - anchors[member]
        weights.append(math.exp(-4.5) if everywhere else math.exp(-float(x @ x) / 0.02))
        x = x * (2.0 if everywhere else 5.0)
        x = x * MIRROR if member < 2 * sdf.pairs and member % 2 else x
        code = torch.cat([identity[: sdf.global_dim], local[member]])
        h = F.relu(x @ sdf.point0[net] + code @ sdf.code0[net] + sdf.bias[0, net])
        h = F.relu(h @ sdf.weight1[net] + sdf.bias[1, net])
        skip = x @ sdf.point2[net] + code @ sdf.code2[net]
        h = F.relu(h @ sdf.weight2[net] + skip + sdf.bias[2, net])
        h = F.relu(h @ sdf.weight3[net] + sdf.bias[3, net])
        values.append(float(h @ sdf.out[net] + sdf.out_bias[net]))
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def test_grouped_evaluation_is_the_formula(identity, points):
    sdf = tiny_nphm(sdf_nearest=6).identity_sdf
    with torch.no_grad():
        found = sdf(points, identity)[0]
        expected = [naive_distance(sdf, point, identity[0]) for point in points[0]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_a_batch_equals_its_items(points):
    sdf = tiny_nphm().identity_sdf
    codes = torch.randn(3, sdf.identity_dim)
    together = sdf(points.expand(3, -1, -1), codes)
    for row, code in zip(together, codes, strict=True):
        torch.testing.assert_close(row, sdf(points, code[None])[0])


def test_mirrored_codes_give_the_mirrored_head(identity, points):
    sdf = tiny_nphm().identity_sdf
    anchors = torch.tensor([[0.2, 0.1, 0.3], [-0.2, 0.1, 0.3], [0.3, 0, 0], [-0.3, 0, 0]])
    middle = torch.tensor([[0, 0.2, 0.3], [0, -0.2, 0.3]])
    sdf.anchors = lambda code: torch.cat([anchors, middle])[None]
    with torch.no_grad():  # members on the plane are symmetric where they do not see x
        sdf.point0[sdf.pairs :, 0] = 0
        sdf.point2[sdf.pairs :, 0] = 0
    swapped = sdf.local_codes(identity)[:, [1, 0, 3, 2, 4, 5, 6]]
    mirrored = torch.cat([identity[:, : sdf.global_dim], swapped.flatten(1)], dim=1)
    torch.testing.assert_close(sdf(points * MIRROR, mirrored), sdf(points, identity))
    assert not torch.allclose(sdf(points * MIRROR, identity), sdf(points, identity), atol=1e-3)


def test_no_jumps_where_the_nearest_members_change(identity):
    sdf = tiny_nphm(sdf_nearest=1, anchor_pairs=4).identity_sdf
    identity = torch.randn(1, sdf.identity_dim)
    sdf.anchors = lambda code: (
        0.3 * torch.randn(1, sdf.anchor_count, 3, generator=torch.Generator().manual_seed(1))
    )
    line = torch.linspace(-0.6, 0.6, 20001)[:, None] * torch.tensor([1.0, 0.4, 0.2])
    with torch.no_grad():
        member, _ = sdf._blend(line[None], sdf.anchors(identity))
        values = sdf(line[None], identity)[0]
    assert len(member[0, :, 0].unique()) > 1, "the line must pass from one member to another"
    assert values.diff().abs().max() < 0.005 * (values.max() - values.min())


def test_only_nearby_points_feel_a_local_code(identity, points):
    sdf = tiny_nphm().identity_sdf
    sdf.anchors = lambda code: (
        torch.tensor([0.4, 0.4, 0.4]).expand(1, sdf.anchor_count, 3)
        * (torch.linspace(-1, 1, sdf.anchor_count)[None, :, None])
    )
    changed = identity.clone()
    changed[:, sdf.global_dim : sdf.global_dim + sdf.local_dim] += 1  # the member at -0.4
    near, far = torch.full((1, 1, 3), -0.4), torch.full((1, 1, 3), 0.4)
    assert (sdf(near, changed) - sdf(near, identity)).abs() > 1e-3
    torch.testing.assert_close(sdf(far, changed), sdf(far, identity), atol=1e-6, rtol=0)
