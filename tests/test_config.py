"""Dataclasses <-> YAML: what is written is read again, what is wrong is said in one line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_viewer.avatar_info import AvatarInfo, Corner, read_avatar_info, write_avatar_info
from avatar_viewer.config import (
    expect_at_least,
    expect_between,
    from_plain,
    read_config,
    to_plain,
    write_config,
)
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import ExpressionCode


@dataclass(frozen=True)
class Loop:
    steps: int
    rate: float = 1e-4


@dataclass(frozen=True)
class Training:
    out: Path
    loop: Loop
    channels: tuple[int, ...] = (16, 32)
    size: tuple[int, float] = (1, 2.0)
    kind: Literal["small", "large"] = "small"
    resume: bool = True
    note: str | None = None


VIEW = Orbit(azimuth_deg=10, elevation_deg=-5, distance=2.5, target=(0, 0.1, 0), fov_deg=20)
INFO = AvatarInfo(
    name="Añà",
    licence="CC0-1.0",
    provenance="made up: for a test",
    resolution_px=64,
    steps=8,
    quick_steps=2,
    sampler="ddim",
    default_view=VIEW,
    corners=(
        Corner("rest", ExpressionCode((0.0, 0.1))),
        Corner("smile", ExpressionCode((1.0, 1 / 3))),
        Corner("jaw", ExpressionCode((-1e-12, 2.0))),
        Corner("brow", ExpressionCode((1e20, 0.0))),
    ),
)


def message(action) -> str:
    with pytest.raises(AvatarError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def read(tmp_path: Path, text: str | bytes) -> Training:
    path = tmp_path / "training.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path, Training)


def test_a_config_is_read_as_it_was_written(tmp_path: Path):
    config = Training(
        out=tmp_path / "run",
        loop=Loop(steps=3, rate=0.5),
        channels=(1, 2, 3),
        size=(7, 0.25),
        kind="large",
        resume=False,
        note="yes: no",
    )
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", Training) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_defaults_and_numbers_that_people_write(tmp_path: Path):
    config = read(tmp_path, "out: run\nloop: {steps: 3, rate: 1e-4}\nsize: [1, 2]\n")
    assert config == Training(out=Path("run"), loop=Loop(3, 1e-4))
    assert isinstance(config.loop.rate, float)
    assert isinstance(config.size[1], float)


GOOD = "out: run\nloop: {steps: 3}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["found an empty file"]),
        ("# nothing\n", ["found an empty file"]),
        ("out: [", ["expected YAML"]),
        ("- 1\n", ["expected fields", "a list of 1"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        ("d: 2020-99-99", ["expected YAML"]),
        ("[" * 5000, ["expected YAML"]),
        ("out: run\n", ["'loop'", "found none"]),
        (GOOD + "lop: 1\n", ["'lop'", "loop"]),
        ("out: run\nloop: {steps: 3, stepz: 4}\n", ["loop", "'stepz'"]),
        ("out: run\nloop: 7\n", ["loop", "expected fields", "found 7"]),
        ("out: run\nloop: {steps: 3.5}\n", ["loop: steps", "whole number", "3.5"]),
        ("out: run\nloop: {steps: true}\n", ["loop: steps", "whole number", "True"]),
        ("out: run\nloop: {steps: 3, rate: .nan}\n", ["loop: rate", "finite number", "nan"]),
        ("out: run\nloop: {steps: 3, rate: fast}\n", ["loop: rate", "finite number", "fast"]),
        ("out: run\nloop: {steps: 3, rate: null}\n", ["loop: rate", "nothing"]),
        (f"out: run\nloop: {{steps: 3, rate: 1{'0' * 400}}}\n", ["loop: rate", "finite"]),
        (GOOD + "channels: 3\n", ["channels", "a list", "found 3"]),
        (GOOD + "channels: [1, x]\n", ["channels[1]", "whole number", "x"]),
        (GOOD + "size: [1]\n", ["size", "expected 2 entries", "found 1"]),
        (GOOD + "kind: tiny\n", ["kind", "small | large", "tiny"]),
        (GOOD + "kind: [1]\n", ["kind", "small | large"]),
        (GOOD + "resume: 1\n", ["resume", "true or false", "found 1"]),
        (GOOD + "note: 5\n", ["note", "text", "found 5"]),
        (GOOD + "1: 5\n", ["found 1"]),
        ("out: 3\nloop: {steps: 3}\n", ["out", "a path", "found 3"]),
    ],
)
def test_a_bad_file_is_said_in_one_line(tmp_path: Path, text: str | bytes, words: list[str]):
    found = message(lambda: read(tmp_path, text))
    assert found.startswith(str(tmp_path / "training.yaml"))
    for word in words:
        assert word in found


def test_all_that_is_wrong_with_a_file_is_in_one_report(tmp_path: Path):
    text = "lop: 1\nnotes: x\nloop: {stepz: 4, rate: fast}\nchannels: [1, x]\n"
    with pytest.raises(AvatarError) as caught:
        read(tmp_path, text)
    path = tmp_path / "training.yaml"
    fields = "out, loop, channels, size, kind, resume, note"
    assert str(caught.value).splitlines() == [
        f"{path}: expected fields without faults, found 6:",
        f"{path}: expected the fields {fields}, found 'lop', 'notes'",
        f"{path}: expected a field 'out', found none",
        f"{path}: loop: expected the fields steps, rate, found 'stepz'",
        f"{path}: loop: expected a field 'steps', found none",
        f"{path}: loop: rate: expected a finite number, found fast",
        f"{path}: channels[1]: expected a whole number, found x",
    ]


@dataclass(frozen=True)
class Limited:
    count: int | None = None
    share: float = 0.5
    widths: tuple[int, ...] = (2, 3)

    def __post_init__(self) -> None:
        expect_at_least(self, 2, ("count", "widths"))
        expect_between(self, 0, 1, ("share",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 1}, "count: expected 2 or more, found 1"),
        ({"widths": [4, 1]}, "widths: expected one or more numbers, each 2 or more, found [4, 1]"),
        ({"widths": []}, "widths: expected one or more numbers, each 2 or more, found []"),
        ({"share": -0.1}, "share: expected 0 to 1, found -0.1"),
        ({"share": 1.5}, "share: expected 0 to 1, found 1.5"),
    ],
)
def test_numbers_out_of_range_are_named(changes: dict, said: str):
    assert from_plain({"count": 2, "share": 1, "widths": [2]}, Limited, "file").count == 2
    assert message(lambda: from_plain(changes, Limited, "file")) == f"file: {said}"
    assert from_plain({"count": None}, Limited, "file") == Limited()
    with pytest.raises(AvatarError, match="share: expected 0 to 1, found nan"):
        Limited(share=float("nan"))


def test_paths_that_cannot_be_read_or_written(tmp_path: Path):
    assert "missing.yaml" in message(lambda: read_config(tmp_path / "missing.yaml", Training))
    assert str(tmp_path) in message(lambda: read_config(tmp_path, Training))
    nowhere = tmp_path / "nowhere" / "config.yaml"
    assert str(nowhere) in message(lambda: write_config(Loop(1), nowhere))
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert str(folder) in message(lambda: write_config(Loop(1), folder))
    assert list(tmp_path.iterdir()) == [folder]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["out", "loop", "steps", "kind", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(anything)
def test_any_content_gives_a_config_or_one_line(content):
    try:
        config = from_plain(content, Training, "file")
    except AvatarError as error:
        assert "\n" not in str(error)
    else:
        assert from_plain(to_plain(config), Training, "file") == config


def test_an_avatar_is_read_exactly_as_it_was_written(tmp_path: Path):
    path = tmp_path / "avatar.yaml"
    write_avatar_info(INFO, path)
    assert path.read_text(encoding="utf-8").startswith("format_version: 1\n")
    assert read_avatar_info(path) == INFO
    assert INFO.expression_dim == 2


def edited(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "avatar.yaml"
    write_avatar_info(INFO, path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format_version: 1", "format_version: 7", ["newer avatar-viewer", "<= 1", "found 7"]),
        ("format_version: 1\n", "", ["format_version", "found None"]),
        ("format_version: 1", "format_version: x", ["format_version", "found x"]),
        ("resolution_px: 64", "resolution_px: 0", ["resolution_px", "1 to 4096", "found 0"]),
        ("quick_steps: 2", "quick_steps: 0", ["quick_steps", "found 0"]),
        ("sampler: ddim", "sampler: euler", ["sampler", "ddim | lcm", "euler"]),
        ("distance: 2.5", "distance: -1", ["default_view", "distance", "-1"]),
        ("[0.0, 0.1]", "[0.0]", ["corners", "one length", "1, 2"]),
        ("[0.0, 0.1]", "[]", ["corners[0]", "at least one value"]),
        ("[0.0, 0.1]", "[0.0, .inf]", ["corners[0]: expression: values[1]", "inf"]),
        ("name: smile", "nam: smile", ["corners[1]", "'nam'"]),
    ],
)
def test_a_bad_avatar_is_said_in_one_line(tmp_path: Path, old: str, new: str, words: list[str]):
    path = edited(tmp_path, old, new)
    found = message(lambda: read_avatar_info(path))
    assert found.startswith(str(path))
    for word in words:
        assert word in found


def test_an_avatar_has_four_corners(tmp_path: Path):
    path = tmp_path / "avatar.yaml"
    write_avatar_info(replace(INFO, corners=INFO.corners[:3]), path)  # type: ignore[arg-type]
    found = message(lambda: read_avatar_info(path))
    assert "corners: expected 4 entries, found 3" in found
