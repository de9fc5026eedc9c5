"""Directions in which an avatar's expressions can be moved besides its own: what sliders turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import gaze_of_weights
from avatar_viewer.head.nphm import CODES_FILE, GAZE_DIM, load_codes
from avatar_viewer.stages import ExpressionCode

STRONGEST = 8
"""How many principal directions have a slider."""


@dataclass(frozen=True)
class ExpressionSpace:
    """What is known of the expressions of a head model."""

    directions: tuple[tuple[float, ...], ...] = ()
    """[K,E] with gaze, strongest first: principal components of the expressions that the head
    model was trained on, of one standard deviation each. None where it keeps no codes."""
    units: ArkitMap | None = None
    """The 52 ARKit weights -> z_exp, where the head model has learned them."""


def load_directions(head: Path, expression_dim: int) -> tuple[tuple[float, ...], ...]:
    """`ExpressionSpace.directions` of a head model's folder; raises AvatarError in one line."""
    path = head / CODES_FILE
    if not path.is_file():
        return ()
    codes = load_codes(head)["expression"]
    if codes.ndim != 2 or codes.shape[1] != expression_dim:
        raise AvatarError(
            f"{path}: expected expression codes [S,{expression_dim}], "
            f"found shape {tuple(codes.shape)}"
        )
    _, spreads, axes = torch.linalg.svd(codes - codes.mean(dim=0), full_matrices=False)
    # Signs are the decomposition's own, and may differ by machine: the largest number is positive.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    scaled = axes * largest.sign() * spreads[:, None] / max(1, len(codes) - 1) ** 0.5
    rows = scaled[:STRONGEST].tolist()
    return tuple((*row, *[0.0] * GAZE_DIM) for row in rows)


def moved(
    code: ExpressionCode,
    space: ExpressionSpace,
    *,
    directions: tuple[float, ...] = (),
    units: tuple[float, ...] = (),
    gaze: tuple[float, float] | None = None,
) -> ExpressionCode:
    """An expression moved along `directions` (standard deviations) and by ARKit `units` [52].

    Numbers for which the space has no direction count nothing. `gaze` (yaw to the subject's left,
    pitch up, both in -1..1) replaces that of both eyes.
    """
    if not (any(directions) or any(units) or gaze is not None):
        return code
    values = torch.tensor(code.values, dtype=torch.float64)
    for amount, direction in zip(directions, space.directions, strict=False):
        if amount != 0:
            values += amount * torch.tensor(direction, dtype=torch.float64)
    if space.units is not None and any(units):
        weights = torch.tensor(units, dtype=torch.float64)
        values[:-GAZE_DIM] += space.units.matrix.double() @ weights
        values[-GAZE_DIM:] += torch.from_numpy(gaze_of_weights(weights.numpy()))
    if gaze is not None and len(values) > GAZE_DIM:
        values[-GAZE_DIM:] = torch.tensor(gaze * 2, dtype=torch.float64)
    return ExpressionCode.from_array(values)
