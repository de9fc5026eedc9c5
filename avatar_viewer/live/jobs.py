"""What the render thread is to do, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from avatar_viewer.live.pacing import Pacing, QuickChoice

if TYPE_CHECKING:
    from avatar_viewer.live.renderable import Renderable
    from avatar_viewer.stages import RenderRequest

DEFAULT_TARGET_MS = 66.0
"""Of quick pictures, for an avatar that does not say."""
AUTO = QuickChoice()


@dataclass(frozen=True)
class Job:
    request: RenderRequest
    """What is rendered: as wanted, or its quick variant."""
    wanted: RenderRequest
    quick: QuickChoice | None
    """What was chosen for a drag; None at rest."""
    submitted_s: float

    @property
    def preview(self) -> bool:
        return self.request != self.wanted


class SecondPicture:
    """The picture that the first one is compared with."""

    def __init__(self) -> None:
        self.wanted: RenderRequest | None = None
        self.done: RenderRequest | None = None
        """The last one that succeeded or failed."""
        self.has_turn = False
        """Whether the first picture has been rendered since: during a drag they take turns."""
        self.avatar: Renderable | None = None
        """None: the current one draws it."""
        self.wanted_source: str | None = None

    @property
    def is_due(self) -> bool:
        return self.wanted is not None and self.wanted != self.done


def pacing_of(avatar: Renderable) -> Pacing:
    target_ms = getattr(avatar, "target_ms", DEFAULT_TARGET_MS)
    return Pacing(target_ms, avatar.info.quick_steps, getattr(avatar, "reductions", (1, 2)))


def quick_variant(request: RenderRequest, pacing: Pacing, choice: QuickChoice) -> RenderRequest:
    """The variant that is rendered while dragging: baked head, and as good as there is time for."""
    request = replace(request, exact_head=False)
    if request.show != "image":
        return request
    effort = pacing.effort(request.steps, choice)
    return replace(request, steps=effort.steps, reduction=round(1 / effort.size))
