"""The `fit` command on a head model whose surface is a ball."""

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file

from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression import fit as fitting
from avatar_viewer.expression.fit import ANCHOR_NAMES, read_landmarks
from avatar_viewer.head import fit_scan
from avatar_viewer.head.nphm import CODES_FILE, NPHM, load_nphm
from avatar_viewer.weights import save_network, save_tensors


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    torch.manual_seed(0)
    nphm = NPHM(
        global_dim=6,
        local_dim=4,
        expression_dim=5,
        anchor_pairs=2,
        anchor_middles=2,
        sdf_hidden=8,
        sdf_nearest=2,
        squeezed_dim=4,
        deform_hidden=8,
        deform_layers=2,
        deform_frequencies=1,
    )
    save_network(nphm, folder, torch.float32)
    codes = {"identity": torch.randn(9, nphm.identity_dim), "expression": torch.randn(12, 5)}
    save_tensors(codes, folder / CODES_FILE)
    return folder


@pytest.fixture
def scan(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_scan, "STEPS", 2)
    monkeypatch.setattr(fitting, "fit_scan", lambda *a, **k: fit_scan.fit_scan(*a, steps=2, **k))
    trimesh.creation.icosphere(subdivisions=3, radius=120).export(tmp_path / "scan.ply")
    return tmp_path / "scan.ply"


def words(scan, head, out, *more):
    return [
        "fit",
        "--scan",
        str(scan),
        "--head",
        str(head),
        "--out",
        str(out),
        "--unit",
        "mm",
        *more,
    ]


def test_codes_are_written(scan, head, tmp_path, capsys):
    nphm = load_nphm(head)
    both, known, canonical = (
        tmp_path / f"{name}.safetensors" for name in ("both", "known", "canon")
    )
    assert main(words(scan, head, both)) == 0
    found = load_file(both)
    assert found["identity"].shape == (nphm.identity_dim,) and found["expression"].shape == (5,)
    assert torch.equal(found["head_from_scan"], torch.eye(4))
    assert "mean" in capsys.readouterr().out
    assert main(words(scan, head, known, "--identity", str(both))) == 0
    assert torch.equal(load_file(known)["identity"], found["identity"])
    assert main(words(scan, head, canonical, "--canonical")) == 0
    assert "expression" not in load_file(canonical)


def test_landmarks_by_name_and_number(scan, head, tmp_path):
    (tmp_path / "landmarks.yaml").write_text(
        "left inner eye corner: [10, 20, 100]\n1: [-10, 20, 100]\n5: [0, -30, 90]\n"
    )
    landmarks = read_landmarks(tmp_path / "landmarks.yaml", load_nphm(head), 0.004)
    assert sorted(landmarks) == [0, 1, 5]
    np.testing.assert_allclose(landmarks[0], [0.04, 0.08, 0.4], rtol=1e-6)
    out = tmp_path / "code.safetensors"
    more = ("--landmarks", str(tmp_path / "landmarks.yaml"))
    assert main(words(scan, head, out, *more)) == 0
    assert not torch.equal(load_file(out)["head_from_scan"], torch.eye(4))


def test_there_are_39_anchor_names():
    assert len(set(ANCHOR_NAMES)) == 39 and ANCHOR_NAMES[:2] == (
        "left inner eye corner",
        "right inner eye corner",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nose: [1, 2, 3]", "expected anchors 0 to 5 or names such as .*, found 'nose'"),
        ("17: [1, 2, 3]", "expected anchors 0 to 5 .*, found 17"),
        ("1: [1, 2]", r"1: expected three finite numbers, found \[1, 2\]"),
        ("1: [1, 2, .nan]", "1: expected three finite numbers"),
        ("1: front", "1: expected three finite numbers, found 'front'"),
    ],
)
def test_wrong_landmarks(head, tmp_path, text, message):
    (tmp_path / "landmarks.yaml").write_text(text)
    with pytest.raises(AvatarError, match=rf"landmarks\.yaml: {message}"):
        read_landmarks(tmp_path / "landmarks.yaml", load_nphm(head), 1.0)


def one_error_line(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "expected" in line and "found" in line
    return line


def test_wrong_files_and_options(scan, head, tmp_path, capsys):
    out = tmp_path / "code.safetensors"
    save_tensors({"identity": torch.zeros(3)}, tmp_path / "other.safetensors")
    for more, message in (
        (("--identity", str(tmp_path / "other.safetensors")), "expected an identity of"),
        (("--identity", str(tmp_path / "none.safetensors")), "none.safetensors"),
        (("--identity", str(tmp_path / "other.safetensors"), "--canonical"), "--canonical"),
        (("--unit", "m"), "it would be one in mm"),
        (("--head", str(tmp_path)), str(tmp_path)),
        (("--out", str(tmp_path / "no" / "where.safetensors")), "writable"),
    ):
        assert main(words(scan, head, out, *more)) == 2
        assert message in one_error_line(capsys)
        assert not out.exists()
