from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.camera_path import (
    CameraPath,
    Keyframe,
    read_path,
    turntable,
    write_path,
)
from avatar_viewer.raster.camera import Orbit

VIEW = Orbit(azimuth_deg=10, elevation_deg=5, distance=4, target=(0, 0.1, 0), fov_deg=30)
SMALL_S = 1e-5

parts = st.floats(0, 1)
views = st.builds(
    Orbit,
    azimuth_deg=st.floats(-180, 179),
    elevation_deg=st.floats(-89, 89),
    distance=st.floats(0.5, 50),
    target=st.tuples(*[st.floats(-1, 1)] * 3),
    fov_deg=st.floats(5, 120),
)


@st.composite
def paths(draw) -> CameraPath:
    gaps = draw(st.lists(st.floats(0.1, 5), min_size=1, max_size=6))
    times = np.cumsum(gaps) - gaps[0] * draw(st.booleans())
    keyframes = (Keyframe(float(t), draw(views), (draw(parts), draw(parts))) for t in times)
    return CameraPath(
        tuple(keyframes), draw(st.sampled_from(("linear", "smooth"))), draw(st.booleans())
    )


def numbers(view: Orbit, pad) -> np.ndarray:
    """Such that near views have near numbers, also over the azimuth's seam."""
    turn = np.radians(view.azimuth_deg)
    around = (np.sin(turn), np.cos(turn))
    return np.array((*around, view.elevation_deg, view.distance, *view.target, view.fov_deg, *pad))


@given(paths())
def test_it_passes_through_its_keyframes(path):
    for keyframe in path.keyframes:
        found = numbers(*path.at(keyframe.time_s))
        np.testing.assert_allclose(found, numbers(keyframe.view, keyframe.pad), atol=1e-6)


@given(paths(), st.lists(st.floats(-1, 60), max_size=20))
def test_it_is_continuous_and_the_pad_stays_within(path, times_s):
    for time_s in [*times_s, path.duration_s, 0.0]:
        now, after = path.at(time_s), path.at(time_s + SMALL_S)
        assert all(0 <= v <= 1 for v in now[1])
        # No more than the steepest slope: 90 units in 0.1 s, threefold within a curve.
        difference = np.abs(numbers(*after) - numbers(*now)).max()
        assert difference < 3 * 180 / 0.1 * SMALL_S


@given(paths(), st.floats(0, 20))
def test_a_loop_closes(path, time_s):
    path = replace(path, loop=True)
    again = path.at(time_s + path.duration_s)
    np.testing.assert_allclose(numbers(*again), numbers(*path.at(time_s)), atol=1e-4)


@given(paths())
@settings(max_examples=50)
def test_a_smooth_path_has_no_corners(path):
    path = replace(path, interpolation="smooth", loop=True)
    for time_s in [keyframe.time_s for keyframe in path.keyframes]:
        before, now, after = (
            numbers(*path.at(time_s + step_s)) for step_s in (-SMALL_S, 0, SMALL_S)
        )
        # The slope changes by less than a corner's: at most its own bend over so short a time.
        assert np.abs((after - now) - (now - before)).max() < 1e6 * SMALL_S**2


def test_a_linear_path_has_corners():
    keyframes = (
        Keyframe(0, replace(VIEW, elevation_deg=0)),
        Keyframe(1, replace(VIEW, elevation_deg=60)),
        Keyframe(2, replace(VIEW, elevation_deg=0)),
    )
    path = CameraPath(keyframes, "linear")
    assert path.at(0.5)[0].elevation_deg == pytest.approx(30)
    assert path.at(1.75)[0].elevation_deg == pytest.approx(15)
    smooth = replace(path, interpolation="smooth")
    assert smooth.at(0.99)[0].elevation_deg > 59.9 > path.at(0.99)[0].elevation_deg


def test_the_camera_turns_the_shorter_way_and_zooms_evenly():
    far = replace(VIEW, azimuth_deg=-170, distance=1)
    path = CameraPath((Keyframe(0, replace(VIEW, azimuth_deg=170)), Keyframe(1, far)), "linear")
    middle, _ = path.at(0.5)
    assert abs(middle.azimuth_deg) == pytest.approx(180)
    assert middle.distance == pytest.approx(2)  # twice as near as 4, half as near as 1
    assert path.at(-1)[0].distance == pytest.approx(4) and path.at(9)[0].distance == 1


@pytest.mark.parametrize("interpolation", ["linear", "smooth"])
def test_a_turntable_goes_round_evenly(interpolation):
    path = replace(turntable(VIEW, (0.2, 0.7), 8, fps=30), interpolation=interpolation)
    assert path.duration_s == 8
    for time_s in np.linspace(0, 16, 33):
        view, pad = path.at(time_s)
        turned = (view.azimuth_deg - VIEW.azimuth_deg - 45 * time_s + 180) % 360 - 180
        assert turned == pytest.approx(0, abs=1e-6)
        assert pad == pytest.approx((0.2, 0.7))
        assert replace(view, azimuth_deg=10).distance == pytest.approx(VIEW.distance)


def test_a_single_keyframe_stands_still():
    path = CameraPath((Keyframe(2, VIEW, (0.1, 0.2)),), loop=True)
    assert path.at(0) == path.at(7) == (VIEW, (0.1, 0.2))
    assert path.duration_s == 2


@given(paths())
@settings(max_examples=20)
def test_what_was_written_is_read(tmp_path_factory, path):
    file = tmp_path_factory.mktemp("path") / "path.yaml"
    write_path(path, file)
    assert read_path(file) == path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("format_version: 2", "made by a newer avatar-viewer"),
        ("format_version: 1\nkeyframes: []", "keyframes: expected at least one, found none"),
        ("format_version: 1\nkeyframes: 3", "keyframes: expected a list, found 3"),
        ("format_version: 1\nkeyframes: []\nspeed: 3", "found 'speed'"),
        ("format_version: 1\nkeyframes: []\ninterpolation: bezier", "linear | smooth"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "path.yaml"
    file.write_text(text)
    with pytest.raises(AvatarError) as caught:
        read_path(file)
    assert message in str(caught.value) and str(file) in str(caught.value)


def test_bad_values_are_named():
    keyframe = Keyframe(1, VIEW)
    for make, message in (
        (lambda: CameraPath((keyframe, keyframe)), "times that grow, found 1 before 1"),
        (lambda: CameraPath((keyframe,), fps=0), "fps: expected more than 0, found 0"),
        (lambda: Keyframe(-1, VIEW), "time_s: expected 0 or more, found -1"),
        (lambda: Keyframe(0, VIEW, (0, 1.5)), "pad: expected two numbers in 0..1"),
        (lambda: turntable(VIEW, (0, 0), 0), "turntable: expected more than 0 seconds"),
    ):
        with pytest.raises(AvatarError, match=message):
            make()
