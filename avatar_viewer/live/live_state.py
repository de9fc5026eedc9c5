"""What the render thread has to show, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

# The window shows itself before torch is imported.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.head.expression_space import ExpressionSpace
    from avatar_viewer.stages import Frame, RenderFailure


@dataclass(frozen=True)
class TaskProgress:
    """How far a long task is, such as a recording."""

    label: str
    done: int
    total: int
    started_s: float
    """On the clock of `time.perf_counter`."""


@dataclass(frozen=True)
class LiveState:
    """What the render thread has to show."""

    source: str | None = None
    """Where the current avatar came from; None until the first one has loaded."""
    info: AvatarInfo | None = None
    expressions: ExpressionSpace | None = None
    """Of the current avatar."""
    status: str = ""
    """What is being loaded; empty when nothing is."""
    frame: Frame | None = None
    """The newest finished picture of the current avatar."""
    frames: int = 0
    """How many pictures have been shown: `frame`'s serial number."""
    latency_ms: float = 0.0
    """From the submission of `frame`'s request until it was finished."""
    finished_s: float = 0.0
    """When `frame` was finished, on the clock of `time.perf_counter`."""
    other: Frame | None = None
    """The newest second picture, where two are compared."""
    other_source: str | None = None
    """Where the second picture's avatar came from; None where it is the current one."""
    task: TaskProgress | None = None
    """The long task that is running."""
    failure: RenderFailure | None = None
    """The newest failure of a load or a render."""
    failures: int = 0
    """How many failures there have been: `failure`'s serial number."""
    notice: str = ""
    """The newest line that the person should see."""
    notices: int = 0
    """How many notices there have been: `notice`'s serial number."""
    thumbnails: tuple[Frame, ...] = ()
    """In the order of `submit_thumbnails`: new ones as far as they are done, then old ones."""
