"""Pacing against avatars whose times are known."""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import pytest

from avatar_viewer.live.pacing import EVIDENCE_FRAMES, Effort, Pacing, QuickChoice

TARGET_MS = 60.0
AUTO = QuickChoice()
ONE_STEP, HALF_SIZE = Effort(1.0, 1), Effort(0.5, 1)


@dataclass
class Drag:
    """Quick pictures of an avatar, one after the other."""

    step_ms: float
    other_ms: float
    left_at_half: tuple[float, float] = (1.0, 0.25)
    """Of `step_ms` and `other_ms`."""
    noise: float = 0.0
    """Standard deviation, as a part of the time."""
    quick_steps: int = 1
    reductions: tuple[int, ...] = (1, 2)
    pacing: Pacing = field(init=False)

    def __post_init__(self) -> None:
        self.pacing = Pacing(TARGET_MS, self.quick_steps, self.reductions)
        self.random = random.Random(0)

    def frames(
        self, count: int, steps: int = 8, choice: QuickChoice = AUTO, slower: float = 1.0
    ) -> list[Effort]:
        """The efforts of so many pictures; each takes `slower` times as long as usual."""
        efforts = []
        for _ in range(count):
            effort = self.pacing.effort(steps, choice)
            step, other = self.left_at_half if effort.size < 1 else (1.0, 1.0)
            factor = slower * max(0.1, self.random.gauss(1, self.noise))
            stage_ms = {
                "head": 0.2 * other * self.other_ms * factor,
                "denoise": effort.steps * step * self.step_ms * factor,
                "decode": 0.8 * other * self.other_ms * factor,
            }
            self.pacing.count(effort, stage_ms)
            efforts.append(effort)
        return efforts

    def ms(self, effort: Effort) -> float:
        step, other = self.left_at_half if effort.size < 1 else (1.0, 1.0)
        return effort.steps * step * self.step_ms + other * self.other_ms


def changes(efforts: list[Effort]) -> int:
    return sum(a != b for a, b in pairwise(efforts))


def test_it_begins_with_the_avatars_quick_steps_and_waits_for_evidence():
    efforts = Drag(step_ms=1, other_ms=1, quick_steps=2).frames(EVIDENCE_FRAMES + 1)
    assert set(efforts[:EVIDENCE_FRAMES]) == {Effort(1.0, 2)}
    assert efforts[-1] != Effort(1.0, 2)


def test_time_to_spare_goes_into_steps_but_never_more_than_the_request_has():
    drag = Drag(step_ms=10, other_ms=12)
    settled = drag.frames(60)[-1]
    assert settled.size == 1 and 1 < settled.steps < 8
    assert drag.ms(settled) <= TARGET_MS < drag.ms(Effort(1.0, settled.steps + 2))
    assert drag.frames(60, steps=3)[-1] == Effort(1.0, 3)
    assert {effort.steps for effort in drag.frames(60, steps=1)} == {1}


def test_what_one_full_size_step_cannot_do_half_the_size_does():
    drag = Drag(step_ms=10, other_ms=120)
    assert drag.frames(60)[-1].size == 0.5
    assert drag.ms(drag.frames(1)[0]) <= TARGET_MS < drag.ms(ONE_STEP)


def test_an_avatar_that_denoises_most_of_the_time_is_not_blurred_for_nothing():
    assert set(Drag(step_ms=200, other_ms=30).frames(100)) == {ONE_STEP}


def test_half_a_size_that_saves_nothing_is_given_up_for_good():
    drag = Drag(step_ms=5, other_ms=100, left_at_half=(1.0, 1.0))
    tried = drag.frames(4 * EVIDENCE_FRAMES)
    assert HALF_SIZE in tried
    assert set(drag.frames(200)) == {ONE_STEP}


def test_fewer_latents_at_half_the_size_are_learned_too():
    # By the full size's time alone, predicted with the half size's steps, it would go back and
    # forth: 10 + 40 ms seem to fit.
    drag = Drag(step_ms=40, other_ms=40, left_at_half=(0.25, 0.25))
    drag.frames(40)
    assert {effort.size for effort in drag.frames(200)} == {0.5}


@pytest.mark.parametrize("left_at_half", [(1.0, 0.25), (1.0, 0.5), (0.25, 0.25), (1.0, 1.0)])
@pytest.mark.parametrize(("step_ms", "other_ms"), [(5, 10), (5, 80), (60, 20), (25, 30), (40, 40)])
def test_noise_does_not_make_it_go_back_and_forth(step_ms, other_ms, left_at_half):
    drag = Drag(step_ms, other_ms, left_at_half, noise=0.1)
    efforts = drag.frames(400)
    assert changes(efforts) <= 6
    assert changes(efforts[-200:]) <= 1
    times = sorted(drag.ms(effort) for effort in efforts[40:])
    assert times[int(0.95 * len(times))] <= 1.3 * median(times)


def test_it_recovers_from_a_time_of_load():
    drag = Drag(step_ms=5, other_ms=20)
    before = drag.frames(60)[-1]
    assert drag.frames(60, slower=5)[-1].size == 0.5
    assert drag.frames(60)[-1] == before


@pytest.mark.parametrize("slower", [0.05, 1, 20])
def test_an_explicit_choice_is_never_changed(slower: float):
    drag = Drag(step_ms=10, other_ms=30)

    def seen(choice: QuickChoice, steps: int = 8) -> set[Effort]:
        return set(drag.frames(50, steps, choice, slower))

    assert seen(QuickChoice(steps=4, reduction=1)) == {Effort(1.0, 4)}
    assert seen(QuickChoice(steps=2, reduction=2)) == {Effort(0.5, 2)}
    assert {effort.steps for effort in seen(QuickChoice(steps=2))} == {2}
    assert {effort.size for effort in seen(QuickChoice(reduction=2))} == {0.5}
    assert {effort.size for effort in seen(QuickChoice(reduction=1))} == {1.0}
    # A quick picture has no more steps than the full one.
    assert seen(QuickChoice(steps=4, reduction=1), steps=2) == {Effort(1.0, 2)}


def test_a_part_that_is_not_chosen_is_still_paced():
    drag = Drag(step_ms=10, other_ms=120)
    assert drag.frames(60, choice=QuickChoice(steps=2))[-1] == Effort(0.5, 2)
    assert drag.frames(60, choice=QuickChoice(reduction=2))[-1].steps > 1
    assert drag.frames(60, choice=QuickChoice(reduction=1))[-1] == ONE_STEP


def test_an_avatar_without_small_pictures_gets_none():
    drag = Drag(step_ms=10, other_ms=120, reductions=(1,))
    assert set(drag.frames(60)) == {ONE_STEP}
    assert not drag.pacing.halve()


def test_halved_it_stays_so_unless_full_size_is_asked_for():
    drag = Drag(step_ms=1, other_ms=1)
    assert drag.pacing.halve()
    assert not drag.pacing.halve()
    assert {effort.size for effort in drag.frames(60)} == {0.5}
    assert {effort.size for effort in drag.frames(20, choice=QuickChoice(reduction=1))} == {1.0}
    assert {effort.size for effort in drag.frames(60)} == {0.5}
