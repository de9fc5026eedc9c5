"""Public NPHM checkpoints -> the folder of a head model of the paper's family."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import make_folder
from avatar_viewer.head.nphm import CODES_FILE, NPHM
from avatar_viewer.head.unpickle import unpickled
from avatar_viewer.weights import save_network, save_tensors

UNITS_PER_METRE = 4.0
BOX_MIN, BOX_MAX = (-0.55, -0.5, -0.95), (0.55, 0.75, 0.40)
"""NPHM's frame is FLAME's, in metres, times 4: x to the subject's left, y up, z to the front."""


def import_nphm(identity: Path, expression: Path, anchors: Path, out: Path) -> None:
    """Convert the checkpoints of both networks and the mean anchors (.npy, [A,3]).

    Sizes follow from the tensors' shapes. The codebooks come along (`head.nphm.named_code`).
    AvatarError names the file and the tensor; `out` appears whole or not at all.
    """
    if out.exists():
        raise AvatarError(f"{out}: expected a folder that is not there yet, found one")
    make_folder(out.parent)
    mean_anchors = read_anchors(anchors)
    shape, motion = Checkpoint(identity), Checkpoint(expression)
    count = len(mean_anchors)
    sizes = _identity_sizes(shape, count)
    identity_dim = sizes["global_dim"] + (count + 1) * sizes["local_dim"]
    sizes |= _expression_sizes(motion, identity_dim + 3 * count)
    nphm = NPHM(
        family="paper",
        **sizes,
        units_per_metre=UNITS_PER_METRE,
        box_min=BOX_MIN,
        box_max=BOX_MAX,
    )
    nphm.load_state_dict(_state(nphm, shape, motion, mean_anchors))
    codes = {
        "identity": shape.take("latent_codes_state_dict/weight", (None, identity_dim)),
        "expression": motion.take(
            "latent_codes_state_dict/weight", (None, sizes["expression_dim"])
        ),
    }
    for source in (shape, motion):
        source.check_all_taken()
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        save_network(nphm, aside, torch.float32)
        save_tensors(codes, aside / CODES_FILE)
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class Checkpoint:
    """The tensors of one file, each to be taken once."""

    def __init__(self, path: Path) -> None:
        self.path, self.tensors = path, unpickled(path)
        self.taken: set[str] = set()

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor of the decoder, from which sizes follow."""
        return tuple(self._get(f"decoder_state_dict/{name}", (None,) * dimensions).shape)

    def layers(self, pattern: str) -> int:
        """How many linear layers there are whose names match "...{}...", counted from 0."""
        found = re.escape(f"decoder_state_dict/{pattern}").replace(re.escape("{}"), r"(\d+)")
        numbers = [int(m[1]) for name in self.tensors if (m := re.fullmatch(found, name))]
        return max(numbers, default=-1) + 1

    def take(self, name: str, expected: tuple[int | None, ...]) -> Tensor:
        """A tensor of this shape, where None is any size."""
        self.taken.add(name)
        return self._get(name, expected)

    def check_all_taken(self) -> None:
        """Raise for a tensor that the architecture has no place for."""
        if unknown := sorted(self.tensors.keys() - self.taken):
            raise AvatarError(
                f"{self.path}: expected only tensors of NPHM, found {unknown[0].split('/', 1)[1]}"
            )

    def _get(self, name: str, expected: tuple[int | None, ...]) -> Tensor:
        short = name.removeprefix("decoder_state_dict/").replace("/", ".")
        if name not in self.tensors:
            raise AvatarError(f"{self.path}: expected tensor {short} of NPHM, found none")
        found = self.tensors[name]
        fits = len(found.shape) == len(expected) and all(
            number > 0 and size in (None, number)
            for size, number in zip(expected, found.shape, strict=True)
        )
        if not fits:
            sizes = ", ".join("any" if size is None else str(size) for size in expected)
            raise AvatarError(
                f"{self.path}: expected tensor {short} of shape ({sizes}), "
                f"found {tuple(found.shape)}"
            )
        return found


def read_anchors(path: Path) -> Tensor:
    """[A,3] float32 of a .npy file with shape [A,3] or [1,A,3]."""
    try:
        with path.open("rb") as file:
            anchors = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AvatarError(f"{path}: expected a .npy file, found: {one_line(error)}") from error
    if anchors.dtype.kind != "f":
        raise AvatarError(f"{path}: expected anchors as floats, found {anchors.dtype}")
    if anchors.ndim == 3 and len(anchors) == 1:
        anchors = anchors[0]
    if anchors.ndim != 2 or anchors.shape[1] != 3 or len(anchors) == 0:
        raise AvatarError(f"{path}: expected anchors [A,3], found shape {anchors.shape}")
    tensor = torch.from_numpy(anchors.astype(np.float64)).float()
    if not torch.isfinite(tensor).all():
        raise AvatarError(f"{path}: expected finite anchors, found NaN or inf")
    return tensor


def public_name(name: str) -> str:
    """What a tensor of a paper-family NPHM is called in a checkpoint."""
    for pattern, public in (
        (r"identity_sdf\.weights\.(\d+)", r"ensembled_deep_sdf.lin\1.weight"),
        (r"identity_sdf\.biases\.(\d+)", r"ensembled_deep_sdf.lin\1.bias"),
        (r"identity_sdf\.anchor_mlp\.", "mlp_pos."),
        (r"deformation\.compressor\.", "compressor.0."),
        (r"deformation\.layers\.(\d+)\.", r"defDeepSDF.lin\1."),
    ):
        name = re.sub(f"^{pattern}", public, name)
    return f"decoder_state_dict/{name}"


def _state(nphm: NPHM, shape: Checkpoint, motion: Checkpoint, anchors: Tensor) -> dict:
    """The state dict of `nphm` out of the checkpoints of both networks."""
    last = nphm.config["deform_layers"]
    outputs = motion.shape(f"defDeepSDF.lin{last}.weight", 2)[0]
    state = {"identity_sdf.mean_anchors": anchors}
    for name, tensor in nphm.state_dict().items():
        if name in state:
            continue
        expected, source = tuple(tensor.shape), shape
        if name.startswith("deformation."):
            source = motion
        if name.startswith(f"deformation.layers.{last}."):
            # The public network may say more of a point than where it goes.
            expected = (max(outputs, 3), *expected[1:])
        state[name] = source.take(public_name(name), expected)[: len(tensor)]
    return state


def _mlp_sizes(checkpoint: Checkpoint, name: str, dimensions: int) -> tuple[int, int, int]:
    """Inputs, hidden size and hidden layers of a network whose input comes again halfway."""
    inputs = checkpoint.shape(f"{name}.lin0.weight", dimensions)[-1]
    layers = checkpoint.layers(f"{name}.lin{{}}.weight") - 1
    if layers < 2:
        raise AvatarError(
            f"{checkpoint.path}: expected two or more hidden layers {name}.lin*, found {layers}"
        )
    # The layer that the input comes to again is the one whose own inputs are always the hidden
    # size: with few layers the first one's outputs are those that leave room for it.
    hidden = checkpoint.shape(f"{name}.lin{layers // 2}.weight", dimensions)[-1]
    if hidden <= inputs:
        raise AvatarError(
            f"{checkpoint.path}: expected {name}.lin{layers // 2}.weight with more columns than "
            f"the {inputs} inputs, found {hidden}"
        )
    return inputs, hidden, layers


def _code_size(checkpoint: Checkpoint, name: str, inputs: int, others: int) -> int:
    """How many of a network's inputs are left for its own code."""
    if inputs <= others:
        raise AvatarError(
            f"{checkpoint.path}: expected {name}.lin0.weight with more than {others} columns, "
            f"found {inputs}"
        )
    return inputs - others


def _identity_sizes(checkpoint: Checkpoint, anchors: int) -> dict:
    """The identity network's fields of NPHM's config."""
    inputs, hidden, layers = _mlp_sizes(checkpoint, "ensembled_deep_sdf", 3)
    nets = checkpoint.shape("ensembled_deep_sdf.lin0.weight", 3)[0]
    global_dim = checkpoint.shape("mlp_pos.0.weight", 2)[1]
    last = 2 * (checkpoint.layers("mlp_pos.{}.weight") // 2)
    anchor_hidden = [checkpoint.shape(f"mlp_pos.{k}.weight", 2)[0] for k in range(0, last, 2)]
    found = checkpoint.shape(f"mlp_pos.{last}.weight", 2)[0]
    pairs = anchors + 1 - nets
    if found != 3 * anchors or not 0 <= 2 * pairs <= anchors:
        raise AvatarError(
            f"{checkpoint.path}: expected mlp_pos.{last}.weight for {anchors} anchors "
            f"({3 * anchors} rows) and up to {anchors + 1} networks, found {found} rows and {nets}"
        )
    return {
        "global_dim": global_dim,
        "local_dim": _code_size(checkpoint, "ensembled_deep_sdf", inputs, 3 + global_dim),
        "anchor_pairs": pairs,
        "anchor_middles": anchors - 2 * pairs,
        "anchor_hidden": tuple(anchor_hidden),
        "sdf_hidden": hidden,
        "sdf_layers": layers,
    }


def _expression_sizes(checkpoint: Checkpoint, identity_inputs: int) -> dict:
    """The deformation's fields of NPHM's config."""
    squeezed, found = checkpoint.shape("compressor.0.weight", 2)
    if found != identity_inputs:
        raise AvatarError(
            f"{checkpoint.path}: expected compressor.0.weight for the identity network's codes and "
            f"anchors ({identity_inputs} columns), found {found}"
        )
    inputs, hidden, layers = _mlp_sizes(checkpoint, "defDeepSDF", 2)
    return {
        "squeezed_dim": squeezed,
        "expression_dim": _code_size(checkpoint, "defDeepSDF", inputs, 3 + squeezed),
        "deform_hidden": hidden,
        "deform_layers": layers,
    }
