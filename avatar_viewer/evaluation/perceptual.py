"""Metrics that model the eye, each from an optional package: FLIP, JOD and LPIPS.

Nothing is downloaded. A metric whose package or weights are not there is left out, and why is told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

DISPLAY = "standard_4k"
"""FovVideoVDP's name for a 30-inch 4K monitor of 200 cd/m2 in an office, seen from 0.75 m."""
LPIPS_BACKBONE = "alexnet-owt-7be5be79.pth"
"""The file that torchvision keeps in torch's hub folder."""
M = TypeVar("M")
INSTALL = "pip install 'avatar-viewer[eval]'"


def _installed(package: str) -> bool:
    """Without importing it, which takes seconds."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


class Flip:
    """LDR-FLIP (Andersson et al. 2020): differences seen when flipping between two pictures."""

    def __init__(self) -> None:
        import flip_evaluator

        self._evaluate = flip_evaluator.evaluate
        self.about = f"flip-evaluator {version('flip-evaluator')}, 67 pixels per degree"

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be had; None where it can."""
        return None if _installed("flip_evaluator") else f"no package flip-evaluator; {INSTALL}"

    def error_map(self, rendered: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """uint8 [H,W,3] -> error at each pixel [H,W], 0..1."""
        pictures = [np.float32(picture) / np.float32(255) for picture in (truth, rendered)]
        errors, _, _ = self._evaluate(
            pictures[0], pictures[1], "LDR", applyMagma=False, computeMeanError=False
        )
        return errors[..., 0]


class Jod:
    """FovVideoVDP (Mantiuk et al. 2021), which the paper reports, not foveated.

    Just-objectionable differences: 10 is no visible difference, and one less means that three in
    four people prefer the better one.
    """

    def __init__(self) -> None:
        import pyfvvdp

        self._metric = pyfvvdp.fvvdp(
            display_name=DISPLAY, heatmap=None, quiet=True, device=torch.device("cpu")
        )
        self.about = (
            f"FovVideoVDP (pyfvvdp {version('pyfvvdp')}), display {DISPLAY}, "
            f"{self._metric.pix_per_deg:.1f} pixels per degree"
        )

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be had; None where it can."""
        return None if _installed("pyfvvdp") else f"no package pyfvvdp; {INSTALL}"

    @torch.inference_mode()
    def video(self, rendered: np.ndarray, truth: np.ndarray, fps: float) -> float:
        """uint8 [F,H,W,3] -> JOD; a single frame is judged as a still."""
        if len(rendered) == 1:
            quality, _ = self._metric.predict(rendered[0], truth[0], dim_order="HWC")
        else:
            quality, _ = self._metric.predict(
                rendered,
                truth,
                dim_order="FHWC",
                frames_per_second=fps,  # pyright: ignore[reportArgumentType]
            )
        return float(quality)


class Lpips:
    """LPIPS (Zhang et al. 2018) over AlexNet, whose weights torchvision may have fetched before."""

    def __init__(self) -> None:
        import lpips

        self._metric = lpips.LPIPS(net="alex", verbose=False).eval()
        self.about = f"lpips {version('lpips')}, AlexNet"

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be had; None where it can."""
        if not (_installed("lpips") and _installed("torchvision")):
            return "no packages lpips and torchvision"
        weights = Path(torch.hub.get_dir()) / "checkpoints" / LPIPS_BACKBONE
        return None if weights.is_file() else f"no backbone weights at {weights}"

    @torch.inference_mode()
    def distance(self, rendered: np.ndarray, truth: np.ndarray) -> float:
        """uint8 [H,W,3] -> LPIPS."""
        signed = [
            torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None] / 127.5 - 1
            for picture in (rendered, truth)
        ]
        return float(self._metric(*signed))


class Perceptual:
    """Those of the metrics that can be had here; None for the others."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        """Why, by metric."""
        self.flip = self._had("flip", Flip)
        self.jod = self._had("jod", Jod)
        self.lpips = self._had("lpips", Lpips)

    def _had(self, name: str, kind: Callable[[], M]) -> M | None:
        if (why := kind.missing()) is not None:  # pyright: ignore[reportFunctionMemberAccess]
            self.left_out[name] = why
            return None
        return kind()

    @property
    def about(self) -> dict[str, str]:
        """Package, version and settings of each metric that is had."""
        had = {"flip": self.flip, "jod": self.jod, "lpips": self.lpips}
        return {name: metric.about for name, metric in had.items() if metric is not None}
