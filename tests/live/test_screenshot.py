import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from stepwise_avatar import INFO, REQUEST, StepwiseAvatar

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.screenshot import (
    TEXT_KEY,
    Screenshot,
    read_screenshot,
    save_screenshot,
    screenshot_work,
    session_of,
    unused,
)
from avatar_viewer.live.session import Session, write_session
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import LAYERS, SAMPLERS, ExpressionCode, Frame, RenderRequest

number = st.floats(-1e3, 1e3)
requests = st.builds(
    RenderRequest,
    expression=st.lists(number, min_size=1, max_size=8).map(tuple).map(ExpressionCode),
    camera=st.builds(
        Orbit,
        azimuth_deg=number,
        elevation_deg=number,
        distance=st.floats(1e-3, 1e3),
        target=st.tuples(number, number, number),
        fov_deg=st.floats(1, 170),
    ).map(lambda orbit: orbit.camera(8, 8)),
    seed=st.integers(0, 2**63 - 1),
    steps=st.integers(1, 1000),
    sampler=st.sampled_from(SAMPLERS),
    show=st.sampled_from(LAYERS),
    exact_head=st.booleans(),
)


def frame(request=REQUEST) -> Frame:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Frame(request, rgb)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(requests, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_screenshot_gives_back_exactly_its_request(tmp_path, request_, source):
    path = tmp_path / "shot.png"
    save_screenshot(frame(request_), path, source)
    assert read_screenshot(path) == Screenshot(request_, source)
    assert (np.asarray(Image.open(path)) == frame().rgb).all()


def test_saving_leaves_nothing_else_behind(tmp_path):
    save_screenshot(frame(), tmp_path / "shot.png", "demo")
    with pytest.raises(AvatarError):
        save_screenshot(frame(), tmp_path / "no folder" / "shot.png", "demo")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AvatarError):
        save_screenshot(frame(), tmp_path / "folder.png", "demo")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "shot.png"]


def test_an_unwritable_path_is_named(tmp_path):
    path = tmp_path / "no folder" / "shot.png"
    with pytest.raises(AvatarError, match="expected a writable path, found: No such file") as e:
        save_screenshot(frame(), path, "demo")
    assert str(e.value).startswith(f"{path}: ")


def fails(path, match):
    with pytest.raises(AvatarError, match=match) as caught:
        read_screenshot(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_files_that_are_no_screenshots_are_named(tmp_path):
    fails(tmp_path / "missing.png", "No such file")
    fails(tmp_path, "Is a directory")
    jpeg = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(jpeg, format="JPEG")
    fails(jpeg, "expected a PNG, found another file")
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    fails(plain, "found no request in it")


def test_a_file_cut_anywhere_is_named_or_still_whole_enough(tmp_path):
    whole, cut = tmp_path / "shot.png", tmp_path / "cut.png"
    save_screenshot(frame(), whole, "demo")
    content = whole.read_bytes()
    failures = 0
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        try:
            assert read_screenshot(cut).request == REQUEST
        except AvatarError as error:
            failures += 1
            assert str(error).startswith(f"{cut}: expected")
    assert failures > len(content) / 2


def write_text(path, text):
    info = PngInfo()
    info.add_text(TEXT_KEY, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def edited(path, change):
    save_screenshot(frame(), path, "demo")
    content = json.loads(Image.open(path).text[TEXT_KEY])
    change(content)
    write_text(path, json.dumps(content))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.update(format_version=3), "newer avatar-viewer.*found 3"),
        (lambda c: c.pop("format_version"), "format_version <= 2, found None"),
        (lambda c: c.pop("request"), "expected a field 'request', found none"),
        (lambda c: c["request"].update(seed="x"), "request: seed: expected a whole number"),
        (lambda c: c["request"].update(show="glow"), "show: expected image .* found glow"),
        (lambda c: c["request"].update(steps=0), "steps: expected 1 to 1000, found 0"),
        (lambda c: c["request"]["camera"].update(fov_deg=math.nan), "fov_deg"),
        (lambda c: c["request"]["camera"].update(zoom=2), "found 'zoom'"),
        (lambda c: c["request"]["expression"].update(values=[]), "at least one value"),
    ],
)
def test_wrong_fields_are_named(tmp_path, change, match):
    path = tmp_path / "shot.png"
    edited(path, change)
    fails(path, match)


def test_a_picture_from_before_the_head_was_baked_was_exact(tmp_path):
    path = tmp_path / "shot.png"
    edited(path, lambda content: content["request"].pop("exact_head"))
    assert read_screenshot(path).request == REQUEST and REQUEST.exact_head


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_broken_json_is_named(tmp_path, text):
    path = tmp_path / "shot.png"
    write_text(path, text)
    fails(path, "expected the request")


def test_the_picture_is_the_frames_and_no_other(tmp_path):
    other = replace(frame(), rgb=255 - frame().rgb)
    save_screenshot(other, tmp_path / "shot.png", "demo")
    assert (np.asarray(Image.open(tmp_path / "shot.png")) == other.rgb).all()


SESSION = replace(Session.of("demo", INFO), pad=(0.25, 1.0), seed=3, background=(10, 20, 30))


def test_a_screenshot_returns_to_its_session(tmp_path):
    path = tmp_path / "shot.png"
    save_screenshot(frame(), path, "demo", SESSION)
    assert read_screenshot(path).session == session_of(path) == SESSION
    yaml = tmp_path / "session.yaml"
    write_session(SESSION, yaml)
    assert session_of(yaml) == SESSION


def test_where_no_session_is_one_line_says_so(tmp_path):
    path = tmp_path / "shot.png"
    save_screenshot(frame(), path, "demo")
    for chosen, match in (
        (path, "expected a session, found a screenshot"),
        (tmp_path / "face.jpg", "ends in .png | .yaml | .yml"),
        (tmp_path / "none.yaml", "No such file"),
    ):
        with pytest.raises(AvatarError, match=match) as caught:
            session_of(chosen)
        assert str(caught.value).startswith(str(chosen))


def test_a_screenshot_stands_on_its_background_or_on_none(tmp_path):
    opacity = np.zeros((8, 8), np.uint8)
    opacity[:4] = 255
    rgb = np.full((8, 8, 3), 255, np.uint8)
    rgb[:4] = (200, 100, 50)
    shown = Frame(REQUEST, rgb, opacity=opacity)
    path = tmp_path / "shot.png"
    save_screenshot(shown, path, "demo", SESSION)
    pixels = np.asarray(Image.open(path))
    assert (pixels[:4] == (200, 100, 50)).all() and (pixels[4:] == (10, 20, 30)).all()
    save_screenshot(shown, path, "demo", SESSION, transparent=True)
    pixels = np.asarray(Image.open(path))
    assert (pixels[:4] == (200, 100, 50, 255)).all() and (pixels[4:, :, 3] == 0).all()


def test_a_larger_screenshot_is_rendered_by_a_task(tmp_path):
    avatar, path = StepwiseAvatar(), tmp_path / "shot.png"
    pieces = screenshot_work(SESSION, (8, 8), path, transparent=False)(avatar)
    assert next(pieces) == (0, 1)
    with pytest.raises(StopIteration) as ended:
        next(pieces)
    assert ended.value.value == f"Saved {path}"
    request = SESSION.request(avatar.expressions, 8, 8)
    assert avatar.rendered == [request] and read_screenshot(path).request == request


def test_a_taken_name_gets_a_number(tmp_path):
    path = tmp_path / "shot.png"
    assert unused(path) == path
    for name in ("shot.png", "shot-1.png"):
        (tmp_path / name).touch()
    assert unused(path) == tmp_path / "shot-2.png"
