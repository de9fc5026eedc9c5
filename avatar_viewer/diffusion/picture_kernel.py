"""The bytes of a picture on the CPU, in one pass over what a decoder answers."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from avatar_viewer.raster.bands import in_bands


def finished(picture: Tensor) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """As `finished_picture.plain_finished`."""
    values = picture.to(torch.float32).numpy()
    colours, height, width = values.shape
    rgb = np.empty((height, width, 3), np.uint8)
    # Of no size where nothing tells it.
    opacity = np.empty((height, width) if colours == 4 else (0, 0), np.uint8)
    finite = np.empty(height, np.bool_)
    in_bands(lambda *band: _finish((rgb, opacity, finite), values, band), height)
    return rgb, opacity if colours == 4 else None, bool(finite.all())


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(answers, values, band):
    """A band of rows."""
    rgb, opacity, finite = answers
    width = np.uintp(values.shape[2])
    row = np.empty(width, np.uint8)
    for y in range(np.uintp(band[0]), np.uintp(band[1])):
        sound = True
        for colour in range(np.uintp(len(values))):
            for x in range(width):
                value = values[colour, y, x]
                sound &= abs(value) < np.inf  # which NaN is not either
                scaled = np.rint((value + np.float32(1)) * np.float32(127.5))
                row[x] = np.uint8(np.int32(min(max(scaled, np.float32(0)), np.float32(255))))
            if colour < np.uintp(3):
                for x in range(width):
                    rgb[y, x, colour] = row[x]
            else:
                opacity[y] = row
        finite[y] = sound
