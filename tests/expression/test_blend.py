import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.blend import bilinear
from avatar_viewer.stages import ExpressionCode

unit = st.floats(0, 1)
value = st.floats(-10, 10)
corners = st.integers(1, 6).flatmap(
    lambda length: st.lists(
        st.lists(value, min_size=length, max_size=length).map(tuple).map(ExpressionCode),
        min_size=4,
        max_size=4,
    )
)


@given(corners)
def test_each_corner_of_the_pad_is_exactly_its_code(codes):
    positions = [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [bilinear(codes, x, y) for x, y in positions] == codes


@given(corners, unit, unit)
def test_a_blend_stays_between_the_corners(codes, x, y):
    table = np.array([code.values for code in codes])
    blended = np.array(bilinear(codes, x, y).values)
    assert (blended >= table.min(0) - 1e-9).all() and (blended <= table.max(0) + 1e-9).all()


@given(corners, unit, unit)
def test_mirroring_the_pad_mirrors_the_blend(codes, x, y):
    top_left, top_right, bottom_left, bottom_right = codes
    expected = bilinear(codes, x, y).values
    mirrored = bilinear([top_right, top_left, bottom_right, bottom_left], 1 - x, y).values
    transposed = bilinear([top_left, bottom_left, top_right, bottom_right], y, x).values
    np.testing.assert_allclose(mirrored, expected, atol=1e-9)
    np.testing.assert_allclose(transposed, expected, atol=1e-9)


def test_a_blend_is_linear_along_an_edge():
    codes = [ExpressionCode((v,)) for v in (0.0, 8.0, 100.0, 200.0)]
    assert bilinear(codes, 0.25, 0).values == (2.0,)
    assert bilinear(codes, 0, 0.25).values == (25.0,)


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [(-0.1, 0, "pad x"), (1.01, 0, "pad x"), (0, 2, "pad y"), (0, float("nan"), "pad y")],
)
def test_a_position_off_the_pad_is_named(x, y, named):
    codes = [ExpressionCode((0.0,))] * 4
    with pytest.raises(AvatarError, match=f"^{named}: expected a number in 0..1, found"):
        bilinear(codes, x, y)


def test_wrong_corners_are_named():
    one, two = ExpressionCode((0.0,)), ExpressionCode((0.0, 1.0))
    with pytest.raises(AvatarError, match="expected 4 expression codes, found 3"):
        bilinear([one] * 3, 0, 0)
    with pytest.raises(AvatarError, match="one length, found 1, 2"):
        bilinear([one, one, one, two], 0, 0)
