"""An avatar that renders at once, or step by step as a test allows it."""

import threading
from dataclasses import replace

import numpy as np

from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.errors import AvatarError, RenderCancelled
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import ExpressionCode, Frame, RenderRequest

VIEW = Orbit(azimuth_deg=0, elevation_deg=0, distance=2, target=(0, 0, 0), fov_deg=30)
CODE = ExpressionCode((0.5,))
INFO = AvatarInfo(
    name="stepwise",
    licence="CC0",
    provenance="a test",
    resolution_px=8,
    steps=4,
    quick_steps=2,
    sampler="ddim",
    default_view=VIEW,
    corners=tuple(Corner(name, CODE) for name in ("a", "b", "c", "d")),
)
REQUEST = RenderRequest(CODE, VIEW.camera(8, 8), seed=0, steps=4)
FAILING_SEED = 666
WRONG_SEED = 667


def request(seed: int) -> RenderRequest:
    return replace(REQUEST, seed=seed)


class StepwiseAvatar:
    """Its picture is filled with the request's seed."""

    def __init__(self) -> None:
        self.info = replace(INFO)
        self.expressions = ExpressionSpace()
        self.rendered: list[RenderRequest] = []
        self.cancelled: list[RenderRequest] = []
        self.steps_run = 0
        self.inside = threading.Event()
        """Set while a render waits at a step."""
        self.step_allowed = threading.Semaphore(0)
        self.stepping = False
        """Whether each step waits for `step_allowed`."""

    def render(self, request, cancelled):
        if request.seed == FAILING_SEED:
            raise AvatarError("seed: expected another,\nfound 666")
        if request.seed == WRONG_SEED:
            raise ZeroDivisionError("oops")
        for _ in range(request.steps):
            if self.stepping:
                self.inside.set()
                assert self.step_allowed.acquire(timeout=10)
            if cancelled():
                self.cancelled.append(request)
                raise RenderCancelled
            self.steps_run += 1
        self.rendered.append(request)
        rgb = np.full((8, 8, 3), request.seed % 256, np.uint8)
        # So long that pacing stays with the quick steps.
        return Frame(request, rgb, {"denoise": 30.0 * request.steps})

    def allow_steps(self, count: int) -> None:
        for _ in range(count):
            self.step_allowed.release()
