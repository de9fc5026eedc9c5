"""What moves otherwise than the head's surface: irises and teeth."""

from __future__ import annotations

import pytest
import torch

from avatar_viewer.diffusion.moving_planes import (
    EyePlanes,
    MouthPlanes,
    RowOfTeeth,
    _nearest_hit,
)
from avatar_viewer.raster.camera import Orbit, project, world_rays
from avatar_viewer.stages import Camera, GBuffer

CENTRE, RADIUS = (0.0, -0.1, 0.3), 0.1
UPPER, LOWER = slice(0, 3), slice(3, 6)


@torch.no_grad()
def test_irises_turn_with_the_gaze_and_nothing_else_does():
    """A front of the head as a plane: looking to the left shifts what lies around the eyes."""
    size = 256
    y, x = torch.meshgrid(*(torch.linspace(-0.3, 0.3, size),) * 2, indexing="ij")
    canonical = torch.stack([x, -y, torch.full_like(x, 0.2)], dim=-1)
    eyes = EyePlanes(3, ((0.128, 0.112), (-0.128, 0.112)), 0.08)
    seen = GBuffer(torch.ones(size, size, dtype=torch.bool), x * 0 + 1, canonical, canonical)
    waves = torch.linspace(0, 6, eyes.RESOLUTION).sin()
    eyes.planes.copy_((waves + waves[:, None]).expand_as(eyes.planes))
    ahead = eyes(seen, torch.zeros(4))
    left = eyes(seen, torch.tensor([0.5, 0.0, 0.0, 0.0]))
    row = round((0.3 - 0.112) / 0.6 * (size - 1))
    # 0.5 of 0.3 radii of 0.08 units, in pixels of 0.6 / 255 units.
    shift = round(0.5 * 0.3 * 0.08 / (0.6 / (size - 1)))
    around = slice(round((0.3 + 0.128) / 0.6 * (size - 1)) - 15, None)
    of_left_eye = slice(around.start, around.start + 30)
    moved = slice(of_left_eye.start + shift, of_left_eye.stop + shift)
    torch.testing.assert_close(left[row, moved], ahead[row, of_left_eye], atol=0.03, rtol=0.03)
    assert (left[row, of_left_eye] - ahead[row, of_left_eye]).abs().max() > 0.1
    # The other eye looked ahead, and far from the eyes there is nothing.
    assert torch.equal(left[:, : size // 2], ahead[:, : size // 2])
    assert not ahead[: size // 6].any() and not ahead[size // 2 :].any()
    # Nor at the back of the head.
    behind = GBuffer(seen.mask, seen.depth, seen.normal, -canonical)
    assert not eyes(behind, torch.zeros(4)).any()


def mouth() -> MouthPlanes:
    """Smooth features, other ones for each row of teeth; the upper one lies before the lower."""
    torch.manual_seed(0)
    planes = MouthPlanes(3, 2, CENTRE, RADIUS).requires_grad_(False)
    for row, front in ((planes.upper, 0.0), (planes.lower, -0.3)):
        axis = torch.linspace(-2, 2, row.RESOLUTION)
        row.plane.copy_((6 * torch.rand(3, 1, 1) + axis + axis[:, None]).sin())
        row.front.fill_(front)
    return planes


def camera(azimuth_deg: float, elevation_deg: float = 0.0) -> Camera:
    return Orbit(azimuth_deg, elevation_deg, 3.0, CENTRE, 8.0).camera(160, 128)


def open_mouth(behind: float) -> GBuffer:
    """Inner walls everywhere, so far behind the teeth's centre."""
    mask = torch.ones(128, 160, dtype=torch.bool)
    canonical = torch.tensor(CENTRE).expand(128, 160, 3)
    return GBuffer(mask, torch.full((128, 160), 3.0 + behind), canonical, canonical)


def sheet_points(row: RowOfTeeth) -> torch.Tensor:
    """[N,3] world, on a sheet at rest."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-0.6, 0.6, 5), indexing="ij")
    z = row.front - row.curvature * x**2
    points = torch.stack([x, y, z], dim=-1).flatten(0, 1)
    return points * RADIUS + torch.tensor(CENTRE)


def at(image: torch.Tensor, points: torch.Tensor, view: Camera) -> torch.Tensor:
    """[N,C] of an image at the pixels that show points, between pixels by bilinear weights."""
    place = 2 * project(points, view)[0] / torch.tensor([view.width, view.height]) - 1
    sampled = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None], place[None, None], align_corners=False
    )
    return sampled[0, :, 0].T


@pytest.mark.parametrize(("name", "channels"), [("upper", UPPER), ("lower", LOWER)])
def test_a_tooth_looks_the_same_from_everywhere(name: str, channels: slice):
    planes, code = mouth(), torch.zeros(6)
    points = sheet_points(getattr(planes, name))
    seen = []
    for azimuth_deg, elevation_deg in ((0, 0), (25, 0), (-20, 15)):
        view = camera(azimuth_deg, elevation_deg)
        image = planes(open_mouth(0.5), world_rays(view), code)[..., channels]
        seen.append(at(image, points, view))
    assert seen[0].std(dim=0).min() > 0.1
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], atol=0.02, rtol=0)


def test_the_lower_teeth_move_with_the_jaw_and_the_upper_ones_do_not():
    planes, view, code = mouth(), camera(0), torch.tensor([1.0, 0, 0, 0, 0, 0])
    planes.jaw.weight[:, 0] = torch.tensor([0.0, -0.5, -0.2, 0.2])
    closed = planes(open_mouth(0.5), world_rays(view), 0 * code)
    opened = planes(open_mouth(0.5), world_rays(view), code)
    assert torch.equal(opened[..., UPPER], closed[..., UPPER])
    points = sheet_points(planes.lower)
    cos, sin = torch.tensor(0.2).cos(), torch.tensor(0.2).sin()
    head_from_jaw = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    centre = torch.tensor(CENTRE)
    shift = RADIUS * torch.tensor([0.0, -0.5, -0.2])
    moved = (points - centre) @ head_from_jaw.T + centre + shift
    before, after = at(closed, points, view)[:, LOWER], at(opened, moved, view)[:, LOWER]
    torch.testing.assert_close(after, before, atol=0.02, rtol=0)
    assert (at(opened, points, view)[:, LOWER] - before).abs().max() > 0.1


def test_lips_hide_teeth():
    planes, view, code = mouth(), camera(10), torch.zeros(6)
    assert planes(open_mouth(0.5), world_rays(view), code).any()
    assert not planes(open_mouth(-0.2), world_rays(view), code).any()
    # Between the two rows' sheets: the upper one is in front.
    between = planes(open_mouth(0.015), world_rays(view), code)[64, 80]
    assert between[UPPER].any() and not between[LOWER].any()


def test_far_from_the_mouth_there_are_no_teeth():
    planes, rays, code = mouth(), world_rays(camera(0)), torch.zeros(6)
    seen = open_mouth(0.5)
    far = GBuffer(seen.mask, seen.depth, seen.normal, seen.canonical + 0.5)
    assert not planes(far, rays, code).any()
    nothing = GBuffer(~seen.mask, 0 * seen.depth, seen.normal, seen.canonical)
    assert not planes(nothing, rays, code).any()


def test_the_nearest_hit_lies_on_the_sheet():
    torch.manual_seed(0)
    origin = torch.randn(2000, 3) * 0.3 + torch.tensor([0.0, 0.0, 20.0])
    direction = torch.cat([torch.randn(2000, 2) * 0.3, torch.full((2000, 1), -1.0)], dim=1)
    for front, curvature in ((0.2, 0.4), (-1.0, 3.0), (0.0, 0.0)):
        depth = _nearest_hit(origin, direction, torch.tensor(front), torch.tensor(curvature))
        hits = depth.isfinite()
        assert hits.float().mean() > 0.1
        x, _, z = (origin + depth[:, None] * direction)[hits].unbind(1)
        torch.testing.assert_close(z, front - curvature * x**2, atol=2e-3, rtol=1e-3)
        # Nothing of the sheet is nearer: the ray comes from before it all the way.
        for part in (0.0, 0.5, 0.95):
            x, _, z = (origin + part * depth[:, None] * direction)[hits].unbind(1)
            assert (z > front - curvature * x**2).all()


def test_gradients_are_finite_where_rays_miss():
    planes = MouthPlanes(2, 2, CENTRE, RADIUS)
    rays = world_rays(Orbit(70, 0, 3.0, CENTRE, 30.0).camera(160, 128))
    planes(open_mouth(0.5), rays, torch.ones(6)).sum().backward()
    for name, parameter in planes.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
