from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import (
    ExpressionSequence,
    Header,
    load_sequence,
    save_sequence,
)


def sequence(count: int = 5, fps: float = 10, confidence: bool = True) -> ExpressionSequence:
    codes = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    sure = np.linspace(0, 1, count, dtype=np.float32) if confidence else None
    return ExpressionSequence(Header(fps, "a test, né"), codes, sure)


def test_between_two_expressions_lies_their_mix():
    moving = sequence()
    assert moving.duration_s == 0.5
    assert moving.at(0).values == (0, 1, 2)
    assert moving.at(0.15).values == pytest.approx((4.5, 5.5, 6.5))
    assert moving.at(-1).values == (0, 1, 2) and moving.at(9).values == (12, 13, 14)


def test_another_rate_is_the_same_course():
    twice = sequence().resampled(20)
    assert (len(twice.codes), twice.duration_s, twice.header.fps) == (10, 0.5, 20)
    for time_s in (0, 0.05, 0.2, 0.33):
        assert twice.at(time_s).values == pytest.approx(sequence().at(time_s).values)
    assert twice.confidence[:3] == pytest.approx((0, 0.125, 0.25))
    back = twice.resampled(10)
    assert np.array_equal(back.codes, sequence().codes)
    assert sequence(confidence=False).resampled(7).confidence is None


def test_a_part_of_it():
    part = sequence().trimmed(0.1, 0.3)
    assert np.array_equal(part.codes, sequence().codes[1:3])
    assert np.array_equal(part.confidence, sequence().confidence[1:3])
    assert len(sequence().trimmed(0, 0.5).codes) == 5
    with pytest.raises(AvatarError, match="trim: expected at least one expression, found none in"):
        sequence().trimmed(0.5, 0.4)


@given(
    st.integers(1, 9), st.integers(1, 5), st.booleans(), st.text(max_size=20), st.floats(1e-3, 999)
)
@example(1, 1, False, "\x85 \u2028", 1.0)
@settings(max_examples=30)
def test_what_was_saved_is_loaded(tmp_path_factory, count, dim, confidence, text, fps):
    folder = tmp_path_factory.mktemp("sequence")
    codes = np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)
    sure = np.full(count, 0.5, np.float32) if confidence else None
    save_sequence(ExpressionSequence(Header(fps, text), codes, sure), folder / "a.npz")
    loaded = load_sequence(folder / "a.npz")
    assert loaded.header == Header(fps, text)
    assert np.array_equal(loaded.codes, codes) and loaded.codes.dtype == np.float32
    assert loaded.confidence is None if sure is None else np.array_equal(loaded.confidence, sure)
    assert [path.name for path in folder.iterdir()] == ["a.npz"]


def test_an_avatar_with_other_expressions_is_named():
    sequence().expect_dim(3, "demo")
    with pytest.raises(AvatarError, match="expected expressions of 7 values for demo, found 3"):
        sequence().expect_dim(7, "demo")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": np.zeros(3, np.float32)}, r"codes: expected shape \[T,E\], found \[3\]"),
        ({"codes": np.zeros((0, 3), np.float32)}, r"codes: expected shape \[T,E\]"),
        ({"codes": np.zeros((5, 3))}, "codes: expected float32, found float64"),
        ({"codes": np.full((5, 3), np.nan, np.float32)}, "codes: expected finite numbers"),
        ({"confidence": np.zeros(4, np.float32)}, r"confidence: expected \[5\], found \[4\]"),
        ({"confidence": np.full(5, np.nan, np.float32)}, r"confidence: expected numbers in 0\.\.1"),
        ({"confidence": np.zeros(5, int)}, "confidence: expected float32, found int64"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changes, message):
    with pytest.raises(AvatarError, match=message):
        replace(sequence(), **changes)
    path, good = tmp_path / "a.npz", sequence()
    save_sequence(good, path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **{**arrays, **changes})
    with pytest.raises(AvatarError, match=message) as caught:
        load_sequence(path)
    assert str(caught.value).startswith(str(path))


def saved_with(path, **arrays) -> None:
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def header(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format_version: 2\nfps: 3", "made by a newer avatar-viewer"),
        ("fps: 3", "expected format_version <= 1, found None"),
        ("format_version: 1", "expected a field 'fps', found none"),
        ("format_version: 1\nfps: 0", "fps: expected more than 0, found 0"),
        ("[1]", "header: expected fields, found list"),
        ("{", "header: expected YAML"),
    ],
)
def test_a_wrong_header_is_named(tmp_path, text, message):
    path = tmp_path / "a.npz"
    saved_with(path, codes=sequence().codes, header=header(text))
    with pytest.raises(AvatarError) as caught:
        load_sequence(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_other_files_are_one_line(tmp_path):
    path = tmp_path / "a.npz"
    good = header("format_version: 1\nfps: 3")
    for arrays, message in (
        ({"codes": sequence().codes}, "expected an array 'header'"),
        ({"header": good}, "expected an array 'codes'"),
        ({"codes": np.array([{}]), "header": good}, "expected an expression sequence"),
        ({"codes": np.array(["a"]), "header": good}, r"codes: expected shape \[T,E\]"),
    ):
        saved_with(path, **arrays)
        with pytest.raises(AvatarError, match=message) as caught:
            load_sequence(path)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "b.npy", sequence().codes)
    (tmp_path / "c.npz").write_text("words")
    for other in (tmp_path / "b.npy", tmp_path / "c.npz", tmp_path / "none.npz", tmp_path):
        with pytest.raises(AvatarError, match="expected an expression sequence, found"):
            load_sequence(other)


@given(cut=st.integers(0, 700), byte=st.integers(0, 255), truncate=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_one_line_or_reads(tmp_path_factory, cut, byte, truncate):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    save_sequence(sequence(), path)
    content = bytearray(path.read_bytes())
    place = cut % len(content)
    if truncate:
        path.write_bytes(content[:place])
    else:
        content[place] = byte
        path.write_bytes(content)
    try:
        load_sequence(path)
    except AvatarError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert not truncate


def test_where_it_cannot_be_written(tmp_path):
    for path in (tmp_path / "none" / "a.npz", tmp_path / "a.txt"):
        with pytest.raises(AvatarError, match="expected a"):
            save_sequence(sequence(), path)
    assert list(tmp_path.iterdir()) == []
