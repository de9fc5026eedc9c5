import numpy as np
import pytest
import yaml

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.library import (
    MAX_NAME,
    PICTURE_PX,
    Library,
    SavedExpression,
    picture_of,
    picture_text,
    read_library,
    write_library,
)
from avatar_viewer.stages import ExpressionCode


def saved(name: str, *values: float) -> SavedExpression:
    return SavedExpression(name, ExpressionCode(values or (0.5, 1.0)), "Demo")


LIBRARY = Library((saved("Big smile"), saved("frown", 1, 2), saved("smile", 1, 2, 3)))


def names(library: Library) -> list[str]:
    return [e.name for e in library.expressions]


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ["Big smile", "frown"]), (" SMI ", ["Big smile"]), ("n", ["frown"]), ("x", [])],
)
def test_a_search_finds_parts_of_names_of_the_same_length(text, found):
    assert [e.name for e in LIBRARY.found(text, 2)] == found


@pytest.mark.parametrize("name", ["", "  ", " a", "a\nb", "x" * (MAX_NAME + 1)])
def test_a_name_is_one_short_line(name):
    with pytest.raises(AvatarError, match=r"^name: expected .* found"):
        saved(name)


def test_a_name_is_given_once_for_each_length():
    assert names(LIBRARY.added(saved("smile")))[-1] == "smile"
    with pytest.raises(AvatarError, match="not there yet, found frown"):
        LIBRARY.added(saved("frown"))
    with pytest.raises(AvatarError, match="not there yet, found frown"):
        LIBRARY.replaced(LIBRARY.expressions[0], saved("frown"))


def test_replacing_and_removing_leave_the_others():
    first = LIBRARY.expressions[0]
    assert names(LIBRARY.replaced(first, saved("grin"))) == ["grin", "frown", "smile"]
    assert LIBRARY.replaced(first, first) == LIBRARY
    assert names(LIBRARY.without(first)) == ["frown", "smile"]


def test_what_is_merged_gets_numbers_unless_it_is_there_already():
    others = [saved("frown", 1, 2), saved("frown", 3, 4), saved("frown", 5, 6), saved("new", 0)]
    merged = LIBRARY.merged(others)
    assert names(merged) == ["Big smile", "frown", "smile", "frown 2", "frown 3", "new"]
    assert merged.merged(others) == merged


def test_a_numbered_name_is_not_too_long():
    long = "x" * MAX_NAME
    merged = Library((saved(long),)).merged([saved(long, 3, 4)])
    assert names(merged) == [long, "x" * (MAX_NAME - 2) + " 2"]


def test_a_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "expressions.yaml"
    write_library(LIBRARY, path)
    assert read_library(path) == LIBRARY
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    write_library(Library(), path)
    assert read_library(path) == Library()


def entry(**changes) -> dict:
    return {"name": "a", "expression": {"values": [0.5]}} | changes


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"expressions": []}, "format_version"),
        ({"format_version": 2, "expressions": []}, "newer"),
        ({"format_version": 1, "expressions": [entry(name="")]}, r"expressions\[0\]: name"),
        ({"format_version": 1, "expressions": [entry(expression={"values": []})]}, "at least one"),
        ({"format_version": 1, "expressions": [entry(expression=3)]}, "expected fields, found 3"),
        ({"format_version": 1, "expressions": [entry(picture="x" * 70000)]}, "picture"),
        ({"format_version": 1, "more": 1}, "'more'"),
        ([1], "a list of 1"),
    ],
)
def test_a_bad_file_gives_one_line_that_names_it(tmp_path, content, found):
    path = tmp_path / "expressions.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(AvatarError, match=found) as caught:
        read_library(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_gives_one_line(tmp_path):
    with pytest.raises(AvatarError, match="expected a writable path"):
        write_library(LIBRARY, tmp_path / "none" / "expressions.yaml")


def test_a_picture_is_small_and_nearly_the_same():
    rgb = np.full((300, 200, 3), (200, 120, 40), np.uint8)
    text = picture_text(rgb)
    assert saved("a").picture == "" and len(text) < 4000
    picture = picture_of(text)
    assert picture is not None and max(picture.shape[:2]) == PICTURE_PX
    assert np.abs(picture.astype(int) - (200, 120, 40)).max() < 8


@pytest.mark.parametrize(
    "text", ["", "no base64!", "ünicode", picture_text(np.zeros((9, 9, 3), "u1"))[:-40]]
)
def test_what_is_no_picture_is_none(text):
    assert picture_of(text) is None
