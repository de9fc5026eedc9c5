"""From Blender's picture to the data set's: a clean outline, and WebP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from avatar_viewer.files import written_aside

QUALITY = 95
ALPHA_SIGMA_PX, EDGE_SIGMA_PX = 0.55, 1.2


def clean_outline(rgba: np.ndarray) -> np.ndarray:
    """[H,W,4] uint8, straight alpha, made of few samples a pixel -> the same without its fringe.

    The alpha is softened; pixels of the edge take their colour from opaque neighbours.
    """
    colour, alpha = rgba[..., :3].astype(np.float32), rgba[..., 3].astype(np.float32) / 255
    weight = alpha**2
    total = gaussian_filter(weight, EDGE_SIGMA_PX) + 1e-4
    neighbours = np.stack(
        [gaussian_filter(colour[..., c] * weight, EDGE_SIGMA_PX) / total for c in range(3)], axis=-1
    )
    edge = np.clip((1 - alpha) * 4, 0, 1)[..., None]
    colour = colour * (1 - edge) + neighbours * edge
    alpha = gaussian_filter(alpha, ALPHA_SIGMA_PX)
    alpha[alpha > 0.995] = 1
    alpha[alpha < 0.004] = 0
    cleaned = np.concatenate([np.clip(colour, 0, 255), 255 * alpha[..., None]], axis=-1)
    return cleaned.round().astype(np.uint8)


def write_frame(png: Path, out: Path) -> None:
    """Blender's PNG as the data set's WebP; alpha is kept exactly."""
    with Image.open(png) as picture:
        rgba = np.asarray(picture.convert("RGBA"))
    with written_aside(out) as aside:
        Image.fromarray(clean_outline(rgba)).save(
            aside, "WEBP", quality=QUALITY, method=4, alpha_quality=100
        )
