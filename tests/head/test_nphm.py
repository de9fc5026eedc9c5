import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_nphm import tiny_nphm

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import CODES_FILE, GAZE_DIM, NPHM, load_codes, load_nphm, named_code

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def nphm():
    return tiny_nphm()


@pytest.fixture
def saved(tmp_path, nphm):
    nphm.save_pretrained(tmp_path)
    return tmp_path


def test_shapes_of_one_and_of_a_batch(nphm):
    points, identity = torch.rand(5, 3), torch.randn(nphm.identity_dim)
    z = torch.randn(52)
    assert nphm.sdf(points, identity).shape == (5,)
    assert nphm.anchors(identity).shape == (6, 3)
    one = nphm.deform(points, identity, z)
    both = nphm.deform(points.expand(2, 5, 3), identity.expand(2, -1), torch.stack([z, 2 * z]))
    torch.testing.assert_close(both[0], one)
    assert both.shape == (2, 5, 3) and not torch.allclose(both[1], one)


def test_gaze_moves_nothing(nphm):
    points, identity, z = torch.rand(5, 3), torch.randn(nphm.identity_dim), torch.randn(52)
    left, right = torch.ones(GAZE_DIM), -torch.ones(GAZE_DIM)
    expected = nphm.deform(points, identity, z)
    for gaze in (left, right):
        assert torch.equal(nphm.deform(points, identity, torch.cat([z, gaze])), expected)


def test_a_head_whose_output_layer_is_zero_stays_still(nphm):
    torch.nn.init.zeros_(nphm.deformation.out.weight)
    offsets = nphm.deform(torch.rand(9, 3), torch.randn(nphm.identity_dim), torch.randn(52))
    assert torch.equal(offsets, torch.zeros(9, 3))


@pytest.mark.parametrize("length", [51, 53, 57])
def test_wrong_expression_length(nphm, length):
    with pytest.raises(AvatarError, match=f"expected 52 numbers, found {length}"):
        nphm.deform(torch.rand(5, 3), torch.randn(nphm.identity_dim), torch.randn(length))


def test_wrong_identity_length(nphm):
    with pytest.raises(AvatarError, match="identity code: expected"):
        nphm.sdf(torch.rand(5, 3), torch.randn(nphm.identity_dim + 1))


def test_round_trip(saved, nphm):
    loaded = load_nphm(saved)
    points, identity, z = torch.rand(50, 3), torch.randn(nphm.identity_dim), torch.randn(52)
    assert torch.equal(loaded.sdf(points, identity), nphm.sdf(points, identity))
    assert torch.equal(loaded.deform(points, identity, z), nphm.deform(points, identity, z))
    assert tuple(loaded.config["box_min"]) == tuple(nphm.config["box_min"])
    assert loaded.config["units_per_metre"] == 4.0


def test_softplus_and_relu_differ_only_a_little():
    relu, softplus = tiny_nphm(), tiny_nphm(sdf_activation="softplus")
    softplus.load_state_dict(relu.state_dict())
    points, identity = torch.rand(50, 3), torch.randn(relu.identity_dim)
    difference = (relu.sdf(points, identity) - softplus.sdf(points, identity)).abs()
    assert 0 < difference.max() < 0.2


def _truncated(file):
    file.write_bytes(file.read_bytes()[:200])


def _nan(file):
    weights = load_file(file)
    weights["identity_sdf.out"][:] = float("nan")
    save_file(weights, file)


def _wrong_shape(file):
    weights = load_file(file)
    weights["identity_sdf.out"] = torch.zeros(2, 2)
    save_file(weights, file)


def _missing_weight(file):
    weights = load_file(file)
    del weights["identity_sdf.out"]
    save_file(weights, file)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (WEIGHTS, lambda file: file.unlink()),
        (WEIGHTS, lambda file: file.write_bytes(b"")),
        (WEIGHTS, _truncated),
        (WEIGHTS, _nan),
        (WEIGHTS, _wrong_shape),
        (WEIGHTS, _missing_weight),
        ("config.json", lambda file: file.unlink()),
        ("config.json", lambda file: file.write_text("{")),
        ("config.json", lambda file: file.write_text(json.dumps({"global_dim": "six"}))),
    ],
)
def test_broken_files_give_one_line(saved, name, damage):
    damage(saved / name)
    with pytest.raises(AvatarError) as caught:
        load_nphm(saved)
    assert "\n" not in str(caught.value) and str(saved) in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(AvatarError, match="nowhere"):
        load_nphm(tmp_path / "nowhere")


def test_codes(tmp_path):
    with pytest.raises(AvatarError, match=CODES_FILE):
        load_codes(tmp_path)
    save_file({"identity": torch.zeros(1, 3)}, tmp_path / CODES_FILE)
    with pytest.raises(AvatarError, match="expected expression, found none"):
        load_codes(tmp_path)


def test_a_code_is_found_by_its_name():
    codes = {"identity": torch.arange(12.0).view(12, 1), "expression": torch.zeros(1500, 2)}
    assert named_code(codes, "identity", "train_007") == 7
    assert named_code(codes, "expression", "train_1234").shape == (2,)
    for name in ("train_012", "train_-1", "train_", "val_001", "7"):
        with pytest.raises(AvatarError, match=f"train_000 to train_011, found {name}"):
            named_code(codes, "identity", name)


def test_every_size_is_in_the_config():
    config = NPHM(sdf_hidden=8, deform_hidden=8).config
    assert config["sdf_hidden"] == 8 and config["expression_dim"] == 56
