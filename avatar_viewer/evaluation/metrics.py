"""How close one picture comes to another: where it is looked at, PSNR and SSIM.

What `head_box` cuts out is judged: most of a picture is background, which flatters every figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import GBuffer

HEAD_LOWEST_M = -0.09
"""The head ends here below its frame's origin, metres in canonical pose: just under the chin. A
mesh goes on to throat and shoulders, whose box would be most of the picture."""
HEAD_MARGIN = 0.1
"""On each side of the head, as a part of its longer side: hair stands out that far."""
SSIM_RADIUS_PX = 5
"""Of the Gaussian window (11 x 11, sigma 1.5); nearer to the border nothing is known."""


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: columns left <= x < right, rows top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """[H,W,...] -> the part in the box."""
        return picture[self.top : self.bottom, self.left : self.right]


def head_box(gbuffer: GBuffer, units_per_metre: float, name: str) -> Box:
    """Where a head lies: the box of its rasterized mesh, HEAD_MARGIN added, within the picture.

    Only what lies above HEAD_LOWEST_M counts. `name` says whose it is where none is seen
    (AvatarError).
    """
    mask = gbuffer.mask & (gbuffer.canonical[..., 1] > HEAD_LOWEST_M * units_per_metre)
    rows, columns = (mask.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        raise AvatarError(f"{name}: expected the head in the camera's view, found it outside")
    margin = round(HEAD_MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0]))
    height, width = mask.shape
    return Box(
        left=max(columns[0] - margin, 0),
        top=max(rows[0] - margin, 0),
        right=min(columns[-1] + 1 + margin, width),
        bottom=min(rows[-1] + 1 + margin, height),
    )


def joined(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of them."""
    sides = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes])
    low, high = sides.min(0).tolist(), sides.max(0).tolist()
    return Box(low[0], low[1], high[2], high[3])


def psnr(rendered: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 [H,W,3]; infinite for equal pictures."""
    error = np.square(rendered.astype(np.float64) - truth).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_map(rendered: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[H,W] structural similarity around each pixel (Wang et al. 2004), mean over channels.

    uint8 [H,W,3], larger than the window; NaN where the window would reach over the border.
    """
    similarity = structural_similarity(
        rendered,
        truth,
        channel_axis=2,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )[1].mean(axis=2)
    known = np.full_like(similarity, np.nan)
    inside = slice(SSIM_RADIUS_PX, -SSIM_RADIUS_PX)
    known[inside, inside] = similarity[inside, inside]
    return known


def pixel_scores(rendered: np.ndarray, truth: np.ndarray, box: Box) -> dict[str, float]:
    """PSNR and SSIM of two pictures, uint8 [H,W,3]: in the head's box, and in the whole picture.

    Each pixel's SSIM is that of the whole picture, so windows look past the box; the box then says
    which pixels are averaged.
    """
    similarity = ssim_map(rendered, truth)
    return {
        "psnr": psnr(box.cut(rendered), box.cut(truth)),
        "ssim": float(np.nanmean(box.cut(similarity))),
        "psnr_full": psnr(rendered, truth),
        "ssim_full": float(np.nanmean(similarity)),
    }
