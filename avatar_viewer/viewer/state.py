"""What the person has chosen; it belongs to the main thread and knows no widgets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from avatar_viewer.live.pacing import QuickChoice

# The window shows itself before torch is imported; once there is an avatar, it has been.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.raster.camera import Orbit
    from avatar_viewer.stages import Layer, RenderRequest, SamplerName

PAD_CENTRE = (0.5, 0.5)
PAD_CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
"""Top-left, top-right, bottom-left, bottom-right, as `AvatarInfo.corners`."""
ORBIT_DEG = 180.0
"""Turn of the camera for a drag over the whole picture."""
ZOOM_PER_CLICK = 1.1
MAX_ZOOM = 5.0
"""How much closer or farther than the avatar's own view the camera may stand."""


@dataclass
class ViewerState:
    """What is chosen of one avatar."""

    source: str
    """Folder or Hub id."""
    info: AvatarInfo
    view: Orbit
    steps: int
    sampler: SamplerName
    pad: tuple[float, float] = PAD_CENTRE
    """x to the right, y down, 0..1."""
    seed: int = 0
    show: Layer = "image"
    moving_steps: int | None = None
    moving_reduction: int | None = None
    """Of pictures while dragging; None leaves it to the render thread's pacing."""

    @staticmethod
    def of(source: str, info: AvatarInfo) -> ViewerState:
        """The avatar's own defaults."""
        return ViewerState(source, info, info.default_view, info.steps, info.sampler)

    def request(self) -> RenderRequest:
        """The picture that shows this state."""
        from avatar_viewer.expression.blend import bilinear
        from avatar_viewer.stages import RenderRequest

        size_px = self.info.resolution_px
        codes = [corner.expression for corner in self.info.corners]
        return RenderRequest(
            expression=bilinear(codes, *self.pad),
            camera=self.view.camera(size_px, size_px),
            seed=self.seed,
            steps=self.steps,
            sampler=self.sampler,
            show=self.show,
        )

    def quick_choice(self) -> QuickChoice:
        """What is chosen for pictures while dragging."""
        return QuickChoice(self.moving_steps, self.moving_reduction)

    def corner_requests(self) -> list[RenderRequest]:
        """The pictures of the pad's corners, in the avatar's own view."""
        base = ViewerState.of(self.source, self.info)
        return [replace(base, pad=corner).request() for corner in PAD_CORNERS]

    def move_pad(self, x: float, y: float) -> None:
        """Set the pad's cursor; what lies outside is moved to the edge."""
        self.pad = (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))

    def nudge_pad(self, dx: float, dy: float) -> None:
        self.move_pad(self.pad[0] + dx, self.pad[1] + dy)

    def orbit(self, dx: float, dy: float) -> None:
        """Turn the head after a drag; dx to the right and dy down are parts of the picture."""
        self.view = self.view.orbited(-dx * ORBIT_DEG, dy * ORBIT_DEG)

    def pan(self, dx: float, dy: float) -> None:
        """Move the head with a drag; dx to the right and dy down are parts of the picture."""
        picture = 2 * self.view.distance * math.tan(math.radians(self.view.fov_deg) / 2)
        self.view = self.view.panned(-dx * picture, dy * picture)

    def zoom(self, clicks: float) -> None:
        """Bring the head closer by clicks of the mouse wheel; negative ones move it away."""
        usual, now = self.info.default_view.distance, self.view.distance
        wanted = now / ZOOM_PER_CLICK**clicks
        distance = min(max(wanted, usual / MAX_ZOOM), usual * MAX_ZOOM)
        self.view = self.view.zoomed(now / distance)

    def reset_view(self) -> None:
        self.view = self.info.default_view
