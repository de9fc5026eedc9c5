"""What moves otherwise than the head's surface: irises, teeth, tongue."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from avatar_viewer.diffusion.conditioning import spread
from avatar_viewer.diffusion.moving_planes import EyeSheets, LayeredMouth, MouthSheets
from avatar_viewer.diffusion.sheets import Sheet, nearest_hit, shown
from avatar_viewer.raster.camera import Orbit, project, world_rays
from avatar_viewer.stages import Camera, GBuffer, Rays

CENTRE, RADIUS = (0.0, -0.1, 0.3), 0.1
UPPER, LOWER = slice(0, 3), slice(3, 6)


def image_of(sheets: torch.nn.Module, gbuffer: GBuffer, *given: object) -> torch.Tensor:
    """[H,W,E]."""
    return spread(sheets(gbuffer, *given), gbuffer)


def painted(sheet: Sheet) -> None:
    """Smooth features."""
    axis = torch.linspace(-2, 2, sheet.plane.shape[1])
    sheet.plane.copy_((6 * torch.rand(len(sheet.plane), 1, 1) + axis + axis[:, None]).sin())


def mouth() -> MouthSheets:
    """Other features for each row of teeth; the upper one lies before the lower."""
    torch.manual_seed(0)
    sheets = MouthSheets(3, 2, CENTRE, RADIUS).requires_grad_(False)
    for row, front in ((sheets.upper, 0.0), (sheets.lower, -0.3)):
        painted(row)
        row.front.fill_(front)
    return sheets


def layered_mouth() -> LayeredMouth:
    """Every sheet painted and half opaque here and there."""
    torch.manual_seed(2)
    sheets = LayeredMouth(3, 2, CENTRE, RADIUS).requires_grad_(False)
    for sheet in sheets.sheets:
        painted(sheet)
    return sheets


def make_opaque(sheet: Sheet, opaque: bool = True) -> None:
    sheet.plane[-1] = 200.0 if opaque else -200.0


def camera(azimuth_deg: float, elevation_deg: float = 0.0) -> Camera:
    return Orbit(azimuth_deg, elevation_deg, 3.0, CENTRE, 8.0).camera(160, 128)


def open_mouth(behind: float) -> GBuffer:
    """Inner walls everywhere, so far behind the teeth's centre; they face the front."""
    mask = torch.ones(128, 160, dtype=torch.bool)
    canonical = (torch.tensor(CENTRE) - torch.tensor([0, 0, 4 * RADIUS])).expand(128, 160, 3)
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(128, 160, 3)
    return GBuffer(mask, torch.full((128, 160), 3.0 + behind), normal, canonical)


def eye_surface(behind: float) -> GBuffer:
    """A place of an eye everywhere, so far behind its centre."""
    seen = open_mouth(behind)
    canonical = torch.tensor(CENTRE).expand(128, 160, 3)
    return GBuffer(seen.mask, seen.depth, seen.normal, canonical)


def sheet_points(sheet: Sheet, reach: float = 0.6) -> torch.Tensor:
    """[N,3] world, on a sheet at rest."""
    axis = torch.linspace(-reach, reach, 5)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    z = sheet.front - sheet.bend[0] * x**2 - sheet.bend[1] * y**2
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
        image = image_of(planes, open_mouth(0.5), world_rays(view), code)[..., channels]
        seen.append(at(image, points, view))
    assert seen[0].std(dim=0).min() > 0.1
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], atol=0.02, rtol=0)


def test_the_lower_teeth_move_with_the_jaw_and_the_upper_ones_do_not():
    planes, view, code = mouth(), camera(0), torch.tensor([1.0, 0, 0, 0, 0, 0])
    planes.jaw.weight[:, 0] = torch.tensor([0.0, -0.5, -0.2, 0.2])
    closed = image_of(planes, open_mouth(0.5), world_rays(view), 0 * code)
    opened = image_of(planes, open_mouth(0.5), world_rays(view), code)
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
    assert image_of(planes, open_mouth(0.5), world_rays(view), code).any()
    assert not image_of(planes, open_mouth(-0.2), world_rays(view), code).any()
    # Nor does skin uncover them that falls back behind them by a little.
    margin = planes.BEFORE * RADIUS
    assert not image_of(planes, open_mouth(0.6 * margin), world_rays(view), code)[
        60:68, 76:84
    ].any()
    # Between the two rows' sheets: the upper one is in front.
    between = image_of(planes, open_mouth(margin + 0.015), world_rays(view), code)[64, 80]
    assert between[UPPER].any() and not between[LOWER].any()


def test_far_from_the_mouth_there_are_no_teeth():
    planes, rays, code = mouth(), world_rays(camera(0)), torch.zeros(6)
    seen = open_mouth(0.5)
    far = GBuffer(seen.mask, seen.depth, seen.normal, seen.canonical + 0.5)
    assert not image_of(planes, far, rays, code).any()
    nothing = GBuffer(~seen.mask, 0 * seen.depth, seen.normal, seen.canonical)
    assert not image_of(planes, nothing, rays, code).any()


def test_the_nearest_hit_lies_on_the_sheet():
    torch.manual_seed(0)
    origin = torch.randn(2000, 3) * 0.3 + torch.tensor([0.0, 0.0, 20.0])
    direction = torch.cat([torch.randn(2000, 2) * 0.1, torch.full((2000, 1), -1.0)], dim=1)
    for front, bend in (
        (0.2, (0.4, 0.0)),
        (-1.0, (3.0, 1.0)),
        (0.8, (0.6, 0.6)),
        (0.0, (0.0, 0.0)),
    ):
        depth = nearest_hit((origin, direction), torch.tensor(front), torch.tensor(bend))
        hits = depth.isfinite()
        assert hits.float().mean() > 0.1

        def above(part: float, front=front, bend=bend, depth=depth, hits=hits) -> torch.Tensor:
            """How far before the sheet rays are after a part of their way."""
            x, y, z = (origin + part * depth[:, None] * direction)[hits].unbind(1)
            return z - (front - bend[0] * x**2 - bend[1] * y**2)

        assert above(1.0).abs().max() < 5e-3
        # Nothing of the sheet is nearer: the ray comes from before it all the way.
        for part in (0.0, 0.5, 0.95):
            assert (above(part) > 0).all()


def test_gradients_are_finite_where_rays_miss():
    rays = world_rays(Orbit(70, 0, 3.0, CENTRE, 30.0).camera(160, 128))
    for sheets, given in (
        (MouthSheets(2, 2, CENTRE, RADIUS), torch.ones(6)),
        (LayeredMouth(2, 2, CENTRE, RADIUS), torch.ones(6)),
        (EyeSheets(2, (CENTRE, CENTRE), RADIUS), torch.ones(4)),
    ):
        image_of(sheets, open_mouth(0.5), rays, given).sum().backward()
        for name, parameter in sheets.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def eyes() -> EyeSheets:
    torch.manual_seed(1)
    sheets = EyeSheets(3, (CENTRE, (0.5, 0.0, 0.3)), RADIUS).requires_grad_(False)
    for sheet in sheets.sheets:
        painted(sheet)
    return sheets


def test_irises_turn_with_the_gaze_and_nothing_else_does():
    """Looking up and to the left by a known angle moves each place of an iris by a rotation."""
    sheets, view = eyes(), camera(0)
    seen, rays = eye_surface(-0.05), world_rays(view)
    ahead = image_of(sheets, seen, rays, torch.zeros(4))
    aside = image_of(sheets, seen, rays, torch.tensor([0.6, 0.4, 0.0, 0.0]))
    points = sheet_points(sheets.sheets[0], 0.4)
    yaw, pitch = 0.35 * 0.6, 0.35 * 0.4
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    rotation = torch.tensor(about_y).double() @ torch.tensor(about_x).double()
    turned = (points - torch.tensor(CENTRE)).double() @ rotation.T
    turned = turned.float() + torch.tensor(CENTRE)
    front = turned[len(points) // 2] - torch.tensor(CENTRE)
    assert front[0] > 0 and front[1] > 0  # to the subject's left, and up
    torch.testing.assert_close(at(aside, turned, view), at(ahead, points, view), atol=0.03, rtol=0)
    assert (at(aside, points, view) - at(ahead, points, view)).abs().max() > 0.1
    # The other eye's gaze moves nothing here.
    other = image_of(sheets, seen, rays, torch.tensor([0.0, 0.0, 0.6, 0.4]))
    assert torch.equal(other, ahead)


def test_what_lies_well_before_an_eye_hides_it():
    sheets, rays = eyes(), world_rays(camera(0))
    assert image_of(sheets, eye_surface(-0.05), rays, torch.zeros(4)).any()
    assert not image_of(sheets, eye_surface(-0.3), rays, torch.zeros(4)).any()
    seen = eye_surface(-0.05)
    far = GBuffer(seen.mask, seen.depth, seen.normal, seen.canonical + 0.3)
    assert not image_of(sheets, far, rays, torch.zeros(4)).any()


@pytest.mark.parametrize("azimuth_deg", [0, 40, 100])
@pytest.mark.parametrize("behind", [-0.2, 0.0, 0.03, 0.06, 0.5])
def test_the_compiled_search_sees_what_the_plain_one_does(azimuth_deg: float, behind: float):
    """Without gradients, from fewer pixels, which spread to the same picture. The plain one works
    in float64 here: at a grazing ray float32 is a thousandth off."""
    torch.manual_seed(0)
    gbuffer, rays = open_mouth(behind), world_rays(camera(azimuth_deg, 10))
    mask = torch.rand(gbuffer.mask.shape) < 0.6
    canonical = gbuffer.canonical + 0.6 * (torch.rand(*mask.shape, 3) - 0.5)
    depth = gbuffer.depth + 0.05 * torch.rand(mask.shape)
    normal = torch.randn(*mask.shape, 3)
    gbuffer = GBuffer(mask, depth, normal, canonical)
    exact = GBuffer(mask, depth.double(), normal, canonical)
    exact_rays = Rays(rays.origin.double(), rays.direction.double())
    teeth, layers, irises = mouth(), layered_mouth(), eyes()
    teeth.jaw.weight[:, 0] = torch.tensor([0.2, -0.5, -0.2, 0.3])
    layers.motion.weight[:, 0] = torch.tensor([0.2, -0.5, -0.2, 0.3, 0.1, 0.4, 0.5, -0.2])
    for sheets, given in (
        (teeth, torch.tensor([1.0, 0, 0, 0, 0, 0])),
        (layers, torch.tensor([1.0, 0, 0, 0, 0, 0])),
        (irises, torch.tensor([0.6, 0.4, 0.0, -0.3])),
    ):
        with torch.no_grad():
            found = sheets(gbuffer, rays, given)
        plain = deepcopy(sheets).double()(exact, exact_rays, given)
        assert set(found.pixels.tolist()) <= set(plain.pixels.tolist())
        # The dark behind the teeth fills these pictures, or nothing is seen at all.
        assert sheets is layers or len(found.pixels) < 0.8 * len(plain.pixels)
        torch.testing.assert_close(
            spread(found, gbuffer).double(), spread(plain, exact), atol=1e-4, rtol=1e-4
        )


def test_sheets_hide_each_other_in_order_of_depth():
    """As if they were painted one over the other, from the farthest on."""
    torch.manual_seed(0)
    opacity, depth = torch.rand(50, 4).double(), torch.rand(50, 4).double()
    depth[:10, 2] = torch.inf
    opacity[:10, 2] = 0
    colours = torch.rand(50, 4, 3).double()
    found = (shown(opacity, depth)[..., None] * colours).sum(dim=1)
    for pixel in range(50):
        painted_over = torch.zeros(3).double()
        for sheet in depth[pixel].argsort(descending=True):
            share = opacity[pixel, sheet]
            painted_over = share * colours[pixel, sheet] + (1 - share) * painted_over
        torch.testing.assert_close(found[pixel], painted_over)


def test_a_tooth_hides_what_lies_behind_it_where_it_is_opaque():
    mouth, view, code = layered_mouth(), camera(0), torch.zeros(6)
    for sheet in mouth.sheets:
        make_opaque(sheet, False)
    make_opaque(mouth.back)
    dark = image_of(mouth, open_mouth(0.5), world_rays(view), code)
    make_opaque(mouth.upper)
    hidden = image_of(mouth, open_mouth(0.5), world_rays(view), code)
    make_opaque(mouth.back, False)
    alone = image_of(mouth, open_mouth(0.5), world_rays(view), code)
    tooth = alone[..., 3] > 0.99
    assert 0.1 < tooth.float().mean() < 0.9
    torch.testing.assert_close(hidden[tooth], alone[tooth], atol=0.02, rtol=0)
    torch.testing.assert_close(
        hidden[~tooth & (alone[..., 3] == 0)], dark[~tooth & (alone[..., 3] == 0)]
    )
    assert (hidden - dark)[tooth].abs().max() > 0.1


def test_skin_uncovers_nothing_of_the_layered_mouth():
    """Neither before the teeth nor pulled back behind them: lips, cheek and chin face outwards. A
    collar does not, but is too far."""
    mouth, rays, code = layered_mouth(), world_rays(camera(0)), torch.zeros(6)
    inside, before = open_mouth(0.5), open_mouth(-0.2)
    assert image_of(mouth, inside, rays, code).any()
    assert not image_of(mouth, before, rays, code).any()
    for outwards, place in (
        ((0.0, 0.0, 1.0), (0.0, 0.0, 0.05)),
        ((1.0, 0.0, 0.0), (0.2, 0.0, -0.2)),
        ((0.0, -1.0, 0.0), (0.0, -0.15, -0.1)),
    ):
        canonical = (torch.tensor(CENTRE) + torch.tensor(place)).expand(128, 160, 3)
        for normal, sees in ((torch.tensor(outwards), False), (-torch.tensor(outwards), True)):
            skin = GBuffer(inside.mask, inside.depth, normal.expand(128, 160, 3), canonical)
            assert image_of(mouth, skin, rays, code).any() == sees
    collar = (torch.tensor(CENTRE) - torch.tensor([0.0, 0.35, 0.2])).expand(128, 160, 3)
    upwards = torch.tensor([0.0, 1.0, 0.0]).expand(128, 160, 3)
    below = GBuffer(inside.mask, inside.depth, upwards, collar)
    assert not image_of(mouth, below, rays, code).any()


def test_lower_teeth_and_tongue_move_and_the_rest_does_not():
    mouth, view, code = layered_mouth(), camera(0), torch.tensor([1.0, 0, 0, 0, 0, 0])
    mouth.motion.weight[1, 0], mouth.motion.weight[5, 0] = -0.5, 0.3
    for sheet, shift in (
        (mouth.lower, -0.5),
        (mouth.tongue, 0.3),
        (mouth.upper, 0),
        (mouth.back, 0),
    ):
        for other in mouth.sheets:
            make_opaque(other, other is sheet)
        closed, opened = (
            image_of(mouth, open_mouth(0.5), world_rays(view), c)[..., 3] for c in (0 * code, code)
        )
        rows = torch.arange(128.0)
        moved = (opened.sum(1) @ rows) / opened.sum() - (closed.sum(1) @ rows) / closed.sum()
        pixels_per_world = 128 / (2 * 3.0 * np.tan(np.radians(4)))
        if shift == 0:
            assert torch.equal(opened, closed)
        else:
            assert moved.item() == pytest.approx(-shift * RADIUS * pixels_per_world, rel=0.15)
