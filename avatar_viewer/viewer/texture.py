"""The one way in which pixels reach Dear PyGui."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np


class PictureTexture:
    """A square raw texture that is made once and shows any picture up to its size.

    Deleting textures leaks in Dear PyGui; a raw texture of the wrong size or dtype crashes the
    process; and it keeps a pointer to the buffer on show, so there are two to take turns.
    """

    def __init__(self, registry: int | str, size_px: int, uploads: int = 0) -> None:
        """`uploads` are those of the texture that this one replaces."""
        self.size_px = size_px
        self.uploads = uploads
        self._shown_px = (size_px, size_px)
        self._buffers = [np.zeros((size_px, size_px, 4), np.float32) for _ in range(2)]
        self.tag = dpg.add_raw_texture(
            size_px,
            size_px,
            self._buffers[0],  # pyright: ignore[reportArgumentType]  (any float buffer will do)
            format=dpg.mvFormat_Float_rgba,
            parent=registry,
        )

    def upload(self, rgb: np.ndarray) -> None:
        """Show a picture, uint8 [H,W,3]."""
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise ValueError(f"texture: expected uint8 [H,W,3], found {rgb.dtype} {rgb.shape}")
        height, width = rgb.shape[:2]
        if max(height, width) > self.size_px:
            limit = self.size_px
            raise ValueError(f"texture: expected at most {limit} px, found {width} x {height}")
        buffer = self._buffers[(self.uploads + 1) % 2]
        np.multiply(rgb, 1 / 255, out=buffer[:height, :width, :3], casting="unsafe")
        buffer[:height, :width, 3] = 1
        dpg.set_value(self.tag, buffer)
        self.uploads += 1
        self._shown_px = (width, height)

    def uv(self) -> dict[str, tuple[float, float]]:
        """Where in the texture the picture lies: uv_min and uv_max of `dpg.draw_image`.

        They are centres of texels: filtering beyond those would mix in what lies around.
        """
        width, height = self._shown_px
        far = ((width - 0.5) / self.size_px, (height - 0.5) / self.size_px)
        return {"uv_min": (0.5 / self.size_px, 0.5 / self.size_px), "uv_max": far}
