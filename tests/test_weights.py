"""Networks as files: exact round trips, and one line for whatever is wrong with a file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_viewer.diffusion.conditioning import ExpressionEncoder
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, make_folder, written_aside
from avatar_viewer.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_network,
    load_tensors,
    read_json,
    save_network,
    save_tensors,
)

WEIGHT = "linear.weight"


def encoder() -> ExpressionEncoder:
    torch.manual_seed(0)
    network = ExpressionEncoder(code_dim=6, tokens=2, token_dim=4, prompt_tokens=1)
    torch.nn.init.normal_(network.prompt)
    return network


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    save_network(encoder(), folder)
    return folder


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "encoder")


def error_line(call: Callable[[], object], path: Path) -> str:
    """The one line of the AvatarError that `call` raises, which begins with the path."""
    with pytest.raises(AvatarError) as caught:
        call()
    line = str(caught.value)
    assert line.startswith(f"{path}: expected ") and "found" in line
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_network_comes_back_as_it_was_written(tmp_path: Path, dtype: torch.dtype):
    network = encoder().to(dtype)
    save_network(network, tmp_path / "new" / "folder", dtype)
    loaded = load_network(ExpressionEncoder, tmp_path / "new" / "folder", dtype)
    assert loaded.config["code_dim"] == 6 and not loaded.training
    for name, expected in network.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == dtype and torch.equal(found, expected)
    assert not any(p.requires_grad for p in loaded.parameters())
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {CONFIG_FILE, WEIGHTS_FILE}


def test_weights_lie_in_half_precision_and_run_in_the_wanted_one(saved: Path):
    stored = load_file(saved / WEIGHTS_FILE)
    assert all(tensor.dtype == torch.float16 for tensor in stored.values())
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_network(ExpressionEncoder, saved, dtype)
        assert torch.equal(loaded.linear.weight, stored[WEIGHT].to(dtype))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        cut,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(4000)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["missing", "cut", "empty", "random", "a folder"],
)
def test_a_damaged_file_is_named(saved: Path, name: str, damage: Callable[[Path], object]):
    damage(saved / name)
    error_line(lambda: load_network(ExpressionEncoder, saved), saved / name)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop(WEIGHT), f"found none for {WEIGHT}"),
        (lambda t: t.update(extra=torch.zeros(1)), "found an unknown tensor for extra"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].T.contiguous()}), "shape (8, 6), found (6, 8)"),
        (lambda t: t[WEIGHT][0].fill_(torch.nan), f"found NaN or inf in {WEIGHT}"),
        (lambda t: t[WEIGHT][0].fill_(torch.inf), f"found NaN or inf in {WEIGHT}"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].int()}), f"{WEIGHT} as torch.float32, found"),
    ],
    ids=["missing", "unknown", "shape", "NaN", "inf", "integers"],
)
def test_a_wrong_tensor_is_named(
    saved: Path, edit: Callable[[dict[str, Tensor]], object], words: str
):
    path = saved / WEIGHTS_FILE
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    assert words in error_line(lambda: load_network(ExpressionEncoder, saved), path)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_is_not_unpickled(saved: Path, tmp_path: Path):
    sprung = tmp_path / "sprung"
    pickled = pickle.dumps(Trap(sprung))
    pickle.loads(pickled).close()
    assert sprung.exists(), "the trap works"
    sprung.unlink()
    for content in (pickled, pickled + bytes(1000)):
        (saved / WEIGHTS_FILE).write_bytes(content)
        error_line(lambda: load_network(ExpressionEncoder, saved), saved / WEIGHTS_FILE)
    torch.save({WEIGHT: Trap(sprung)}, saved / WEIGHTS_FILE)
    error_line(lambda: load_network(ExpressionEncoder, saved), saved / WEIGHTS_FILE)
    (saved / WEIGHTS_FILE).unlink()
    (saved / "diffusion_pytorch_model.bin").write_bytes(pickled)
    error_line(lambda: load_network(ExpressionEncoder, saved), saved / WEIGHTS_FILE)
    assert not sprung.exists()


def test_a_config_of_another_class(saved: Path, tmp_path: Path):
    save_network(TriPlane(1, 2), tmp_path / "planes")
    shutil.copy(tmp_path / "planes" / CONFIG_FILE, saved)
    line = error_line(lambda: load_network(ExpressionEncoder, saved), saved / CONFIG_FILE)
    assert "ExpressionEncoder" in line and "TriPlane" in line


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "null",
        '{"_class_name": "ExpressionEncoder", "code_dim": "six"}',
        '{"_class_name": "ExpressionEncoder", "code_dim": -1}',
        '{"_class_name": ["os.system"]}',
        "[" * 100_000,
    ],
)
def test_a_config_that_is_none(saved: Path, content: str):
    path = saved / CONFIG_FILE
    path.write_text(content)
    error_line(lambda: load_network(ExpressionEncoder, saved), path)


def test_a_class_name_in_the_file_is_not_looked_up(saved: Path):
    path = saved / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "TriPlane"}))
    error_line(lambda: load_network(ExpressionEncoder, saved), path)
    assert read_json(path)["code_dim"] == 6


def test_tensors_of_any_layout_are_saved(tmp_path: Path):
    transposed = torch.arange(6.0).view(2, 3).T
    save_tensors({"t": transposed, "i": torch.tensor([1, 2])}, tmp_path / "t.safetensors")
    found = load_tensors(tmp_path / "t.safetensors")
    assert torch.equal(found["t"], transposed) and found["i"].tolist() == [1, 2]


def test_unwritable_places_are_named(tmp_path: Path):
    nowhere = tmp_path / "nowhere" / "t.safetensors"
    error_line(lambda: save_tensors({"t": torch.zeros(1)}, nowhere), nowhere)
    file = tmp_path / "file"
    file.touch()
    error_line(lambda: save_network(encoder(), file / "network"), file / "network")
    error_line(lambda: make_folder(file), file)
    error_line(lambda: ensure_writable(file / "x.png"), file / "x.png")
    error_line(lambda: ensure_writable(tmp_path), tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with written_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
    ensure_writable(path)
    assert path.read_text() == "new"
