"""Import of public checkpoints: made-up ones, against a literal reading of their rules."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from public_checkpoint import (
    FULL,
    FULL_MOTION,
    TINY,
    TINY_MOTION,
    Evil,
    made_up,
    true_anchors,
    true_offset,
    true_sdf,
    write,
)

from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.head import nphm_import
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm, named_code
from avatar_viewer.head.nphm_import import import_nphm, read_anchors
from avatar_viewer.head.unpickle import read_tensors
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.stages import ExpressionCode


@pytest.mark.parametrize(
    ("size", "motion", "prefix"),
    [
        (TINY, TINY_MOTION, ""),
        (TINY | {"layers": 2}, TINY_MOTION | {"layers": 3}, "module."),
        (FULL, FULL_MOTION, ""),
    ],
    ids=["tiny", "few layers, data parallel", "full size"],
)
def test_it_equals_the_public_network(tmp_path, size, motion, prefix):
    shape, move, books, mean = made_up(size, motion)
    files = write(tmp_path, shape, move, books, mean[None], prefix)
    words = ("--identity", "--expression", "--anchors")
    options = [str(part) for pair in zip(words, files, strict=True) for part in pair]
    assert main(["import", "nphm", *options, "--out", str(tmp_path / "head")]) == 0
    nphm = NPHM.from_pretrained(tmp_path / "head")
    assert isinstance(nphm, NPHM)
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-0.6, 0.6, (12, 3)), mean[:3] + 0.01, [[5.0, 5.0, 5.0]]])
    tensor = torch.from_numpy(points).float()
    codes = load_codes(tmp_path / "head")
    assert torch.equal(codes["identity"], books[0]) and torch.equal(codes["expression"], books[1])
    for number in (0, 3):
        identity = named_code(codes, "identity", f"train_{number:03d}")
        z = named_code(codes, "expression", "train_006")
        code, expression = identity.double().numpy(), z.double().numpy()
        anchors = true_anchors(shape, mean, code, size)
        with torch.no_grad():
            np.testing.assert_allclose(nphm.anchors(identity), anchors, atol=1e-5)
            expected = [true_sdf(shape, mean, point, code, size) for point in points]
            np.testing.assert_allclose(nphm.sdf(tensor, identity), expected, atol=1e-4)
            expected = [true_offset(move, anchors, point, code, expression) for point in points]
            found = nphm.deform(tensor, identity, z)
            np.testing.assert_allclose(found, expected, atol=1e-4)
            assert found.shape == tensor.shape


@pytest.fixture
def at_once(monkeypatch):
    """Checkpoints are read in this process: starting another takes seconds."""
    monkeypatch.setattr(nphm_import, "unpickled", read_tensors)


@pytest.fixture
def files(tmp_path):
    return write(tmp_path, *made_up())


@pytest.fixture
def imported(files, tmp_path, at_once):
    import_nphm(*files, tmp_path / "head")
    return tmp_path / "head"


def test_a_batch_equals_its_items_and_gradients_flow(imported):
    nphm, codes = load_nphm(imported), load_codes(imported)
    points = torch.rand(2, 9, 3) - 0.5
    both = nphm.sdf(points, codes["identity"][:2])
    for row, identity, point in zip(both, codes["identity"], points, strict=False):
        torch.testing.assert_close(row, nphm.sdf(point, identity))
    points.requires_grad_()
    (gradient,) = torch.autograd.grad(nphm.sdf(points, codes["identity"][:2]).sum(), points)
    assert gradient.abs().max() > 0


def test_an_imported_head_is_extracted_and_posed(imported):
    nphm, codes = load_nphm(imported), load_codes(imported)
    identity = codes["identity"][0]
    for bias in nphm.identity_sdf.biases[-1:]:
        bias.data -= 0.05  # inside around the anchors
    head = extract_head(nphm, identity, Extraction(cells=40, triangles=500))
    z = codes["expression"][1]
    mesh = HeadPoser(nphm, head, identity, vertex_normals).pose(
        ExpressionCode((*z.tolist(), 0.0, 0.0, 0.0, 0.0))
    )
    moved = head.vertices + nphm.deform(head.vertices, identity, z)
    torch.testing.assert_close(mesh.vertices, moved.detach())


def test_units_and_box_are_in_the_config(imported):
    config = load_nphm(imported).config
    assert config["family"] == "paper" and config["units_per_metre"] == 4
    assert config["box_min"][1] == -0.5 and config["box_max"][2] == 0.4
    assert config["sdf_layers"] == 4 and config["deform_layers"] == 6


def test_further_outputs_of_the_deformation_are_dropped(tmp_path, at_once):
    shape, move, books, mean = made_up()
    last = f"defDeepSDF.lin{TINY_MOTION['layers']}"
    wider = {
        f"{last}.weight": torch.cat([move[f"{last}.weight"], torch.ones(1, 30)]),
        f"{last}.bias": torch.cat([move[f"{last}.bias"], torch.ones(1)]),
    }
    import_nphm(*write(tmp_path, shape, move | wider, books, mean), tmp_path / "wide")
    weight = load_nphm(tmp_path / "wide").deformation.layers[-1].weight
    assert torch.equal(weight, move[f"{last}.weight"])


def one_line(files, tmp_path, capsys):
    """The error of the command, after which nothing is there."""
    words = ("--identity", "--expression", "--anchors")
    options = [str(part) for pair in zip(words, files, strict=True) for part in pair]
    assert main(["import", "nphm", *options, "--out", str(tmp_path / "out" / "head")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "expected" in lines[0] and "found" in lines[0]
    out = tmp_path / "out"
    assert not out.exists() or list(out.iterdir()) == []
    return lines[0]


SHAPE_CHANGES = {
    "a missing tensor": ("ensembled_deep_sdf.lin2.bias", None, "lin2.bias of NPHM, found none"),
    "another shape": ("ensembled_deep_sdf.lin1.weight", torch.zeros(5, 9, 24), "found (5, 9, 24)"),
    "an unknown tensor": (
        "colour.weight",
        torch.zeros(3),
        "only tensors of NPHM, found colour.weight",
    ),
    "no room at the skip": (
        "ensembled_deep_sdf.lin2.weight",
        torch.zeros(5, 24, 11),
        "more columns than the 11 inputs, found 11",
    ),
    "no local codes": ("mlp_pos.0.weight", torch.zeros(16, 8), "more than 11 columns, found 11"),
    "an empty tensor": ("mlp_pos.0.weight", torch.zeros(16, 0), "(any, any), found (16, 0)"),
    "other anchors": ("mlp_pos.4.weight", torch.zeros(30, 16), "(18 rows)"),
}


@pytest.mark.parametrize("change", SHAPE_CHANGES.values(), ids=SHAPE_CHANGES)
def test_a_wrong_identity_checkpoint(tmp_path, capsys, at_once, change):
    name, tensor, message = change
    shape, move, books, mean = made_up()
    changed = {key: value for key, value in shape.items() if key != name}
    if tensor is not None:
        changed[name] = tensor
    line = one_line(write(tmp_path, changed, move, books, mean), tmp_path, capsys)
    assert "id.tar" in line and message in line


def test_whatever_is_wrong_with_a_shape_is_one_line(tmp_path, at_once):
    rng = np.random.default_rng(0)
    for number in range(150):
        shape, move, books, mean = made_up()
        state = (shape, move)[number % 2]
        name = list(state)[rng.integers(len(state))]
        sizes = [int(size * rng.choice([0, 0.3, 0.5, 2])) for size in state[name].shape]
        state[name] = (torch.zeros(sizes), state[name][0], state[name][None])[rng.integers(3)]
        files = write(tmp_path, shape, move, books, mean)
        with pytest.raises(AvatarError, match=r"expected .*found") as caught:
            import_nphm(*files, tmp_path / "head")
        assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"id.tar", "ex.tar", "anchors.npy"}


def test_nan_is_found_by_the_reader(tmp_path, capsys):
    shape, move, books, mean = made_up()
    shape["mlp_pos.0.bias"][3] = torch.nan
    line = one_line(write(tmp_path, shape, move, books, mean), tmp_path, capsys)
    assert "id.tar: expected finite weights" in line and "mlp_pos.0.bias" in line


def test_a_network_of_another_family(tmp_path, capsys, at_once):
    _, move, books, mean = made_up()
    wider = made_up(TINY | {"pairs": 4, "middles": 3})[0]  # more anchors, as MonoNPHM has
    line = one_line(write(tmp_path, wider, move, books, mean), tmp_path, capsys)
    assert "for 6 anchors (18 rows)" in line and "found 33 rows and 8" in line
    other = {"conv.weight": torch.zeros(3, 3)}
    line = one_line(write(tmp_path, other, move, books, mean), tmp_path, capsys)
    assert "expected tensor ensembled_deep_sdf.lin0.weight of NPHM, found none" in line


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.zeros(3, device="meta"),
        torch.zeros(3, dtype=torch.cfloat),
        3.0,
    ],
)
def test_what_is_no_plain_tensor(tmp_path, value):
    file = tmp_path / "id.tar"
    torch.save({"decoder_state_dict": {"x": value}, "latent_codes_state_dict": {}}, file)
    with pytest.raises(AvatarError, match=r"expected decoder_state_dict\.x as a .*tensor.*, found"):
        read_tensors(file)


@pytest.mark.parametrize(
    ("anchors", "found"),
    [
        (np.zeros((6, 2)), r"\(6, 2\)"),
        (np.zeros((2, 6, 3)), r"\(2, 6, 3\)"),
        (np.zeros((0, 3)), r"\(0, 3\)"),
        (np.full((6, 3), np.nan), "NaN or inf"),
        (np.full((6, 3), 1e300), "NaN or inf"),
        (np.zeros((6, 3), complex), "complex128"),
        (np.full((6, 3), "a"), "<U1"),
    ],
)
def test_anchors_that_are_none(tmp_path, anchors, found):
    np.save(tmp_path / "anchors.npy", anchors)
    with pytest.raises(AvatarError, match=f"anchors.npy: expected .*found .*{found}"):
        read_anchors(tmp_path / "anchors.npy")
    with (tmp_path / "anchors.npy").open("wb") as file:
        np.savez(file, anchors=np.zeros((6, 3)))
    with pytest.raises(AvatarError, match=r"expected a \.npy file"):
        read_anchors(tmp_path / "anchors.npy")


def test_checkpoints_that_do_not_belong_together(tmp_path, capsys, at_once):
    shape, _, books, mean = made_up()
    _, move, other_books, _ = made_up(size=TINY | {"glob": 6})
    files = write(tmp_path, shape, move, (books[0], other_books[1]), mean)
    line = one_line(files, tmp_path, capsys)
    assert "ex.tar" in line and "compressor.0.weight" in line and "(44 columns), found 45" in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("id.tar", None),
        ("id.tar", b"not a checkpoint"),
        ("ex.tar", b""),
        ("anchors.npy", None),
        ("anchors.npy", b"not an array"),
    ],
)
def test_a_file_that_is_none(files, tmp_path, capsys, name, content):
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert name in one_line(files, tmp_path, capsys)


def test_a_cut_checkpoint(files, tmp_path, capsys):
    whole = (tmp_path / "id.tar").read_bytes()
    (tmp_path / "id.tar").write_bytes(whole[: len(whole) // 2])
    assert "id.tar: expected a torch checkpoint" in one_line(files, tmp_path, capsys)


def test_a_pickle_that_runs_code_does_not(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "id.tar").write_bytes(pickle.dumps(Evil()))
    assert "id.tar" in one_line(files, tmp_path, capsys)
    with zipfile.ZipFile(tmp_path / "id.tar", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
        archive.writestr("archive/version", "3")
    assert "id.tar" in one_line(files, tmp_path, capsys)
    np.save(tmp_path / "anchors.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    assert "anchors.npy" in one_line(write_again(tmp_path, files), tmp_path, capsys)
    assert not (tmp_path / "evil").exists()


def write_again(folder, files):
    anchors = (folder / "anchors.npy").read_bytes()
    write(folder, *made_up())
    (folder / "anchors.npy").write_bytes(anchors)
    return files


def test_a_folder_that_is_there_is_kept(files, imported):
    with pytest.raises(AvatarError, match="head: expected a folder that is not there yet"):
        import_nphm(*files, imported)
    load_nphm(imported)
