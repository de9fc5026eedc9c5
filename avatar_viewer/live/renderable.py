"""What the render thread needs of an avatar, and how it gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

# The window starts the render thread before torch is imported.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.config import RuntimeName
    from avatar_viewer.head.expression_space import ExpressionSpace
    from avatar_viewer.stages import Frame, RenderRequest


class Renderable(Protocol):
    """What the thread needs of an avatar."""

    @property
    def info(self) -> AvatarInfo: ...

    @property
    def expressions(self) -> ExpressionSpace: ...

    def render(self, request: RenderRequest, cancelled: Callable[[], bool]) -> Frame: ...


Say = Callable[[str], None]
Load = Callable[[str, Say, Say], Renderable]
"""From a source (folder or Hub id) to an avatar. The first report hears what is being loaded; the
second one, from any thread and also later, lines that the person should see."""


def load_avatar(
    source: str, progress: Say, notify: Say, runtime: RuntimeName = "auto"
) -> Renderable:
    """`Avatar.load`, imported where it is needed: on the render thread."""
    from avatar_viewer.avatar import Avatar

    return Avatar.load(source, progress=progress, notify=notify, runtime=runtime)
