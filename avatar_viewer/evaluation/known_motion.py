"""A head whose motion is known: how it lies in any ARKit weights.

`data heads` moves all its heads by the same generator (MakeHuman's face units), linearly in the
weights. So the scans of one head tell how it lies in any weights, and no head model has a part in
this.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import find_peaks

from avatar_viewer.data.head_sampler import EYE_POINTS, HeadScans
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.fit import ANCHOR_NAMES

REGIONS = {
    "lips": ("mouth corner", "upper lip", "lower lip"),
    "lids": ("eye corner", "upper lid", "lower lid"),
    "brows": ("brow",),
    "jaw": ("jaw angle", "chin"),
}
"""By words in the names of anchors."""
REGION_MM = 10.0
"""A region reaches so far from its anchors."""
LID_PAIRS = (("left upper lid", "left lower lid"), ("right upper lid", "right lower lid"))
LIP_PAIRS = (("upper lip", "lower lip"),)


class KnownMotion:
    """One head in any ARKit weights."""

    def __init__(self, scans: HeadScans, units_per_metre: float) -> None:
        """From a head with so many scans that each unit shows on its own."""
        self.canonical, self.to_mm = scans.canonical, 1000 / units_per_metre
        design = np.concatenate([scans.weights, np.ones((len(scans.weights), 1))], axis=1)
        offsets = (scans.posed - scans.canonical).reshape(len(design), -1)
        moves, _, rank, _ = np.linalg.lstsq(design.astype(np.float64), offsets, rcond=None)
        error_mm = np.abs(design @ moves - offsets).max() * self.to_mm
        if rank < design.shape[1] or error_mm > 0.01:
            found = f"{rank} independent of {design.shape[1]}, {error_mm:.3g} mm beside a line"
            raise AvatarError(f"heads: expected scans that are linear in ARKit weights, {found}")
        self._moves = moves.astype(np.float32)
        self.skin = (scans.on_surface > 0) & (np.arange(len(self.canonical)) < self._skin_count)
        self._anchors = dict(zip(ANCHOR_NAMES, scans.anchors, strict=True))

    @property
    def _skin_count(self) -> int:
        return len(self.canonical) - 2 * EYE_POINTS

    def offsets(self, weights: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """[T,N,3] of weights [T,52]: how far points lie from the canonical pose, head units."""
        moves = self._moves.reshape(len(self._moves), -1, 3)[:, chosen]
        moved = np.tensordot(weights.astype(np.float32), moves[:-1], axes=1)
        return moved + moves[-1]

    def region(self, name: str) -> np.ndarray:
        """[N] bool: the skin around anchors."""
        words = REGIONS[name]
        places = [p for n, p in self._anchors.items() if any(word in n for word in words)]
        distance = np.linalg.norm(self.canonical[:, None] - np.stack(places), axis=2).min(axis=1)
        return (distance * self.to_mm < REGION_MM) & self.skin

    def pairs(self, names: tuple[tuple[str, str], ...]) -> np.ndarray:
        """[P,2] points of the skin that are nearest to pairs of anchors."""

        def nearest(name: str) -> int:
            distance = np.linalg.norm(self.canonical - self._anchors[name], axis=1)
            return int(np.where(self.skin, distance, np.inf).argmin())

        return np.array([[nearest(name) for name in pair] for pair in names])


def gap_mm(points: np.ndarray, to_mm: float) -> np.ndarray:
    """[T] mean distance of successive pairs of points [T,2P,3]."""
    return np.linalg.norm(points[:, 0::2] - points[:, 1::2], axis=2).mean(axis=1) * to_mm


def closings(gap: np.ndarray) -> tuple[int, ...]:
    """Frames at which a gap [T] is narrowest between wider ones, by half of its range."""
    return tuple(find_peaks(-gap, prominence=np.ptp(gap) / 2)[0].tolist())


def event_time(gap: np.ndarray, event: int, reach: int = 6) -> float:
    """The middle of a closing of `gap` [T] near a frame, between the times it is half closed."""
    first = max(0, event - reach)
    part = gap[first : event + reach + 1]
    lowest = int(part.argmin())
    before, after = part[: lowest + 1], part[lowest:]
    half = (part.min() + min(before.max(), after.max())) / 2

    def crossing(course: np.ndarray) -> float:
        """How far from the beginning of the rising course it is half open."""
        index = int(np.argmax(course > half))
        if index == 0:
            return 0.0
        return index - (course[index] - half) / (course[index] - course[index - 1])

    return first + lowest + (crossing(after) - crossing(before[::-1])) / 2
