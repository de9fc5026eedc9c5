"""What is written in the corners of the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.compared import AMPLIFIED, differences
from avatar_viewer.viewer.drawn_picture import Label, label_height
from avatar_viewer.viewer.picture_places import Place
from avatar_viewer.viewer.state import ViewerState

if TYPE_CHECKING:
    from avatar_viewer.live.session import ComparisonMode, Session
    from avatar_viewer.raster.camera import Orbit
    from avatar_viewer.stages import Frame

MARGIN_PX = 8
USUAL_AZIMUTH_DEG, USUAL_ELEVATION_DEG = 75.0, 35.0
USUAL_DISTANCES = (0.6, 1.6)
"""How far from the avatar's own view people's recordings go: degrees to each side, degrees above
and below the horizon, and times its distance."""
UNUSUAL = "Outside the trained views"


class ViewLabels:
    """Names of compared pictures above; below, whether the view is unusual or the picture quick."""

    def __init__(self, drawlist: int | str) -> None:
        self._shown: object = None
        self._names = [Label(drawlist) for _ in range(2)]
        self._remarks = Label(drawlist)

    def update(
        self,
        state: ViewerState | None,
        frame: Frame | None,
        mode: ComparisonMode | None,
        drawn: tuple[Place, ...],
    ) -> None:
        """Say what holds now, where it has changed."""
        session, unusual = None, False
        if state is not None and frame is not None:
            session = state.session
            unusual = is_unusual(session.view, state.info.default_view)
        quick = frame is not None and frame.preview
        wanted = (session, unusual, quick, mode, drawn, theme.look())
        if wanted == self._shown:
            return
        self._shown = wanted
        margin = theme.px(MARGIN_PX)
        self._show_names(session, mode, drawn, margin)
        last = drawn[-1]
        right, bottom = last.left + last.side - margin, last.top + last.side - margin
        texts = (UNUSUAL if unusual else "", "quick" if quick else "")
        text = "   ".join(filter(None, texts))
        self._remarks.show(text, right, bottom - label_height(), from_right=True)

    def _show_names(
        self,
        session: Session | None,
        mode: ComparisonMode | None,
        drawn: tuple[Place, ...],
        margin: int,
    ) -> None:
        texts = ["", ""]
        if session is not None and mode is not None:
            first, second = differences(session)
            texts = [f"A: {first}", f"B: {second}"] if first else ["A", "B"]
        if mode == "difference":
            texts = [f"Difference × {AMPLIFIED}   {'   '.join(texts)}", ""]
        self._names[0].show(texts[0], drawn[0].left + margin, drawn[0].top + margin)
        to_the_right = mode == "split"
        last = drawn[-1]
        x = last.left + (last.side - margin if to_the_right else margin)
        self._names[1].show(texts[1], x, last.top + margin, from_right=to_the_right)


def is_unusual(view: Orbit, usual: Orbit) -> bool:
    """Whether a view is so far from the usual one that no recording is likely to have it."""
    turned = abs((view.azimuth_deg - usual.azimuth_deg + 180) % 360 - 180)
    nearest, farthest = USUAL_DISTANCES
    return (
        turned > USUAL_AZIMUTH_DEG
        or abs(view.elevation_deg) > USUAL_ELEVATION_DEG
        or not nearest <= view.distance / usual.distance <= farthest
    )
