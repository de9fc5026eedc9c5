import numpy as np
import pytest
import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.arkit import learn_arkit_map
from avatar_viewer.head.arkit import ARKIT_MAP_FILE, ArkitMap, load_arkit_map, save_arkit_map
from avatar_viewer.head.arkit_units import ARKIT_UNITS, unit_weights
from avatar_viewer.weights import save_tensors


def scans(count: int = 300) -> tuple[torch.Tensor, torch.Tensor, ArkitMap]:
    random = torch.Generator().manual_seed(0)
    truth = ArkitMap(torch.randn(20, 52, generator=random), torch.randn(20, generator=random))
    weights = torch.rand(count, 52, generator=random)
    return weights, truth.codes(weights), truth


def test_a_linear_map_is_found_again():
    weights, codes, truth = scans()
    found = learn_arkit_map(weights, codes, ridge=1e-6)
    torch.testing.assert_close(found.matrix, truth.matrix, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.offset, truth.offset, atol=2e-2, rtol=0)


def test_a_unit_that_no_scan_uses_moves_nothing():
    weights, _, truth = scans()
    weights[:, 7] = 0
    found = learn_arkit_map(weights, truth.codes(weights))
    assert found.matrix[:, 7].abs().max() < 1e-6


def test_gaze_follows_from_the_weights():
    weights, codes, _ = scans()
    found = learn_arkit_map(weights, codes)
    look = unit_weights({"eyeLookUpLeft": 0.5, "eyeLookUpRight": 0.5})
    expression = found.expression(look)
    assert len(expression.values) == 24
    np.testing.assert_allclose(expression.values[-4:], [0, 0.5, 0, 0.5])
    z = found.codes(torch.from_numpy(look)).tolist()
    assert expression.values[:-4] == pytest.approx(z)


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (np.zeros(51, np.float32), r"shape \(51,\)"),
        (np.full(52, np.nan, np.float32), "with NaN"),
    ],
)
def test_wrong_weights_give_one_line(weights, found):
    arkit_map = ArkitMap(torch.zeros(4, len(ARKIT_UNITS)), torch.zeros(4))
    with pytest.raises(AvatarError, match=f"ARKit weights: expected 52 finite .*{found}"):
        arkit_map.expression(weights)


def test_it_is_saved_and_loaded(tmp_path):
    weights, codes, _ = scans()
    arkit_map = learn_arkit_map(weights, codes)
    save_arkit_map(arkit_map, tmp_path)
    loaded = load_arkit_map(tmp_path)
    assert torch.equal(loaded.matrix, arkit_map.matrix)
    assert torch.equal(loaded.offset, arkit_map.offset)


def test_a_wrong_file_gives_one_line(tmp_path):
    with pytest.raises(AvatarError, match=r"arkit_map\.safetensors: expected .*found none"):
        load_arkit_map(tmp_path)
    save_tensors(
        {"matrix": torch.zeros(4, 51), "offset": torch.zeros(4)}, tmp_path / ARKIT_MAP_FILE
    )
    with pytest.raises(AvatarError, match=r"arkit_map.safetensors: expected matrix \[E,52\]"):
        load_arkit_map(tmp_path)
