"""From any lens to the data set format's camera: square pictures, the principal point centred.

Every pixel of the new picture is asked where its ray falls in the old one, so that unequal focal
lengths, an off-centre principal point and a lens's distortion all vanish in one step. Rays that
miss the old picture are transparent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import map_coordinates

from avatar_viewer.errors import AvatarError, one_line


@dataclass(frozen=True)
class Lens:
    """A camera's intrinsics in pixels; (0, 0) is the picture's top-left corner, y points down."""

    focal: tuple[float, float]
    """Along x and y."""
    centre: tuple[float, float]
    """The principal point."""
    size: tuple[int, int]
    """Width and height."""
    radial: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """k1, k2, k3 of OpenCV's model: a ray at radius r is seen at r (1 + k1 r^2 + k2 r^4 + k3 r^6).
    """
    tangential: tuple[float, float] = (0.0, 0.0)
    """p1, p2 of OpenCV's model."""

    def __post_init__(self) -> None:
        numbers = (*self.focal, *self.centre, *self.radial, *self.tangential)
        if not np.isfinite(numbers).all() or min(*self.focal, *self.size) <= 0:
            raise AvatarError(
                "intrinsics: expected finite numbers, focal lengths and sizes above 0, found "
                f"focal {self.focal}, centre {self.centre}, size {self.size}"
            )

    def resized(self, size: tuple[int, int]) -> Lens:
        """The same lens for pictures of another size and the same shape."""
        x, y = size[0] / self.size[0], size[1] / self.size[1]
        if abs(x / y - 1) > 0.01:
            raise AvatarError(f"expected a picture of the shape {self.size}, found {size}")
        return Lens(
            (self.focal[0] * x, self.focal[1] * y),
            (self.centre[0] * x, self.centre[1] * y),
            size,
            self.radial,
            self.tangential,
        )

    def half_extent(self, crop: float) -> float:
        """Half the new picture's side at distance 1: what holds the old picture, times `crop`."""
        sides = [
            side / focal
            for centre, focal, size in zip(self.centre, self.focal, self.size, strict=True)
            for side in (centre, size - centre)
        ]
        return crop * max(sides)

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the rays (x, y, 1), y down, fall; NaN where the distortion would fold them back."""
        squared = x * x + y * y
        k1, k2, k3 = self.radial
        p1, p2 = self.tangential
        growth = 1 + squared * (k1 + squared * (k2 + squared * k3))
        seen_x = x * growth + 2 * p1 * x * y + p2 * (squared + 2 * x * x)
        seen_y = y * growth + p1 * (squared + 2 * y * y) + 2 * p2 * x * y
        folded = squared >= self._fold(float(squared.max()))
        seen_x[folded] = seen_y[folded] = np.nan
        return self.centre[0] + self.focal[0] * seen_x, self.centre[1] + self.focal[1] * seen_y

    def _fold(self, furthest: float) -> float:
        """The squared radius from which on rays fall nearer to the centre again."""
        k1, k2, k3 = self.radial
        squared = np.linspace(0, furthest, 2000)
        slope = 1 + squared * (3 * k1 + squared * (5 * k2 + squared * 7 * k3))
        falling = np.flatnonzero(slope <= 0)
        return float(squared[falling[0]]) if len(falling) else np.inf


def square_picture(
    rgba: Image.Image, lens: Lens, size_px: int, crop: float = 1.0
) -> tuple[Image.Image, float]:
    """The picture as the format's camera sees it, size x size RGBA, and that camera's fov, degrees.

    `crop` is the part of the picture's extent around the principal point that is kept.
    """
    lens = lens.resized(rgba.size)
    half = lens.half_extent(crop)
    steps = (np.arange(size_px) + 0.5 - size_px / 2) * (2 * half / size_px)
    columns, rows = lens.pixels(*np.meshgrid(steps, steps))
    # Averaging blocks first keeps fine detail from turning into noise where pictures shrink.
    shrink = max(1, int(2 * half * min(lens.focal) / size_px))
    premultiplied = rgba.convert("RGBA").convert("RGBa").reduce(shrink)
    pixels = np.asarray(premultiplied, dtype=np.float32)
    places = np.stack([rows, columns]) / shrink - 0.5
    places = np.nan_to_num(places, nan=-1e6)
    channels = [map_coordinates(pixels[..., k], places, order=1) for k in range(4)]
    found = np.round(np.stack(channels, axis=-1)).clip(0, 255).astype(np.uint8)
    picture = Image.frombytes("RGBa", (size_px, size_px), found.tobytes()).convert("RGBA")
    return picture, 2 * float(np.degrees(np.arctan(half)))


def read_rgba(picture: Path, mask: Path | None) -> Image.Image:
    """A picture with the alpha of its mask; without one it keeps its own, or is opaque."""
    found = _opened(picture).convert("RGBA")
    if mask is None:
        return found
    alpha = _opened(mask).convert("L").resize(found.size, Image.Resampling.BILINEAR)
    found.putalpha(alpha)
    return found


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise AvatarError(
            f"{path}: expected a readable picture, found: {one_line(error)}"
        ) from error
