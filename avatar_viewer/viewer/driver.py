"""What moves the expression in place of the pad, such as a sequence that is played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# The window shows itself before torch is imported; once there is an avatar, it has been.
if TYPE_CHECKING:
    from avatar_viewer.stages import ExpressionCode


@dataclass(frozen=True)
class Driven:
    """What a driver wants to be seen."""

    expression: ExpressionCode
    """In place of the pad's blend, with gaze; sliders and the gaze control move it as they move
    that."""
    head_pose_deg: tuple[float, float, float] | None = None
    """Yaw, pitch and roll of the head, as `ExpressionSequence.head_pose_deg`; None leaves it
    upright."""


class Driver(Protocol):
    """One at a time is `ViewerApp.driver`: see `ViewerApp.drive_by` and `stop_driving`.

    Its methods are called from the main thread and return at once.
    """

    @property
    def is_moving(self) -> bool:
        """Whether the next round of the window's loop may differ though nobody touches it."""
        ...

    def advance(self, now_s: float) -> Driven | None:
        """What is to be seen now, once per round of the loop; None leaves what is seen.

        `now_s` is on the clock of `time.perf_counter`.
        """
        ...

    def stop(self) -> None:
        """It drives no longer: a hand has taken over, another driver, or another avatar."""
        ...
