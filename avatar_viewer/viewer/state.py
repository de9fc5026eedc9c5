"""What the person has chosen of one avatar, and how it was before; it knows no widgets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from avatar_viewer.viewer.history import History

# The window shows itself before torch is imported; once there is an avatar, it has been.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.head.expression_space import ExpressionSpace
    from avatar_viewer.live.session import Session
    from avatar_viewer.stages import ExpressionCode, RenderRequest
    from avatar_viewer.viewer.driver import Driven

PAD_CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
"""Top-left, top-right, bottom-left, bottom-right, as `AvatarInfo.corners`."""
ORBIT_DEG = 180.0
"""Turn of the camera for a drag over the whole picture."""
ZOOM_PER_CLICK = 1.1
MAX_ZOOM = 5.0
"""How much closer or farther than the avatar's own view the camera may stand."""


class ViewerState:
    """The session of a loaded avatar; it belongs to the main thread."""

    def __init__(
        self, source: str, info: AvatarInfo, space: ExpressionSpace, session: Session
    ) -> None:
        """`source` is the folder or Hub id that the avatar came from."""
        self.source, self.info, self.space = source, info, space
        self.session = session
        self._history = History(session)
        self._driven: ExpressionCode | None = None

    @staticmethod
    def of(source: str, info: AvatarInfo, space: ExpressionSpace) -> ViewerState:
        """The avatar's own defaults."""
        from avatar_viewer.config import lasting_source
        from avatar_viewer.live.session import Session

        return ViewerState(source, info, space, Session.of(lasting_source(source), info))

    def change(self, **fields: Any) -> None:
        """Replace fields of the session; AvatarError, and no change, for what it refuses."""
        self.session = replace(self.session, **fields)

    def drive(self, driven: Driven) -> None:
        """Show this in place of the pad's blend. It is no step of the history."""
        self._driven = driven.expression
        self.change(driven=driven.expression, head_pose_deg=driven.head_pose_deg)

    @property
    def is_taken_back(self) -> bool:
        """Whether the expression is no longer the one that was driven: a hand has chosen it."""
        return self._driven is not None and self.session.driven is not self._driven

    def release(self) -> None:
        """Back to the pad's blend, unless a hand has chosen another expression."""
        self.session = self._chosen
        self._driven = None

    def settle(self) -> None:
        """No hand is moving anything: what is chosen now is one step of the history."""
        self._history.record(self._chosen)

    def undo(self) -> None:
        self._return_to(self._history.undo(self._chosen))

    def redo(self) -> None:
        self._return_to(self._history.redo(self._chosen))

    def request(self) -> RenderRequest:
        """The picture that shows this state."""
        size_px = self.info.resolution_px
        return self.session.request(self.space, size_px, size_px)

    def other_request(self) -> RenderRequest | None:
        """The picture that it is compared with."""
        size_px = self.info.resolution_px
        other = self.session.compared()
        return None if other is None else other.request(self.space, size_px, size_px)

    def corner_requests(self) -> list[RenderRequest]:
        """The pictures of the pad's corners, in the present view."""
        from avatar_viewer.live.session import Session

        own, size_px = Session.of(self.session.avatar, self.info), self.info.resolution_px
        base = replace(own, corners=self.session.corners, view=self.session.view)
        return [
            replace(base, pad=corner).request(self.space, size_px, size_px)
            for corner in PAD_CORNERS
        ]

    def move_pad(self, x: float, y: float) -> None:
        """Set the pad's cursor, and show its blend; what lies outside is moved to the edge."""
        pad = (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))
        self.change(pad=pad, driven=None, head_pose_deg=None)

    def nudge_pad(self, dx: float, dy: float) -> None:
        x, y = self.session.pad
        self.move_pad(x + dx, y + dy)

    def orbit(self, dx: float, dy: float) -> None:
        """Turn the head after a drag; dx to the right and dy down are parts of the picture."""
        self.change(view=self.session.view.orbited(-dx * ORBIT_DEG, dy * ORBIT_DEG))

    def pan(self, dx: float, dy: float) -> None:
        """Move the head with a drag; dx to the right and dy down are parts of the picture."""
        view = self.session.view
        picture = 2 * view.distance * math.tan(math.radians(view.fov_deg) / 2)
        self.change(view=view.panned(-dx * picture, dy * picture))

    def zoom(self, clicks: float) -> None:
        """Bring the head closer by clicks of the mouse wheel; negative ones move it away."""
        usual, now = self.info.default_view.distance, self.session.view.distance
        wanted = now / ZOOM_PER_CLICK**clicks
        distance = min(max(wanted, usual / MAX_ZOOM), usual * MAX_ZOOM)
        self.change(view=self.session.view.zoomed(now / distance))

    def reset_view(self) -> None:
        self.change(view=self.info.default_view)

    @property
    def _is_driven(self) -> bool:
        return self._driven is not None and self.session.driven is self._driven

    @property
    def _chosen(self) -> Session:
        """Without what is driven."""
        if not self._is_driven:
            return self.session
        return replace(self.session, driven=None, head_pose_deg=None)

    def _return_to(self, session: Session) -> None:
        if self._is_driven:
            kept = {name: getattr(self.session, name) for name in ("driven", "head_pose_deg")}
            session = replace(session, **kept)
        self.session = session
