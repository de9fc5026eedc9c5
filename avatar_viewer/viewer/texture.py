"""The one way in which pixels reach Dear PyGui."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import Image


def add_texture(registry: int | str, rgb: np.ndarray) -> int | str:
    """A texture of a picture, uint8 [H,W,3].

    It is static, so another picture needs another texture. Dear PyGui sends those to the graphics
    driver once, and draws them in the next drawing; raw and dynamic ones are sent at each drawing,
    show a new value only in the second one, and raw ones leak when they are deleted.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"texture: expected uint8 [H,W,3], found {rgb.dtype} {rgb.shape}")
    height, width = rgb.shape[:2]
    rgba = np.asarray(Image.fromarray(rgb).convert("RGBA")) * np.float32(1 / 255)
    texels: object = rgba.ravel()  # any float buffer will do, whatever the annotation says
    return dpg.add_static_texture(width, height, texels, parent=registry)  # pyright: ignore[reportArgumentType]
