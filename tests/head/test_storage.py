import pytest
import torch
from safetensors.torch import load_file, save_file

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.storage import (
    load_canonical_head,
    load_hull,
    save_canonical_head,
    save_hull,
)
from avatar_viewer.stages import CanonicalHead

HEAD = CanonicalHead(torch.rand(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]], dtype=torch.int32))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "canonical_head.safetensors"
    save_canonical_head(path, HEAD, torch.arange(5.0))
    return path


def changed(**tensors):
    return lambda path: save_file(load_file(path) | tensors, path)


def without(name):
    def damage(path):
        save_file({k: v for k, v in load_file(path).items() if k != name}, path)

    return damage


def test_round_trip(file):
    head, identity = load_canonical_head(file)
    assert torch.equal(head.vertices, HEAD.vertices) and torch.equal(head.faces, HEAD.faces)
    assert identity.tolist() == [0, 1, 2, 3, 4]
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.unlink(), "expected a safetensors file"),
        (lambda path: path.write_bytes(b""), "a whole safetensors file"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:100]),
            "a whole safetensors file",
        ),
        (without("faces"), "faces"),
        (without("identity"), "identity"),
        (changed(vertices=torch.rand(4, 2)), "vertices"),
        (changed(vertices=torch.full((4, 3), float("nan"))), "finite"),
        (changed(faces=torch.tensor([[0, 1, 4]], dtype=torch.int32)), "vertices 0 to 3"),
        (changed(faces=torch.tensor([[0, 1, -1]], dtype=torch.int32)), "vertices 0 to 3"),
        (changed(faces=torch.zeros(0, 3, dtype=torch.int32)), "vertices 0 to 3"),
        (changed(identity=torch.full((5,), float("inf"))), "finite weights"),
        (changed(identity=torch.zeros(2, 2)), "identity code"),
    ],
)
def test_damage_gives_one_line_with_the_file(file, damage, found):
    damage(file)
    with pytest.raises(AvatarError, match=found) as caught:
        load_canonical_head(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_hull_comes_back(tmp_path):
    save_hull(tmp_path / "hull.safetensors", HEAD)
    hull = load_hull(tmp_path / "hull.safetensors")
    assert torch.equal(hull.vertices, HEAD.vertices) and torch.equal(hull.faces, HEAD.faces)


@pytest.mark.parametrize("name", ["vertices", "faces"])
def test_a_hull_without_a_part(tmp_path, name):
    path = tmp_path / "hull.safetensors"
    save_hull(path, HEAD)
    without(name)(path)
    with pytest.raises(AvatarError, match=f"{path}: expected faces, vertices|expected {name}"):
        load_hull(path)
