"""The warping error on a textured ball whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from avatar_viewer.evaluation.warping import motion, warping_error
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.stages import Camera, HeadMesh

SIZE_PX = 96


def ball(turn_deg: float = 0.0, radius: float = 0.5, lift: float = 0.0) -> HeadMesh:
    """Turned about the vertical; its canonical coordinates turn with it."""
    canonical = torch.from_numpy(trimesh.creation.icosphere(subdivisions=4).vertices).float()
    faces = torch.from_numpy(trimesh.creation.icosphere(subdivisions=4).faces).int()
    angle = torch.deg2rad(torch.tensor(turn_deg))
    c, s = angle.cos(), angle.sin()
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    vertices = radius * canonical @ rotation.T + torch.tensor([0.0, lift, 0.0])
    return HeadMesh(vertices, canonical, vertex_normals(vertices, faces), faces)


def camera(azimuth_deg: float = 0.0, distance: float = 3.0) -> Camera:
    orbit = Orbit(azimuth_deg, 5.0, distance, (0.0, 0.0, 0.0), 30.0)
    return orbit.camera(SIZE_PX, SIZE_PX)


def picture(mesh: HeadMesh, seen_by: Camera) -> np.ndarray:
    """The ball over white, coloured by a smooth function of its canonical coordinates."""
    gbuffer = rasterize(mesh, seen_by)
    colour = 127 + 120 * torch.sin(6 * gbuffer.canonical)
    rgb = torch.where(gbuffer.mask[..., None], colour, torch.tensor(255.0))
    return rgb.round().to(torch.uint8).numpy()


MOVES = {
    "turned": ((ball(8), camera()), (ball(0), camera())),
    "the camera circled": ((ball(), camera(10)), (ball(), camera())),
    "came nearer and rose": ((ball(lift=0.1), camera(distance=2.7)), (ball(), camera())),
    "grew": ((ball(radius=0.55), camera()), (ball(), camera())),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_surface_that_keeps_its_colours_has_no_error(move: str):
    now, before = MOVES[move]
    moved = motion(*now, *before)
    seen = moved.seen.sum() / rasterize(*now).mask.sum()
    assert seen > 0.7
    pictures = picture(*now), picture(*before)
    right = warping_error(*pictures, moved)
    still = warping_error(*pictures, motion(*before, *before))
    assert right is not None and still is not None
    assert right < 1.5 and still > 6 * right
    # The motion the other way round is wrong too.
    other_way = warping_error(*pictures, motion(*before, *now))
    assert other_way is not None and other_way > 6 * right


def test_a_known_change_of_colour():
    """Half of the channels are 30 brighter in the second frame, which does not move."""
    view = ball(), camera()
    moved = motion(*view, *view)
    before = picture(*view)
    now = before.astype(int)
    assert warping_error(before, before, moved) == pytest.approx(0, abs=1e-3)
    now[..., :2] = np.where(now[..., :2] > 200, now[..., :2] - 30, now[..., :2] + 30)
    error = warping_error(now.astype(np.uint8), before, moved)
    assert error == pytest.approx(20, abs=1e-3)


def test_where_a_point_was():
    """A point in the picture's middle that turns away moves as the pinhole says."""
    moved = motion(ball(10), camera(), ball(0), camera())
    where = rasterize(ball(10), camera())
    front = int((where.normal[..., 2] + where.mask.float()).argmax())
    y, x = divmod(front, SIZE_PX)
    assert moved.seen[y, x]
    # It came from further left, by about the arc of 10 degrees.
    arc_px = 0.5 * np.sin(np.radians(10)) / (2.5 * np.tan(np.radians(15))) * SIZE_PX / 2
    assert x + 0.5 - moved.before_px[y, x, 0].item() == pytest.approx(arc_px, rel=0.1)
    assert moved.before_px[y, x, 1].item() == pytest.approx(y + 0.5, abs=1)


def test_what_was_hidden_is_not_compared():
    """After a half turn, the side that is seen now was on the back before."""
    moved = motion(ball(180), camera(), ball(0), camera())
    assert moved.seen.sum() < 0.02 * rasterize(ball(180), camera()).mask.sum()
    away = camera().matrix.copy()
    away[0, 3] += 50
    none = Camera(tuple(away.ravel()), 30.0, SIZE_PX, SIZE_PX, 0.1, 100.0)
    out_of_view = motion(ball(), camera(), ball(), none)
    assert not out_of_view.seen.any()
    rgb = picture(ball(), camera())
    assert warping_error(rgb, rgb, out_of_view) is None


def test_background_is_not_compared():
    view = ball(), camera()
    moved = motion(*view, *view)
    assert not (moved.seen & ~rasterize(*view).mask).any()
    rgb = picture(*view)
    other = rgb.copy()
    other[~rasterize(*view).mask.numpy()] = 0
    assert warping_error(rgb, other, moved) == pytest.approx(0, abs=0.05)
