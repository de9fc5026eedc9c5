"""How good the pictures are that come while a person drags, so that each takes about as long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

EVIDENCE_FRAMES = 5
"""So many pictures in a row that were made with the same effort say what it costs."""
MARGIN = 0.15
"""An effort is kept while its time is this near to the target, as a part of it."""
REAL_GAIN = 0.15
"""Half-size pictures must save about this part of the time, or they are blurred for nothing."""
FEWEST_PIXELS = 1 / 4
"""The part of a picture's pixels, so of its work, that is left at half its size."""


@dataclass(frozen=True)
class QuickChoice:
    """What the person wants of pictures while moving; None leaves it to `Pacing`."""

    steps: int | None = None
    reduction: int | None = None
    """As `RenderRequest.reduction`: 1 is the full size, 2 half of it."""


class Effort(NamedTuple):
    """What a quick picture is made with; a greater one looks better."""

    size: float
    """1 / reduction."""
    steps: int


class Cost(NamedTuple):
    """What pictures of one size were found to take: step_ms * steps + other_ms.

    Where a stage is done beside the denoiser, more steps may cost less than that: they hide more of
    it.
    """

    size: float
    step_ms: float
    other_ms: float


class Pacing:
    """Chooses, for one avatar, the best pictures that take a target time each.

    It predicts from what the last ones took: denoising takes as long as it has steps, and all else
    as the picture has pixels, until pictures of both sizes have shown how much half the size saves.
    """

    def __init__(self, target_ms: float, quick_steps: int, reductions: tuple[int, ...]) -> None:
        """It starts with `quick_steps` at full size; `reductions` are those the avatar can draw."""
        self._target_ms = target_ms
        self._sizes = tuple(size for size in (1.0, 0.5) if round(1 / size) in reductions)
        self._effort = Effort(1.0, quick_steps)
        self._cost: Cost | None = None
        self._left_at_half = (1.0, FEWEST_PIXELS)  # of step_ms and other_ms
        self._evidence: list[tuple[float, float]] = []
        self._evidence_of = self._effort

    def effort(self, most_steps: int, choice: QuickChoice) -> Effort:
        """What the next quick picture of a request with `most_steps` is made with."""
        fewest, most = 1, most_steps
        if choice.steps is not None:
            fewest = most = min(choice.steps, most_steps)
        sizes = self._sizes if choice.reduction is None else (1 / choice.reduction,)
        size = self._effort.size if self._effort.size in sizes else sizes[0]
        effort = Effort(size, min(max(self._effort.steps, fewest), most))
        if self._cost is not None:
            # What holds even if pictures take longer than predicted, and if they take less.
            safe, bold = (
                self._best(self._cost, slack, (fewest, most), sizes)
                for slack in (1 - MARGIN, 1 + MARGIN)
            )
            effort = max(safe, min(effort, bold))
        self._effort = effort
        return effort

    def count(self, effort: Effort, stage_ms: Mapping[str, float]) -> None:
        """Learn from a finished quick picture."""
        if effort != self._evidence_of:
            self._evidence_of, self._evidence = effort, []
        denoise_ms = stage_ms.get("denoise", 0.0)
        self._evidence.append((denoise_ms / effort.steps, sum(stage_ms.values()) - denoise_ms))
        if len(self._evidence) < EVIDENCE_FRAMES:
            return
        step_ms, other_ms = map(median, zip(*self._evidence, strict=True))
        before, self._cost = self._cost, Cost(effort.size, step_ms, other_ms)
        self._evidence = []
        if before is not None and before.size != effort.size:
            half, full = sorted((before, self._cost))
            self._left_at_half = (
                _part(half.step_ms, full.step_ms),
                _part(half.other_ms, full.other_ms),
            )

    def halve(self) -> bool:
        """Draw no more full-size pictures unless they are asked for; whether that is news."""
        news = self._sizes == (1.0, 0.5)
        if news:
            self._sizes = (0.5,)
        return news

    def _best(
        self, cost: Cost, slack: float, steps: tuple[int, int], sizes: tuple[float, ...]
    ) -> Effort:
        """The best within `slack` times the target, else the least; `steps` are fewest and most."""
        limit_ms = slack * self._target_ms
        fewest, most = steps
        costs = [self._predicted(cost, size) for size in sizes]
        least_ms = [fewest * each.step_ms + each.other_ms for each in costs]
        smaller_helps = least_ms[-1] <= (1 - slack * REAL_GAIN) * least_ms[0]
        chosen = -1 if least_ms[0] > limit_ms and smaller_helps else 0
        size, step_ms, _ = costs[chosen]
        if size != cost.size:  # a prediction that more steps can wait for
            return Effort(size, fewest)
        spare_ms = max(0.0, limit_ms - least_ms[chosen])
        more = int(spare_ms / step_ms) if step_ms > 0 else most
        return Effort(size, min(fewest + more, most))

    def _predicted(self, cost: Cost, size: float) -> Cost:
        """What pictures of another size would take."""
        halvings = math.log2(cost.size / size)
        step, other = (left**halvings for left in self._left_at_half)
        return Cost(size, cost.step_ms * step, cost.other_ms * other)


def _part(half_ms: float, full_ms: float) -> float:
    """What is left of a time at half size: no less than of the pixels, and no more than all."""
    return min(max(half_ms / full_ms, FEWEST_PIXELS), 1.0) if full_ms > 0 else 1.0
