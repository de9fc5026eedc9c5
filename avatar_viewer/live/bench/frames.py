"""How long an avatar takes for pictures, asked for one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from avatar_viewer.live.still import Picture

if TYPE_CHECKING:
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.stages import Frame, RenderRequest

FULL_FRAMES = 8
QUICK_FRAMES = 30
STEPS = (1, 2, 4)
"""Of denoising, whose pictures are timed."""
HALF = 2
"""The reduction of the smaller pictures."""


class Timed(NamedTuple):
    """What one picture took."""

    total_ms: float
    stage_ms: Mapping[str, float]


class Way:
    """Requests along a way over the pad and around an avatar's head that never meets itself, so
    that nothing kept from one picture answers for another."""

    STEP_RAD = 0.3
    """No part of a round is a multiple of it."""

    def __init__(self, info: AvatarInfo) -> None:
        self._info, self._passed = info, 0

    def full(
        self, count: int, *, pad: bool = True, view: bool = True, reduction: int = 1
    ) -> list[RenderRequest]:
        """The next places as the avatar draws them at rest, in 1/`reduction` of its own size; on
        the `pad`, by the camera's `view`, or both."""
        info, requests = self._info, []
        for _ in range(count):
            angle = self.STEP_RAD * self._passed
            x, y = math.cos(angle), math.sin(angle)
            picture = Picture(
                pad=(0.5 + 0.5 * x, 0.5 + 0.5 * y) if pad else (0.5, 0.5),
                azimuth=info.default_view.azimuth_deg + 20 * x * view,
                elevation=info.default_view.elevation_deg + 10 * y * view,
                size=info.resolution_px // reduction,
            )
            requests.append(replace(picture.request(info), reduction=reduction))
            self._passed += 1
        return requests

    def quick(self, count: int, steps: int | None = None, **chosen: Any) -> list[RenderRequest]:
        """As `full`, but as while somebody drags: baked head, and few steps."""
        steps = steps or self._info.quick_steps
        full = self.full(count, **chosen)
        return [replace(request, steps=steps, exact_head=False) for request in full]


def timed(
    render: Callable[[RenderRequest], Frame],
    requests: Sequence[RenderRequest],
    before_each: Callable[[], object] = lambda: None,
) -> list[Timed]:
    """What each request's picture takes; `before_each` does not count."""
    found = []
    for request in requests:
        before_each()
        began = time.perf_counter()
        frame = render(request)
        found.append(Timed((time.perf_counter() - began) * 1e3, frame.stage_ms))
    return found


def frames_figures(avatar: Avatar, way: Way) -> dict[str, Any]:
    """Milliseconds by stage, and new pictures a second, of full and of quick requests."""
    figures: dict[str, Any] = {"full_ms": by_stage(timed(avatar.render, way.full(FULL_FRAMES)))}
    for steps in STEPS:
        figures[f"fps_{steps}"] = per_second(timed(avatar.render, way.quick(QUICK_FRAMES, steps)))
    sizes = {"": 1, "half_": HALF} if HALF in avatar.reductions else {"": 1}
    for name, reduction in sizes.items():
        pad = way.quick(QUICK_FRAMES, view=False, reduction=reduction)
        view = way.quick(QUICK_FRAMES, pad=False, reduction=reduction)
        of_pad, of_view = timed(avatar.render, pad), timed(avatar.render, view)
        figures[f"{name}quick_ms"] = by_stage(of_pad)
        figures[f"{name}pad_fps"] = per_second(of_pad)
        figures[f"{name}view_fps"] = per_second(of_view)
    return figures


def per_second(frames: Sequence[Timed]) -> float:
    """How many pictures a second that was."""
    return len(frames) / sum(frame.total_ms for frame in frames) * 1e3


def median_ms(frames: Sequence[Timed]) -> float:
    return percentile([frame.total_ms for frame in frames], 50)


def by_stage(frames: Sequence[Timed]) -> dict[str, dict[str, float]]:
    """p50 and p95 of each stage and in total, in milliseconds."""
    stages = {name: None for frame in frames for name in frame.stage_ms}
    values = {name: [frame.stage_ms.get(name, 0.0) for frame in frames] for name in stages}
    values["total"] = [frame.total_ms for frame in frames]
    return {
        name: {"p50": percentile(each, 50), "p95": percentile(each, 95)}
        for name, each in values.items()
    }


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))
