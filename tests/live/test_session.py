from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.live.session import (
    MAX_DIRECTION,
    Comparison,
    Session,
    read_session,
    session_from_plain,
    session_to_plain,
    write_session,
)
from avatar_viewer.live.still import Picture
from avatar_viewer.raster.camera import Orbit, head_turned
from avatar_viewer.stages import LAYERS, MAX_STEPS, REDUCTIONS, SAMPLERS, ExpressionCode

CORNERS = tuple(
    Corner(name, ExpressionCode((float(i), i / 3, -0.1)))
    for i, name in enumerate(("neutral", "smile: wide", "ärger", "'quoted' #4"))
)
VIEW = Orbit(azimuth_deg=10, elevation_deg=5, distance=3.3, target=(0, 0.1, 0), fov_deg=20)
SESSION = Session("embedded avatar", CORNERS, VIEW, 8, "ddim")
INFO = AvatarInfo(
    name="other",
    licence="CC0",
    provenance="made by a test",
    resolution_px=64,
    steps=3,
    quick_steps=1,
    sampler="lcm",
    default_view=replace(VIEW, azimuth_deg=0),
    corners=CORNERS,
)

parts = st.floats(0, 1)
signed = st.floats(-1, 1)
seeds = st.integers(0, 2**63 - 1)
steps = st.integers(1, MAX_STEPS)
names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)
comparisons = st.builds(
    Comparison,
    mode=st.sampled_from(("split", "side by side", "difference")),
    split=parts,
    show=st.none() | st.sampled_from(LAYERS),
    steps=st.none() | steps,
    seed=st.none() | seeds,
    teacher=st.none() | st.booleans(),
    avatar=st.none() | names,
)
sessions = st.builds(
    Session,
    avatar=names,
    corners=st.just(CORNERS),
    view=st.builds(
        Orbit,
        azimuth_deg=st.floats(-180, 180),
        elevation_deg=st.floats(-89, 89),
        distance=st.floats(0.1, 100),
        target=st.tuples(signed, signed, signed),
        fov_deg=st.floats(1, 170),
    ),
    steps=steps,
    sampler=st.sampled_from(SAMPLERS),
    pad=st.tuples(parts, parts),
    directions=st.lists(st.floats(-MAX_DIRECTION, MAX_DIRECTION), max_size=4).map(tuple),
    units=st.just(()) | st.tuples(*[signed] * len(ARKIT_UNITS)),
    driven=st.none() | st.builds(ExpressionCode, st.tuples(signed, signed, signed)),
    head_pose_deg=st.none() | st.tuples(signed, signed, signed),
    gaze=st.none() | st.tuples(signed, signed),
    seed=seeds,
    show=st.sampled_from(LAYERS),
    moving_steps=st.none() | st.integers(1, 50),
    moving_reduction=st.none() | st.sampled_from(REDUCTIONS),
    teacher=st.booleans(),
    full_decoder=st.booleans(),
    background=st.tuples(*[st.integers(0, 255)] * 3),
    background_picture=st.none() | st.just(Path("/pictures/a b.png")),
    comparison=st.none() | comparisons,
)


@given(sessions)
def test_a_written_session_is_read_as_an_equal_one(tmp_path_factory, session):
    path = tmp_path_factory.getbasetemp() / "session.yaml"
    write_session(session, path)
    assert read_session(path) == session


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps: expected 1 to .*, found 0"),
        ({"steps": MAX_STEPS + 1}, "steps: "),
        ({"seed": -1}, "seed: expected 0 to 2.63 - 1, found -1"),
        ({"seed": 2**63}, "seed: "),
        ({"moving_steps": -1}, "moving_steps: "),
        ({"moving_reduction": 3}, "moving_reduction: "),
        ({"pad": (0.5, 1.01)}, "pad: "),
        ({"pad": (float("nan"), 0.5)}, "pad: "),
        ({"directions": (0.0, -3.1)}, "directions: "),
        ({"units": (0.0,) * 51}, "units: expected none or 52 numbers, found 51"),
        ({"units": (1.5,) + (0.0,) * 51}, "units: "),
        ({"gaze": (0.0, -1.2)}, "gaze: "),
        ({"driven": ExpressionCode((1.0,))}, "driven: expected an expression of 3 values, found 1"),
        ({"head_pose_deg": (0.0, float("inf"), 0.0)}, "head_pose_deg: "),
        ({"background": (0, 0, 256)}, "background: "),
        ({"corners": (*CORNERS[:3], Corner("short", ExpressionCode((1.0,))))}, "corners: "),
    ],
)
def test_what_a_session_cannot_be(fields, message):
    with pytest.raises(AvatarError, match=f"^{message}") as caught:
        replace(SESSION, **fields)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"split": 1.1}, {"split": float("nan")}, {"steps": 10**6}, {"seed": -2}]
)
def test_what_a_comparison_cannot_be(fields):
    with pytest.raises(AvatarError, match=f"{next(iter(fields))}: expected .*, found"):
        Comparison(**fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_version", 2),
        ("format_version", None),
        ("sampler", "magic"),
        ("pad", [0.5]),
        ("pad", [0.5, 3.0]),
        ("pad", "left"),
        ("view", {"azimuth_deg": 1}),
        ("comparison", {"mode": "triple"}),
        ("unknown", 1),
        ("corners", []),
    ],
)
def test_a_file_that_says_otherwise_is_refused_in_one_line(name, value):
    content = {**session_to_plain(SESSION), name: value}
    with pytest.raises(AvatarError, match=r"^a\.yaml: ") as caught:
        session_from_plain(content, "a.yaml")
    assert "\n" not in str(caught.value)


def test_without_a_field_that_has_no_default_it_is_refused():
    content = session_to_plain(SESSION)
    del content["view"]
    with pytest.raises(AvatarError, match="expected a field 'view', found none"):
        session_from_plain(content, "a.yaml")


def test_an_avatars_own_defaults():
    session = Session.of("folder", INFO)
    assert (session.view, session.steps, session.sampler) == (INFO.default_view, 3, "lcm")
    assert session.pad == (0.5, 0.5) and session.corners == CORNERS


def test_choices_go_on_with_another_avatar_of_the_same_expressions():
    session = replace(SESSION, pad=(0.1, 0.9), seed=7)
    assert session.for_avatar("other", INFO) == replace(session, avatar="other")
    short = tuple(Corner(c.name, ExpressionCode(c.expression.values[:2])) for c in CORNERS)
    with pytest.raises(AvatarError, match="expected expressions of 2 values for other, found 3"):
        session.for_avatar("other", replace(INFO, corners=short))


def test_the_second_picture_differs_in_what_the_comparison_says():
    assert SESSION.compared() is None
    same = replace(SESSION, comparison=Comparison(mode="difference", split=0.2))
    assert same.compared() == SESSION
    changes = {"show": "depth", "steps": 2, "seed": 0, "teacher": False, "avatar": "other"}
    session = replace(SESSION, seed=5, teacher=True, comparison=Comparison(**changes))
    assert session.compared() == replace(SESSION, **changes)


def test_a_request_has_what_was_chosen():
    session = replace(
        SESSION, pad=(1, 0), seed=4, show="normal", teacher=True, full_decoder=True, steps=3
    )
    request = session.request(ExpressionSpace(), 32, 16)
    assert request.expression == CORNERS[1].expression
    assert (request.seed, request.show, request.steps, request.sampler) == (4, "normal", 3, "ddim")
    assert request.teacher and request.full_decoder
    assert request.camera == VIEW.camera(32, 16)


def test_what_drives_it_stands_in_place_of_the_pad_and_is_moved_as_that_is():
    space = ExpressionSpace(directions=((1.0, 0.0, 0.0),))
    driven = ExpressionCode((0.5, 0.25, 0.0))
    session = replace(SESSION, pad=(1, 0), driven=driven, head_pose_deg=(0.0, 90.0, 0.0))
    assert session.request(space, 8, 8).expression == driven
    moved = replace(session, directions=(2.0,)).request(space, 8, 8)
    assert moved.expression == ExpressionCode((2.5, 0.25, 0.0))
    assert moved.camera == head_turned(VIEW.camera(8, 8), (0.0, 90.0, 0.0))
    assert Picture(pad=(1.0, 0.0)).applied(session).expression(space) == CORNERS[1].expression


def test_quick_pictures_are_as_chosen():
    assert SESSION.quick_choice() == QuickChoice(None, None)
    chosen = replace(SESSION, moving_steps=2, moving_reduction=2)
    assert chosen.quick_choice() == QuickChoice(2, 2)
