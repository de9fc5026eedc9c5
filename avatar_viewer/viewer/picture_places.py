"""Where one picture, or two that are compared, lie in the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from avatar_viewer.viewer.pointer import Point

if TYPE_CHECKING:
    from avatar_viewer.live.session import ComparisonMode

GAP_PX = 8


class Place(NamedTuple):
    """A square for a picture, of which a strip may be drawn. Places are pixels of the view."""

    left: float
    top: float
    side: float
    start: float = 0.0
    end: float = 1.0
    """The strip's borders, parts of the width."""

    @property
    def strip(self) -> tuple[float, float]:
        return self.start, self.end

    @property
    def near(self) -> Point:
        """The strip's upper left corner."""
        return self.left + self.start * self.side, self.top

    @property
    def far(self) -> Point:
        return self.left + self.end * self.side, self.top + self.side

    def on_picture(self, at: Point) -> Point | None:
        """A place of the view as parts of the picture's width and height; None off the strip."""
        x, y = (at[0] - self.left) / self.side, (at[1] - self.top) / self.side
        return (x, y) if self.start <= x < self.end and 0 <= y < 1 else None


def places(
    size_px: tuple[int, int], mode: ComparisonMode | None, split: float
) -> tuple[Place, ...]:
    """One place for each picture, as large as they fit into the view of that size."""
    width, height = size_px
    if mode == "side by side":
        return _beside(width, height)
    side = max(1, min(width, height))
    whole = Place((width - side) / 2, (height - side) / 2, side)
    if mode == "split":
        # On a pixel's border, so that no pixel shows both.
        part = round(split * whole.side) / whole.side
        return whole._replace(end=part), whole._replace(start=part)
    return (whole,)


def _beside(width: int, height: int) -> tuple[Place, ...]:
    """Next to each other, or one above the other where they are larger so."""
    across, down = (width - GAP_PX) // 2, (height - GAP_PX) // 2
    if min(across, height) >= min(width, down):
        side = max(1, min(across, height))
        left, top = (width - 2 * side - GAP_PX) / 2, (height - side) / 2
        return Place(left, top, side), Place(left + side + GAP_PX, top, side)
    side = max(1, min(width, down))
    left, top = (width - side) / 2, (height - 2 * side - GAP_PX) / 2
    return Place(left, top, side), Place(left, top + side + GAP_PX, side)
