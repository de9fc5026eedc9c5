import numpy as np
import pytest
import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.expression_space import (
    STRONGEST,
    ExpressionSpace,
    load_directions,
    moved,
)
from avatar_viewer.head.nphm import CODES_FILE, GAZE_DIM
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.weights import save_tensors

DIM = 12
CODE = ExpressionCode((*np.linspace(-1, 1, DIM), 0.1, 0.2, 0.1, 0.2))


def save_codes(folder, expression):
    save_tensors({"identity": torch.zeros(3, 5), "expression": expression}, folder / CODES_FILE)


@pytest.fixture
def space() -> ExpressionSpace:
    rows = torch.randn(3, DIM, generator=torch.Generator().manual_seed(1)).tolist()
    matrix = torch.randn(DIM, len(ARKIT_UNITS), generator=torch.Generator().manual_seed(2))
    units = ArkitMap(matrix, torch.zeros(DIM))
    return ExpressionSpace(tuple((*row, *[0.0] * GAZE_DIM) for row in rows), units)


def test_directions_are_principal_components_of_one_standard_deviation(tmp_path):
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator))[0]
    spreads = torch.linspace(3, 0.1, DIM)
    codes = torch.randn(4000, DIM, generator=generator) * spreads @ axes.T + 5
    save_codes(tmp_path, codes)
    directions = torch.tensor(load_directions(tmp_path, DIM))
    assert directions.shape == (STRONGEST, DIM + GAZE_DIM)
    assert (directions[:, DIM:] == 0).all()
    lengths = directions[:, :DIM].norm(dim=1)
    assert torch.allclose(lengths, spreads[:STRONGEST], rtol=0.1)
    along = (directions[0, :DIM] / lengths[0]) @ axes[:, 0]
    assert along.abs() > 0.95
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()


def test_without_codes_there_are_no_directions_and_others_are_refused(tmp_path):
    assert load_directions(tmp_path, DIM) == ()
    save_codes(tmp_path, torch.zeros(5, DIM + 1))
    with pytest.raises(AvatarError, match=r"codes.safetensors: expected .*\[S,12\], found"):
        load_directions(tmp_path, DIM)


def test_untouched_sliders_leave_the_very_code(space):
    assert moved(CODE, space) is CODE
    assert moved(CODE, space, directions=(0.0, 0.0), units=(0.0,) * 52) is CODE


def test_sliders_add_up_and_gaze_replaces(space):
    units = np.zeros(52)
    units[ARKIT_UNITS.index("jawOpen")] = 0.5
    units[ARKIT_UNITS.index("eyeLookUpLeft")] = 0.25
    found = moved(CODE, space, directions=(0.0, 2.0), units=tuple(units))
    assert space.units is not None
    expected = np.array(CODE.values) + 2 * np.array(space.directions[1])
    expected[:DIM] += space.units.matrix.numpy() @ units
    expected[DIM + 1] += 0.25  # the left eye's pitch
    assert np.allclose(found.values, expected, atol=1e-6)
    looking = moved(CODE, space, units=tuple(units), gaze=(0.3, -0.4))
    assert looking.values[DIM:] == pytest.approx((0.3, -0.4, 0.3, -0.4))
    assert looking.values[:DIM] != CODE.values[:DIM]


def test_what_a_space_does_not_know_counts_nothing():
    found = moved(CODE, ExpressionSpace(), directions=(1.0,) * 8, units=(1.0,) * 52)
    assert found.values == pytest.approx(CODE.values)
