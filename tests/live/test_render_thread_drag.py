"""What the render thread does while somebody drags, and what it says meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from stepwise_avatar import INFO, request

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.jobs import AUTO
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.pacing import EVIDENCE_FRAMES, QuickChoice
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.stages import Frame, RenderRequest

TIMEOUT_S = 10
SETTLED_FRAMES = 4 * EVIDENCE_FRAMES


class OutOfMemoryError(Exception):
    """Named as torch's."""


class TimedAvatar:
    """Renders at once, and says how long it took: 10 ms a step, and `other_ms` at full size."""

    target_ms = 100.0

    def __init__(self) -> None:
        self.info = replace(INFO, steps=8, quick_steps=1)
        self.expressions = ExpressionSpace()
        self.other_ms = 40.0
        self.rendered: list[RenderRequest] = []
        self.failure_of: Callable[[RenderRequest], Exception | None] = lambda request: None

    def render(self, request, cancelled):
        self.rendered.append(request)
        if error := self.failure_of(request):
            raise error
        stage_ms = {"denoise": 10.0 * request.steps, "decode": self.other_ms / request.reduction**2}
        return Frame(request, np.full((8, 8, 3), request.seed, np.uint8), stage_ms)


@pytest.fixture
def live():
    thread = RenderThread(lambda source, progress, notify: TimedAvatar())
    swap(thread, "first")
    yield thread
    thread.stop()


def swap(live: RenderThread, source: str) -> None:
    live.load(source)
    live.wait(lambda state: state.source == source, TIMEOUT_S)


def avatar_of(live) -> TimedAvatar:
    return live._avatar


def wanted(seed: int, **changes) -> RenderRequest:
    return replace(request(seed), **{"steps": 8, **changes})


def done(live: RenderThread, request: RenderRequest, **how) -> LiveState:
    """The state once a new request has been rendered or has failed."""

    def count(state: LiveState) -> int:
        return state.frames + state.failures

    before = count(live.poll())
    live.submit(request, **how)
    state = live.wait(lambda state: count(state) > before, TIMEOUT_S)
    assert count(state) == before + 1
    return state


def dragged(
    live: RenderThread, choice: QuickChoice = AUTO, seed: int = 0, **changes
) -> list[RenderRequest]:
    """What is rendered while the seed moves on from `seed`."""
    shown = []
    for moved in range(seed, seed + SETTLED_FRAMES):
        state = done(live, wanted(moved, **changes), dragging=True, quick=choice)
        assert state.failures == 0 and state.frame.request.seed == moved
        shown.append(state.frame.request)
    return shown


def test_a_drag_gets_the_steps_that_there_is_time_for_and_rest_gets_all(live):
    shown = dragged(live)
    assert shown[0] == wanted(0, steps=1, exact_head=False)
    assert 1 < shown[-1].steps < 8 and shown[-1].reduction == 1
    last = wanted(SETTLED_FRAMES - 1)
    state = done(live, last)
    assert state.frame.request == last and not state.frame.preview


def test_a_slow_avatar_is_drawn_at_half_the_size_while_moving(live):
    avatar_of(live).other_ms = 200
    assert [r.reduction for r in dragged(live)][:: SETTLED_FRAMES - 1] == [1, 2]
    assert done(live, wanted(SETTLED_FRAMES - 1)).frame.request.reduction == 1


def test_another_avatar_begins_anew(live):
    assert dragged(live)[-1].steps > 1
    swap(live, "second")
    assert dragged(live)[0].steps == 1


def test_an_explicit_choice_is_kept_and_no_picture_gets_more_than_the_full_one(live):
    avatar_of(live).other_ms = 1000
    for choice in (QuickChoice(4, 1), QuickChoice(1, 2)):
        found = {(r.steps, r.reduction) for r in dragged(live, choice)}
        assert found == {(choice.steps, choice.reduction)}
    assert {r.steps for r in dragged(live, QuickChoice(steps=4), steps=2)} == {2}


def test_a_layer_is_drawn_as_it_is_wanted_but_for_the_baked_head(live):
    for seed, shown in enumerate(dragged(live, QuickChoice(1, 2), show="depth")):
        assert shown == wanted(seed, show="depth", exact_head=False)


def test_thumbnails_wait_for_the_end_of_a_drag(live):
    live.submit_thumbnails([request(200), request(201)])
    live.wait(lambda state: len(state.thumbnails) == 2, TIMEOUT_S)
    done(live, wanted(0), dragging=True)
    live.submit_thumbnails([request(202)])
    state = live.wait(lambda state: _seeds(state) == [202], timeout_s=0.3)
    assert _seeds(state) == [200]
    dragged(live, seed=1)
    live.submit(wanted(SETTLED_FRAMES))
    live.wait(lambda state: _seeds(state) == [202], TIMEOUT_S)
    assert [r.seed for r in avatar_of(live).rendered][-2:] == [SETTLED_FRAMES, 202]


def _seeds(state: LiveState) -> list[int]:
    return [frame.request.seed for frame in state.thumbnails]


def out_of_memory_at_full_size(request: RenderRequest) -> Exception | None:
    return OutOfMemoryError("CUDA out of memory") if request.reduction == 1 else None


def test_out_of_memory_halves_quick_pictures_for_good_and_says_so_once(live):
    avatar_of(live).failure_of = out_of_memory_at_full_size
    shown = dragged(live)
    assert {r.reduction for r in shown} == {2}
    state = live.poll()
    assert (state.failures, state.notices) == (0, 1) and "memory" in state.notice
    assert [r.reduction for r in avatar_of(live).rendered].count(1) == 1
    swap(live, "second")
    assert {r.reduction for r in dragged(live)} == {1}


def test_out_of_memory_where_nothing_may_be_halved_is_a_failure(live):
    avatar_of(live).failure_of = out_of_memory_at_full_size
    full_size = done(live, wanted(1), dragging=True, quick=QuickChoice(reduction=1))
    assert full_size.failure.message == "OutOfMemoryError: CUDA out of memory"
    assert full_size.notices == 0
    assert done(live, wanted(2)).failures == 2  # at rest
    avatar_of(live).failure_of = lambda request: OutOfMemoryError("CUDA out of memory")
    assert done(live, wanted(3), dragging=True).failures == 3  # at full size, then at half
    assert live.poll().notices == 1


@pytest.mark.parametrize("dragging", [False, True])
def test_a_broken_picture_is_reported_and_the_last_good_one_stays(live, dragging):
    good = done(live, wanted(1), dragging=dragging).frame
    nan = AvatarError("picture: expected finite colours, found NaN or inf")
    avatar_of(live).failure_of = lambda request: nan if request.seed == 2 else None
    state = done(live, wanted(2), dragging=dragging)
    assert (state.frame, state.failure.message) == (good, str(nan))
    assert done(live, wanted(3), dragging=dragging).frame.request.seed == 3


def test_notices_come_from_the_loader_and_later_from_any_thread():
    heard: list[Callable[[str], None]] = []

    def load(source, progress, notify):
        notify("no fast runtime")
        heard.append(notify)
        return TimedAvatar()

    changes = threading.Semaphore(0)
    live = RenderThread(load, on_change=changes.release)
    swap(live, "first")
    state = live.poll()
    assert (state.notice, state.notices) == ("no fast runtime", 1)
    while changes.acquire(blocking=False):
        pass
    threads = [threading.Thread(target=heard[0], args=(f"built {i}",)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = live.poll()
    assert state.notices == 21 and state.notice.startswith("built")
    assert sum(changes.acquire(blocking=False) for _ in range(30)) == 20
    live.stop()
