"""A stand-in for a trained avatar: a disc whose place follows the camera and whose colour follows
the expression, so that a test can read both from pixels."""

import time
from dataclasses import replace

import numpy as np

from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.errors import AvatarError, RenderCancelled
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import LAYERS, ExpressionCode, Frame, RenderRequest

SIZE_PX = 128
DISC_CENTRE = np.array((0.5, 0.0, 1.0))  # right of the origin, in front of it
DISC_RADIUS = 0.35
BACKGROUND = (40, 90, 40)
CORNER_COLOURS = {
    "neutral": (0.9, 0.1, 0.1),
    "smile": (0.1, 0.1, 0.9),
    "surprise": (0.9, 0.9, 0.1),
    "frown": (0.9, 0.1, 0.9),
}

INFO = AvatarInfo(
    name="fake",
    licence="CC0",
    provenance="drawn by a test",
    resolution_px=SIZE_PX,
    steps=4,
    quick_steps=1,
    sampler="ddim",
    default_view=Orbit(azimuth_deg=0, elevation_deg=0, distance=6, target=(0, 0, 0), fov_deg=30),
    corners=tuple(Corner(name, ExpressionCode(rgb)) for name, rgb in CORNER_COLOURS.items()),
)


DIRECTIONS = ((0.1, 0.0, 0.0), (0.0, 0.1, 0.0))


class FakeAvatar:
    """Takes `step_s` for each step."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.info = replace(INFO)
        self.expressions = ExpressionSpace(DIRECTIONS)
        self.step_s = step_s
        self.renders = 0

    def render(self, request: RenderRequest, cancelled=lambda: False) -> Frame:
        started = time.perf_counter()
        for _ in range(request.steps):
            if cancelled():
                raise RenderCancelled
            time.sleep(self.step_s)
        self.renders += 1
        rgb = draw(request)
        ms = (time.perf_counter() - started) * 1000
        return Frame(request, rgb, {"raster": 1.25, "denoise": ms, "decode": 3.5})


def draw(request: RenderRequest) -> np.ndarray:
    camera = request.camera
    x, y, z = camera.matrix[:3, :3] @ DISC_CENTRE + camera.matrix[:3, 3]
    px_per_unit = camera.focal_px / -z
    centre = (camera.width / 2 + px_per_unit * x, camera.height / 2 - px_per_unit * y)
    radius = px_per_unit * DISC_RADIUS
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius**2
    colour = np.array(request.expression.values[:3])
    if request.show != "image":
        colour = np.full(3, 0.15 * LAYERS.index(request.show))
    rgb = np.where(inside[..., None], (colour * 255).astype(np.uint8), np.uint8(BACKGROUND))
    return rgb.astype(np.uint8)


def load_fake(source: str, progress, notify) -> FakeAvatar:
    """ "broken..." fails, "slow..." takes a second."""
    progress("unet")
    if "broken" in source:
        raise AvatarError(f"{source}/avatar.yaml: expected a YAML file, found: No such file")
    if "slow" in source:
        time.sleep(1)
    progress("vae")
    return FakeAvatar(step_s=0.02)
