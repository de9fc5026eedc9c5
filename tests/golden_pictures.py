"""Golden pictures: what a picture looked like when a person last approved it.

`pytest --regenerate-golden` writes them anew; look at them before you commit them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "golden"
regenerate = False
"""Set by the option `--regenerate-golden` (conftest.py)."""


def assert_matches_golden(rgb: np.ndarray, name: str, tolerance: float) -> None:
    """Compare uint8 [H,W,3] with golden/<name>.png.

    tolerance: the largest allowed root mean square difference, in levels of 0..255. On failure
    <name>.diff.png shows the golden picture, the found one and four times their difference.
    """
    path = FOLDER / f"{name}.png"
    diff_path = path.with_suffix(".diff.png")
    if regenerate:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rgb).save(path)
        diff_path.unlink(missing_ok=True)
        return
    assert path.exists(), f"{path} is missing; make it with pytest --regenerate-golden"
    golden = np.asarray(Image.open(path).convert("RGB"))
    assert golden.shape == rgb.shape, f"{path} is {golden.shape}, the picture is {rgb.shape}"
    difference = np.abs(golden.astype(np.float64) - rgb)
    error = float(np.sqrt((difference**2).mean()))
    if error > tolerance:
        amplified = (4 * difference).clip(0, 255).astype(np.uint8)
        Image.fromarray(np.concatenate([golden, rgb, amplified], axis=1)).save(diff_path)
    assert error <= tolerance, f"{name} differs by {error:.3f} levels, see {diff_path}"
    diff_path.unlink(missing_ok=True)
