import numpy as np
import pytest
from fake_avatar import CORNER_COLOURS, DISC_CENTRE, INFO, SIZE_PX

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.viewer.state import MAX_ZOOM, ViewerState


def disc(state) -> np.ndarray:
    """Where the disc's centre lies in the picture, parts of its size."""
    camera = state.request().camera
    x, y, z = camera.matrix[:3, :3] @ DISC_CENTRE + camera.matrix[:3, 3]
    return 0.5 + camera.focal_px / SIZE_PX * np.array((x, -y)) / -z


def test_it_begins_with_the_avatars_own_choices(state):
    request = state.request()
    assert (request.steps, request.sampler, request.seed, request.show) == (4, "ddim", 0, "image")
    assert request.camera == INFO.default_view.camera(SIZE_PX, SIZE_PX)
    assert np.allclose(request.expression.values, np.mean(list(CORNER_COLOURS.values()), axis=0))


def test_every_choice_is_part_of_the_request(state):
    before = state.request()
    changes = {"steps": 7, "sampler": "lcm", "seed": 3, "show": "depth", "pad": (0.1, 0.9)}
    for name, value in changes.items():
        changed = ViewerState.of("demo", INFO, ExpressionSpace())
        changed.change(**{name: value})
        assert changed.request() != before
    assert ViewerState.of("demo", INFO, ExpressionSpace()).request() == before


def test_the_corner_requests_are_the_corners_in_the_present_view(state):
    state.orbit(0.3, 0.1)
    state.change(show="normal")
    requests = state.corner_requests()
    assert [r.expression.values for r in requests] == list(CORNER_COLOURS.values())
    assert {r.camera for r in requests} == {state.request().camera}
    assert {r.show for r in requests} == {"image"}


def test_the_pad_stops_at_its_edges(state):
    state.move_pad(1.5, -2)
    assert state.session.pad == (1, 0)
    state.nudge_pad(0.1, 0.25)
    assert state.session.pad == (1, 0.25)


def test_the_front_follows_a_turning_drag(state):
    before = disc(state)
    state.orbit(0.05, 0.02)
    moved = disc(state) - before
    assert moved[0] > 0 and moved[1] > 0
    assert state.session.view.azimuth_deg == pytest.approx(-9)


def test_the_head_follows_a_panning_drag_by_as_much(state):
    # The points at the target's depth follow exactly; the disc's is nearer, so it follows more.
    before = disc(state)
    state.pan(0.1, -0.05)
    assert disc(state) - before == pytest.approx(np.array((0.1, -0.05)) * 6 / 5)


def test_the_wheel_zooms_within_limits_and_back(state):
    usual = INFO.default_view.distance
    state.zoom(1)
    assert state.session.view.distance < usual
    state.zoom(-1)
    assert state.session.view.distance == pytest.approx(usual)
    state.zoom(1000)
    assert state.session.view.distance == pytest.approx(usual / MAX_ZOOM)
    state.zoom(-1000)
    assert state.session.view.distance == pytest.approx(usual * MAX_ZOOM)


def test_reset_brings_the_view_back_and_nothing_else(state):
    state.move_pad(0.2, 0.2)
    state.orbit(0.3, 0.2)
    state.pan(0.1, 0.1)
    state.zoom(2)
    state.reset_view()
    assert state.session.view == INFO.default_view and state.session.pad == (0.2, 0.2)


def test_undo_and_redo_go_by_what_had_settled(state):
    for x in (0.6, 0.7, 0.8):
        state.move_pad(x, 0.5)
    state.settle()
    state.change(seed=7)
    state.undo()  # also what had not settled yet
    assert (state.session.pad[0], state.session.seed) == (0.8, 0)
    state.undo()
    assert state.session.pad == (0.5, 0.5)
    state.undo()
    assert state.session.pad == (0.5, 0.5)
    state.redo()
    state.redo()
    assert (state.session.pad[0], state.session.seed) == (0.8, 7)
    state.undo()
    state.change(seed=9)
    state.redo()  # a new choice ends what was undone
    assert state.session.seed == 9


def test_what_a_session_refuses_changes_nothing(state):
    before = state.session
    with pytest.raises(AvatarError, match="pad: expected"):
        state.change(pad=(2, 0))
    assert state.session is before
