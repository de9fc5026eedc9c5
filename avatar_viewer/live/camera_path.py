"""Ways of the camera and of the pad's cursor through keyframes: what a movie follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from avatar_viewer.config import from_plain, read_yaml, take_format_version, to_plain, write_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.live.session import PAD_CENTRE
from avatar_viewer.raster.camera import Orbit

FORMAT_VERSION = 1
DEFAULT_FPS = 25.0
QUARTERS = 4
Interpolation = Literal["linear", "smooth"]
Pad = tuple[float, float]


@dataclass(frozen=True)
class Keyframe:
    """Where camera and pad are at one moment."""

    time_s: float
    view: Orbit
    pad: Pad = PAD_CENTRE
    """As `Session.pad`."""

    def __post_init__(self) -> None:
        if not 0 <= self.time_s < math.inf:
            raise AvatarError(f"time_s: expected 0 or more, found {self.time_s:g}")
        if not all(0 <= v <= 1 for v in self.pad):
            raise AvatarError(f"pad: expected two numbers in 0..1, found {self.pad}")


@dataclass(frozen=True)
class CameraPath:
    """A way through keyframes; the camera turns the shorter way round."""

    keyframes: tuple[Keyframe, ...]
    """At times that grow; before the first and after the last one nothing moves."""
    interpolation: Interpolation = "smooth"
    """smooth: without jerks (C1), and never beyond the keyframes on both sides."""
    loop: bool = False
    """From the last keyframe back to the first, in as long as others take on average; and so on."""
    fps: float = DEFAULT_FPS
    """Of the movie that it was made for."""

    def __post_init__(self) -> None:
        times = [keyframe.time_s for keyframe in self.keyframes]
        if not times:
            raise AvatarError("keyframes: expected at least one, found none")
        for before, after in pairwise(times):
            if not before < after:
                raise AvatarError(
                    f"keyframes: expected times that grow, found {before:g} before {after:g}"
                )
        if not 0 < self.fps < math.inf:
            raise AvatarError(f"fps: expected more than 0, found {self.fps:g}")

    @property
    def duration_s(self) -> float:
        """Until the last keyframe, or of one round."""
        first, last, count = self.keyframes[0], self.keyframes[-1], len(self.keyframes)
        if not self.loop or count == 1:
            return last.time_s
        return (last.time_s - first.time_s) * count / (count - 1)

    def at(self, time_s: float) -> tuple[Orbit, Pad]:
        """Where camera and pad are at that time."""
        first, last = self.keyframes[0], self.keyframes[-1]
        if len(self.keyframes) == 1:
            return first.view, first.pad
        if self.loop:
            time_s = first.time_s + (time_s - first.time_s) % self.duration_s
        else:
            time_s = min(max(time_s, first.time_s), last.time_s)
        return _from_row(self._row_at(time_s))

    def _row_at(self, time_s: float) -> np.ndarray:
        times, rows = self._knots
        if self.interpolation == "smooth":
            return self._curve(time_s)
        after = int(np.clip(np.searchsorted(times, time_s), 1, len(times) - 1))
        part = (time_s - times[after - 1]) / (times[after] - times[after - 1])
        return (1 - part) * rows[after - 1] + part * rows[after]

    @cached_property
    def _curve(self) -> PchipInterpolator:
        with np.errstate(over="ignore"):  # of slopes that are next to none
            return PchipInterpolator(*self._knots)

    @cached_property
    def _knots(self) -> tuple[np.ndarray, np.ndarray]:
        """Times [K] and rows [K,9]; of a loop also of the keyframes next to the round's ends, so
        that its slopes are the same at both."""
        times = np.array([keyframe.time_s for keyframe in self.keyframes])
        rows = np.array([_row(keyframe) for keyframe in self.keyframes])
        if self.loop and len(times) > 1:
            round_s = self.duration_s
            times = np.concatenate([times[-2:] - round_s, times, times[:2] + round_s])
            rows = np.concatenate([rows[-2:], rows, rows[:2]])
        rows[:, 0] = np.unwrap(rows[:, 0], period=360)
        return times, rows


def turntable(view: Orbit, pad: Pad, seconds: float, fps: float = DEFAULT_FPS) -> CameraPath:
    """Once around the target in this many seconds, evenly, from `view` and back to it."""
    if not 0 < seconds < math.inf:
        raise AvatarError(f"turntable: expected more than 0 seconds, found {seconds:g}")
    quarters = (
        Keyframe(seconds * i / QUARTERS, view.orbited(360 * i / QUARTERS, 0), pad)
        for i in range(QUARTERS)
    )
    return CameraPath(tuple(quarters), loop=True, fps=fps)


def read_path(path: Path) -> CameraPath:
    """Read a camera path's YAML; raises AvatarError in one line."""
    content = read_yaml(path)
    take_format_version(content, FORMAT_VERSION, str(path))
    return from_plain(content, CameraPath, str(path))


def write_path(camera_path: CameraPath, path: Path) -> None:
    """Write a camera path as YAML, such that `read_path` gives an equal one."""
    write_yaml({"format_version": FORMAT_VERSION, **to_plain(camera_path)}, path)


def _row(keyframe: Keyframe) -> tuple[float, ...]:
    """What is interpolated: [9]."""
    view = keyframe.view
    angles = (view.azimuth_deg, view.elevation_deg, view.fov_deg)
    return (*angles, math.log(view.distance), *view.target, *keyframe.pad)


def _from_row(row: np.ndarray) -> tuple[Orbit, Pad]:
    azimuth, elevation, fov, log_distance, x, y, z, *pad = row.tolist()
    turned = (azimuth + 180) % 360 - 180
    view = Orbit(turned, elevation, math.exp(log_distance), (x, y, z), fov)
    # Rounding may lead a little beyond the edge.
    pad_x, pad_y = (min(max(v, 0.0), 1.0) for v in pad)
    return view, (pad_x, pad_y)
