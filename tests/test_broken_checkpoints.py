"""An avatar's folder with one fault at a time: each is said in one line that names the file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import write_tiny_avatar

from avatar_viewer.avatar import Avatar
from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError

NETWORKS = ("controlnet", "decoder", "expression_encoder", "head", "triplane", "unet", "vae")
WEIGHTS = tuple(f"{name}/diffusion_pytorch_model.safetensors" for name in NETWORKS)
BAKED = "head/baked_expressions.safetensors"
HULL = "head/hull.safetensors"
TENSOR_FILES = (*WEIGHTS, "head/canonical_head.safetensors", BAKED, HULL)
CONFIGS = tuple(f"{name}/config.json" for name in NETWORKS)
FILES = ("avatar.yaml", *CONFIGS, *TENSOR_FILES, "scheduler/scheduler_config.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_avatar(tmp_path_factory.mktemp("whole"), rigged=True)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "avatar")


def load_error(folder: Path) -> str:
    with pytest.raises(AvatarError) as caught:
        Avatar.load(folder)
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and "expected" in line and "found" in line
    return line


def test_the_whole_folder_loads_and_has_no_other_files(whole: Path):
    Avatar.load(whole)
    found = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert found == set(FILES)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(os.urandom(5000)),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file(folder: Path, file: str, damage: Callable[[Path], object]):
    damage(folder / file)
    if file == BAKED and damage is Path.unlink:  # the exact head does without
        assert Avatar.load(folder).head.baked is None
        return
    if file == HULL and damage is Path.unlink:  # and without anything around it
        assert Avatar.load(folder).head.hull is None
        return
    assert load_error(folder).startswith(f"{folder / file}: ")


@pytest.mark.parametrize("part", [*NETWORKS, "scheduler"])
def test_a_missing_part(folder: Path, part: str):
    shutil.rmtree(folder / part)
    if part == "decoder":  # the autoencoder's draws in its place
        assert Avatar.load(folder).decoder is None
        return
    assert str(folder / part) in load_error(folder)


def test_an_empty_folder(tmp_path: Path):
    assert "avatar.yaml" in load_error(tmp_path)


def largest_weight(tensors: dict[str, torch.Tensor]) -> str:
    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    return max(floats, key=lambda name: tensors[name].numel())


def with_nan(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name].view(-1)[-1] = torch.nan


def of_other_shape(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].flatten()[:-1]


def without(tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[name]


@pytest.mark.parametrize("edit", [with_nan, of_other_shape, without])
@pytest.mark.parametrize("file", TENSOR_FILES)
def test_a_wrong_tensor(folder: Path, file: str, edit: Callable):
    tensors = load_file(folder / file)
    name = largest_weight(tensors)
    edit(tensors, name)
    save_file(tensors, folder / file)
    line = load_error(folder)
    assert line.startswith(f"{folder / file}: ") and name in line


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("file", TENSOR_FILES)
@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_pickle_is_never_unpickled(folder: Path, tmp_path: Path, file: str, write: Callable):
    with (folder / file).open("wb") as stream:
        write(Trap(tmp_path / "sprung"), stream)
    assert load_error(folder).startswith(f"{folder / file}: ")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("triplane/config.json", {"box_min": "x"}),
        ("unet/config.json", {"freq_shift": "x"}),
        ("unet/config.json", {"norm_eps": "x"}),
        ("controlnet/config.json", {"controlnet_conditioning_channel_order": "x"}),
        ("controlnet/config.json", {"norm_num_groups": -1}),
        ("vae/config.json", {"scaling_factor": "x"}),
        ("decoder/config.json", {"box_min": "x"}),
    ],
)
def test_a_config_that_only_fails_when_it_is_used(
    folder: Path, file: str, change: dict[str, object]
):
    if file.startswith("vae"):  # not used where there is another decoder
        shutil.rmtree(folder / "decoder")
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **change}))
    line = load_error(folder)
    assert line.startswith(str(folder)) and Path(file).parent.name in line


def edit_yaml(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content))


def shorten(content: dict[str, Any], corners: slice) -> None:
    for corner in content["corners"][corners]:
        corner["expression"]["values"].pop()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(format_version=2), ["newer avatar-viewer", "found 2"]),
        (lambda c: c.pop("format_version"), ["format_version"]),
        (lambda c: shorten(c, slice(0, 1)), ["corners", "7, 8"]),
        (lambda c: shorten(c, slice(None)), ["expression", "expected 8, found 7"]),
        (lambda c: c["corners"].pop(), ["corners", "expected 4 entries, found 3"]),
        (lambda c: c.update(resolution_px=0), ["resolution_px", "found 0"]),
        (lambda c: c.update(resolution_px=30), ["resolution_px", "a multiple of 4", "found 30"]),
        (lambda c: c.update(sampler="euler"), ["sampler", "euler"]),
        (lambda c: c.update(extra="!!python/object/apply:os.system [ls]"), ["extra"]),
    ],
)
def test_a_wrong_avatar_yaml(folder: Path, edit: Callable, words: list[str]):
    edit_yaml(folder / "avatar.yaml", edit)
    line = load_error(folder)
    assert line.startswith(str(folder / "avatar.yaml"))
    assert all(word in line for word in words), line


def test_yaml_makes_no_objects(folder: Path, tmp_path: Path):
    sprung = tmp_path / "sprung"
    with (folder / "avatar.yaml").open("a") as stream:
        stream.write(f"\nnote: !!python/object/apply:builtins.open ['{sprung}', 'w']\n")
    assert str(folder / "avatar.yaml") in load_error(folder)
    assert not sprung.exists()


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("unet/config.json", {"_class_name": "ControlNetModel"}, "ControlNetModel"),
        ("unet/config.json", {"block_out_channels": [16, 33]}, "33"),
        ("unet/config.json", {"down_block_types": ["os.system", "x"]}, "os.system"),
        ("vae/config.json", {"act_fn": "nonsense"}, "nonsense"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "epsilon"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none"}, "none"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}, "a DDIM schedule"),
    ],
)
def test_a_wrong_config(folder: Path, file: str, changes: dict[str, object], word: str):
    edit_json(folder / file, **changes)
    line = load_error(folder)
    assert line.startswith(f"{folder / file}: ") and word in line, line


@pytest.mark.parametrize(
    ("part", "changes", "cut_rows"),
    [
        ("expression_encoder", {"code_dim": 7}, {"linear.weight": (slice(None), slice(7))}),
        (
            "expression_encoder",
            {"tokens": 3},
            {"linear.weight": slice(36), "linear.bias": slice(36)},
        ),
        ("triplane", {"channels": 1}, {"planes": (slice(None), slice(1))}),
        ("decoder", {"code_dim": 7}, {"expression.0.weight": (slice(None), slice(7))}),
        ("decoder", {"latent_channels": 3}, {"enter.weight": (slice(None), slice(3))}),
    ],
)
def test_parts_that_do_not_belong_together(
    folder: Path, part: str, changes: dict[str, object], cut_rows: dict[str, Any]
):
    edit_json(folder / part / "config.json", **changes)
    file = folder / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    for name, rows in cut_rows.items():
        tensors[name] = tensors[name][rows].contiguous()
    save_file(tensors, file)
    assert str(folder) in load_error(folder)


@pytest.mark.parametrize("radius", [0, -0.1, "wide"])
def test_sheets_without_a_size(folder: Path, radius: object):
    edit_json(folder / "decoder" / "config.json", mouth_radius=radius)
    line = load_error(folder)
    assert line.startswith(f"{folder}/decoder/config.json: expected the config of a RiggedDecoder")


def test_a_vae_of_another_scale(folder: Path):
    from avatar_viewer.diffusion.autoencoder import build_autoencoder
    from avatar_viewer.weights import save_network

    shutil.rmtree(folder / "decoder")
    save_network(build_autoencoder((16,), 4, fold=2), folder / "vae")
    assert f"{folder}/vae: expected a multiple of 4 pixels per latent, found 2" in load_error(
        folder
    )


# Through the command line.


def rendered(folder: Path, out: Path, *options: str) -> int:
    return main(["render", "--ckpt", str(folder), "--size", "16", "--out", str(out), *options])


CLI_CASES = {
    "cut weights": ("unet/diffusion_pytorch_model.safetensors", cut),
    "missing config": ("vae/config.json", Path.unlink),
    "random yaml": ("avatar.yaml", lambda path: path.write_bytes(os.urandom(500))),
    "future version": (
        "avatar.yaml",
        lambda path: edit_yaml(path, lambda c: c.update(format_version=9)),
    ),
}


def test_the_whole_folder_renders_on_the_command_line(folder: Path, tmp_path: Path):
    assert rendered(folder, tmp_path / "out.png") == 0
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize(("file", "damage"), CLI_CASES.values(), ids=CLI_CASES)
def test_the_command_line_says_one_line_and_exits_with_2(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], file: str, damage: Callable
):
    damage(folder / file)
    assert rendered(folder, tmp_path / "out.png") == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and file in lines[0] and "Traceback" not in lines[0]
    assert not (tmp_path / "out.png").exists()


def test_debug_shows_the_traceback(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "avatar.yaml").unlink()
    assert rendered(folder, tmp_path / "out.png", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err
