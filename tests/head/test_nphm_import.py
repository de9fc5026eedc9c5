"""Public checkpoints: made-up ones, against a literal reading of the public network's rules."""

import os
import pickle
import zipfile
from itertools import pairwise

import numpy as np
import pytest
import torch

from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.head import nphm_import
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm, named_code
from avatar_viewer.head.nphm_import import import_nphm
from avatar_viewer.head.unpickle import read_tensors
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.stages import ExpressionCode

TINY = {"pairs": 2, "middles": 2, "glob": 5, "loc": 3, "hidden": 24, "layers": 4}
TINY_MOTION = {"squeezed": 4, "expression": 6, "hidden": 30, "layers": 6}
FULL = {"pairs": 16, "middles": 7, "glob": 64, "loc": 32, "hidden": 200, "layers": 4}
FULL_MOTION = {"squeezed": 32, "expression": 200, "hidden": 512, "layers": 6}


def made_up(size=TINY, motion=TINY_MOTION, seed=0):
    """State dicts of both networks, their codebooks, and the mean anchors."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.1
        return scale * torch.randn(*shape, generator=random)

    anchors = 2 * size["pairs"] + size["middles"]
    nets = anchors + 1 - size["pairs"]
    d_in = 3 + size["glob"] + size["loc"]
    identity_dim = size["glob"] + (anchors + 1) * size["loc"]
    shape = {}
    for k, (i, o) in enumerate(widths(d_in, size["hidden"], size["layers"], 1)):
        shape[f"ensembled_deep_sdf.lin{k}.weight"] = normal(nets, o, i)
        shape[f"ensembled_deep_sdf.lin{k}.bias"] = normal(nets, o)
    for k, (i, o) in zip((0, 2, 4), ((size["glob"], 16), (16, 16), (16, 3 * anchors)), strict=True):
        shape[f"mlp_pos.{k}.weight"], shape[f"mlp_pos.{k}.bias"] = normal(o, i), normal(o)
    move = {
        "compressor.0.weight": normal(motion["squeezed"], identity_dim + 3 * anchors),
        "compressor.0.bias": normal(motion["squeezed"]),
    }
    d_in = 3 + motion["squeezed"] + motion["expression"]
    for k, (i, o) in enumerate(widths(d_in, motion["hidden"], motion["layers"], 3)):
        move[f"defDeepSDF.lin{k}.weight"], move[f"defDeepSDF.lin{k}.bias"] = normal(o, i), normal(o)
    books = normal(4, identity_dim), normal(7, motion["expression"])
    return shape, move, books, 0.3 * normal(anchors, 3).numpy().astype(np.float32)


def widths(d_in, hidden, layers, out):
    sizes = [d_in] + [hidden] * layers + [out]
    pairs = [list(pair) for pair in pairwise(sizes)]
    pairs[layers // 2 - 1][1] -= d_in  # room for the input at the skip
    return pairs


def write(folder, shape, move, books, anchors, prefix=""):
    for name, state, book in (("id", shape, books[0]), ("ex", move, books[1])):
        content = {
            "epoch": 3,
            "decoder_state_dict": {prefix + key: value for key, value in state.items()},
            "latent_codes_state_dict": {"weight": book},
            "optimizer_lat_state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]},
        }
        torch.save(content, folder / f"{name}.tar")
    np.save(folder / "anchors.npy", anchors)
    return [folder / name for name in ("id.tar", "ex.tar", "anchors.npy")]


def mlp(x, state, name, member=None):
    """One point's input [d_in] through the layers, in float64, as the rules say."""
    count = sum(key.startswith(name) and key.endswith(".weight") for key in state)
    start, skip = x, (count - 1) // 2
    for k in range(count):
        weight, bias = (state[f"{name}{k}.{part}"].double().numpy() for part in ("weight", "bias"))
        if member is not None:
            weight, bias = weight[member], bias[member]
        if k == skip:
            x = np.concatenate([x, start]) / np.sqrt(2)
        x = weight @ x + bias
        if k < count - 1:
            x = np.logaddexp(0, 100 * x) / 100  # Softplus, beta 100
    return x


def true_anchors(state, mean, code, size):
    h = code[: size["glob"]]
    for k in (0, 2, 4):
        h = state[f"mlp_pos.{k}.weight"].double().numpy() @ h + state[f"mlp_pos.{k}.bias"].numpy()
        h = np.maximum(h, 0) if k < 4 else h
    return mean + h.reshape(-1, 3)


def true_sdf(state, mean, point, code, size):
    anchors = true_anchors(state, mean, code, size)
    total, weights = 0.0, 0.0
    local_codes = code[size["glob"] :].reshape(-1, size["loc"])
    for k, anchor in enumerate(anchors):
        local = point - anchor
        weight = np.exp(-((np.linalg.norm(local) + 1e-5) ** 2) / 0.1**2)
        paired = k < 2 * size["pairs"]
        if paired and k % 2 == 1:
            local = local * (-1, 1, 1)
        net = k // 2 if paired else k - size["pairs"]
        x = np.concatenate([local, code[: size["glob"]], local_codes[k]])
        total += weight * mlp(x, state, "ensembled_deep_sdf.lin", net)[0]
        weights += weight
    background = np.exp(-0.2 / 0.1**2)
    return (total + background * 1.0) / (weights + background + 1e-6)


def true_offset(state, anchors, point, code, z):
    weight, bias = (state[f"compressor.0.{part}"].double().numpy() for part in ("weight", "bias"))
    squeezed = weight @ np.concatenate([code, anchors.ravel()]) + bias
    return mlp(np.concatenate([point, squeezed, z]), state, "defDeepSDF.lin")[:3]


@pytest.mark.parametrize(
    ("size", "motion", "prefix"),
    [(TINY, TINY_MOTION, ""), (TINY, TINY_MOTION, "module."), (FULL, FULL_MOTION, "")],
    ids=["tiny", "data parallel", "full size"],
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

    def unpickled(checkpoint):
        tensors = read_tensors(checkpoint)
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise AvatarError(
                    f"{checkpoint}: expected finite weights, found NaN or inf in {name}"
                )
        return tensors

    monkeypatch.setattr(nphm_import, "unpickled", unpickled)


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


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


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
    "another architecture": (
        "ensembled_deep_sdf.lin0.weight",
        None,
        "lin0.weight of NPHM, found none",
    ),
    "another shape": ("ensembled_deep_sdf.lin1.weight", torch.zeros(5, 9, 24), "found (5, 9, 24)"),
    "an unknown tensor": (
        "colour.weight",
        torch.zeros(3),
        "only tensors of NPHM, found colour.weight",
    ),
    "NaN": ("mlp_pos.0.bias", torch.full((16,), torch.nan), "found NaN or inf in"),
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
