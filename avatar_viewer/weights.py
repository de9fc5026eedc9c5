"""Strict saving and loading of one network: config.json and safetensors, nothing else.

The class is the caller's, never the file's, and every tensor must be there, of the right shape
and finite, so that whatever is wrong with a file is said in one line that names it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import ModelMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import make_folder, written_aside

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
"""The names that diffusers gives them."""

Network = TypeVar("Network", bound=ModelMixin)


def load_network(cls: type[Network], folder: Path, dtype: torch.dtype = torch.float32) -> Network:
    """A network of class `cls` in eval mode; raises AvatarError in one line."""
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    config = read_json(config_path)
    # diffusers takes any config, with the defaults of a large network for what is not in it.
    if config.get("_class_name") != cls.__name__:
        raise AvatarError(
            f"{config_path}: expected the config of a {cls.__name__}, found that of "
            f"{config.get('_class_name')}"
        )
    try:
        network = cls.from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:
        raise AvatarError(
            f"{config_path}: expected the config of a {cls.__name__}, found: {one_line(error)}"
        ) from error
    assert isinstance(network, cls)
    expected = network.state_dict()
    found = load_tensors(weights_path)
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            where = "none" if name not in found else "an unknown tensor"
            raise AvatarError(
                f"{weights_path}: expected the weights of config.json, found {where} for {name}"
            )
        if expected[name].shape != found[name].shape:
            raise AvatarError(
                f"{weights_path}: expected {name} of shape "
                f"{tuple(expected[name].shape)}, found {tuple(found[name].shape)}"
            )
        if expected[name].is_floating_point() != found[name].is_floating_point():
            raise AvatarError(
                f"{weights_path}: expected {name} as {expected[name].dtype}, "
                f"found {found[name].dtype}"
            )
    # Copies, because tensors of a file lie at any address: sums then come out otherwise in their
    # last digits, and a file that changes would change the network.
    weights = {name: _cast(t, dtype, copy=True) for name, t in found.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def save_network(network: ModelMixin, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write config.json and the weights in `dtype`; each file aside, then renamed."""
    make_folder(folder)
    with written_aside(folder / CONFIG_FILE) as aside:
        aside.write_text(network.to_json_string())
    state = {name: _cast(tensor, dtype) for name, tensor in network.state_dict().items()}
    save_tensors(state, folder / WEIGHTS_FILE)


def _cast(tensor: Tensor, dtype: torch.dtype, *, copy: bool = False) -> Tensor:
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=copy)


def read_json(path: Path) -> dict:
    """A JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AvatarError(f"{path}: expected a JSON file, found none") from error
    except (OSError, ValueError, RecursionError) as error:
        raise AvatarError(f"{path}: expected JSON, found: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise AvatarError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, all of them finite."""
    if not path.is_file():
        raise AvatarError(f"{path}: expected a safetensors file, found none")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise AvatarError(
            f"{path}: expected a whole safetensors file, found: {one_line(error)}"
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise AvatarError(f"{path}: expected finite weights, found NaN or inf in {name}")
    return tensors


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file, aside and then renamed."""
    with written_aside(path) as aside:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside)
        except SafetensorError as error:
            raise OSError(one_line(error)) from error
