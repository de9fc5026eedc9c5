"""Blending of expression codes: what the 2D pad of the window does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import ExpressionCode


def bilinear(corners: Sequence[ExpressionCode], x: float, y: float) -> ExpressionCode:
    """The bilinear mix of four expression codes.

    `corners` are top-left, top-right, bottom-left, bottom-right; x runs to the right and y down,
    both in 0..1. Raises AvatarError when x, y or the number or lengths of the codes are wrong.
    """
    for name, value in (("pad x", x), ("pad y", y)):
        if not 0 <= value <= 1:
            raise AvatarError(f"{name}: expected a number in 0..1, found {value}")
    if len(corners) != 4:
        raise AvatarError(f"pad corners: expected 4 expression codes, found {len(corners)}")
    lengths = {len(corner.values) for corner in corners}
    if len(lengths) != 1:
        found = ", ".join(map(str, sorted(lengths)))
        raise AvatarError(f"pad corners: expected expression codes of one length, found {found}")
    weights = np.array([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    codes = np.array([corner.values for corner in corners], dtype=np.float64)
    return ExpressionCode.from_array(weights @ codes)
