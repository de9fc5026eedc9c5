import os
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch
from stepwise_avatar import FAILING_SEED, WRONG_SEED, StepwiseAvatar, request

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.cores import NICENESS
from avatar_viewer.live.render_thread import RenderThread

TIMEOUT_S = 10


def load(source, progress, notify):
    progress("unet")
    if source == "broken":
        raise AvatarError("unet: expected weights, found none")
    return StepwiseAvatar()


@pytest.fixture
def live():
    thread = RenderThread(load)
    thread.load("first")
    thread.wait(lambda state: state.info is not None, TIMEOUT_S)
    yield thread
    avatar_of(thread).stepping = False
    avatar_of(thread).allow_steps(1000)
    thread.stop()


def avatar_of(live) -> StepwiseAvatar:
    return live._avatar


def frame_of(live, seed, preview=False):
    def shown(state):
        frame = state.frame
        return frame and frame.request.seed == seed and frame.preview == preview

    state = live.wait(shown, TIMEOUT_S)
    assert shown(state)
    assert (state.frame.rgb == seed % 256).all()
    return state


def settled(live):
    """The state after everything that was wanted before now has been done."""
    live.submit_thumbnails([request(99)])
    return live.wait(lambda state: len(state.thumbnails) == 1, TIMEOUT_S)


def test_a_request_becomes_a_frame(live):
    live.submit(request(7), dragging=False)
    state = frame_of(live, 7)
    assert (state.frames, state.failures, state.source) == (1, 0, "first")
    assert state.frame.request == request(7)
    assert 0 < state.latency_ms < TIMEOUT_S * 1000


def test_newest_wins_in_a_storm_from_another_thread(live):
    avatar_of(live).stepping = True
    live.submit(request(1))
    assert avatar_of(live).inside.wait(TIMEOUT_S)

    def storm():
        for seed in range(2000):
            live.submit(request(seed), dragging=seed % 3 == 0)

    sender = threading.Thread(target=storm)
    sender.start()
    sender.join()
    avatar_of(live).stepping = False
    avatar_of(live).allow_steps(1)
    state = frame_of(live, 1999)
    assert [r.seed for r in avatar_of(live).rendered] == [1999]
    assert state.frames == 1


def test_a_storm_against_a_running_renderer_ends_at_the_newest(live):
    for seed in range(2000):
        live.submit(request(seed), dragging=seed % 2 == 0)
    frame_of(live, 1999)
    seeds = [r.seed for r in avatar_of(live).rendered]
    assert seeds == sorted(seeds)


def test_an_equal_request_renders_nothing(live):
    live.submit(request(7))
    frame_of(live, 7)
    for _ in range(50):
        live.submit(request(7))
    assert settled(live).frames == 1
    assert [r.seed for r in avatar_of(live).rendered] == [7, 99]


def test_an_equal_request_does_not_disturb_the_running_one(live):
    avatar_of(live).stepping = True
    live.submit(request(7))
    assert avatar_of(live).inside.wait(TIMEOUT_S)
    live.submit(request(7))
    avatar_of(live).allow_steps(4)
    frame_of(live, 7)
    assert not avatar_of(live).cancelled


def test_a_new_request_cancels_the_running_one_between_steps(live):
    avatar_of(live).stepping = True
    live.submit(request(1))
    avatar_of(live).allow_steps(2)
    while avatar_of(live).steps_run < 2:
        time.sleep(0.001)
    live.submit(request(2))
    avatar_of(live).allow_steps(5)
    state = frame_of(live, 2)
    assert [r.seed for r in avatar_of(live).cancelled] == [1]
    assert avatar_of(live).steps_run == 2 + 4
    assert state.frames == 1


def test_returning_to_the_shown_request_cancels_and_renders_nothing(live):
    live.submit(request(1))
    frame_of(live, 1)
    avatar_of(live).stepping = True
    live.submit(request(2))
    assert avatar_of(live).inside.wait(TIMEOUT_S)
    live.submit(request(1))
    avatar_of(live).stepping = False
    avatar_of(live).allow_steps(1)
    state = settled(live)
    assert (state.frame.request.seed, state.frames) == (1, 1)
    assert [r.seed for r in avatar_of(live).rendered] == [1, 99]


def test_dragging_renders_quick_frames_and_rest_the_full_one(live):
    live.submit(request(1), dragging=True)
    assert frame_of(live, 1, preview=True).frame.request.steps == 2
    live.submit(request(1), dragging=False)
    assert frame_of(live, 1).frame.request.steps == 4


def test_a_steady_drag_still_shows_frames(live):
    avatar_of(live).stepping = True
    live.submit(request(1), dragging=True)
    assert avatar_of(live).inside.wait(TIMEOUT_S)
    live.submit(request(2), dragging=True)
    live.submit(request(3), dragging=True)
    avatar_of(live).allow_steps(2)
    frame_of(live, 1, preview=True)
    avatar_of(live).allow_steps(2)
    frame_of(live, 3, preview=True)
    assert [r.seed for r in avatar_of(live).rendered] == [1, 3]


def test_dragging_takes_the_baked_head_and_rest_the_exact_one(live):
    few_steps = replace(request(1), steps=2)
    layer = replace(request(2), show="normal")
    for wanted in (few_steps, layer):
        live.submit(wanted, dragging=True)
        shown = frame_of(live, wanted.seed, preview=True).frame.request
        assert shown == replace(wanted, exact_head=False)
        live.submit(wanted)
        assert frame_of(live, wanted.seed, preview=False).frame.request == wanted
    assert settled(live).frames == 4


def test_a_full_frame_equal_to_the_quick_one_is_not_rendered_again(live):
    wanted = replace(request(1), steps=2, exact_head=False)
    for dragging in (True, False):
        live.submit(wanted, dragging=dragging)
        assert frame_of(live, wanted.seed).frame.request == wanted
    assert settled(live).frames == 1


def test_a_preview_becomes_final_when_the_steps_are_lowered_to_it(live):
    live.submit(request(1), dragging=True)
    frame_of(live, 1, preview=True)
    live.submit(replace(request(1), steps=2, exact_head=False))
    frame_of(live, 1, preview=False)
    assert settled(live).frames == 1


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (FAILING_SEED, "seed: expected another, found 666"),
        (WRONG_SEED, "ZeroDivisionError: oops"),
    ],
)
def test_a_failure_is_a_value_and_the_thread_lives_on(live, seed, message):
    live.submit(request(seed))
    state = live.wait(lambda state: state.failures == 1, TIMEOUT_S)
    assert state.failure.message == message
    assert state.failure.request == request(seed)
    assert "Traceback" in state.failure.traceback
    live.submit(request(3))
    assert frame_of(live, 3).failures == 1


def test_a_failing_load_keeps_the_old_avatar(live):
    live.submit(request(1))
    before = frame_of(live, 1)
    live.load("broken")
    state = live.wait(lambda state: state.failures == 1, TIMEOUT_S)
    assert state.failure.request is None
    assert state.failure.message == "unet: expected weights, found none"
    assert (state.source, state.info, state.frame) == ("first", before.info, before.frame)
    assert state.status == ""
    live.submit(request(2))
    frame_of(live, 2)


def test_loading_swaps_the_avatar_and_forgets_the_old_one(live):
    live.submit(request(1))
    before = frame_of(live, 1)
    live.load("second")
    state = live.wait(lambda state: state.source == "second", TIMEOUT_S)
    assert state.frame is None and state.info is not before.info
    live.submit(request(1), made_for=before.info)
    live.submit(request(2), made_for=state.info)
    frame_of(live, 2)
    assert [r.seed for r in avatar_of(live).rendered] == [2]


def test_a_load_interrupts_a_render_and_its_frame_is_not_shown(live):
    avatar_of(live).stepping = True
    live.submit(request(1), dragging=True)
    assert avatar_of(live).inside.wait(TIMEOUT_S)
    old = avatar_of(live)
    live.load("second")
    old.allow_steps(1)
    state = live.wait(lambda state: state.source == "second", TIMEOUT_S)
    assert old.cancelled and state.frame is None and state.frames == 0


def test_the_status_tells_what_is_loaded_and_a_newer_load_wins():
    at_unet, go_on = threading.Event(), threading.Event()

    def slow_load(source, progress, notify):
        progress("unet")
        if source == "slow":
            at_unet.set()
            assert go_on.wait(TIMEOUT_S)
        progress("vae")
        return StepwiseAvatar()

    live = RenderThread(slow_load)
    live.load("slow")
    assert at_unet.wait(TIMEOUT_S)
    assert live.poll().status == "Loading slow: unet"
    live.load("newer")
    go_on.set()
    state = live.wait(lambda state: state.source is not None, TIMEOUT_S)
    assert (state.source, state.status, state.failures) == ("newer", "", 0)
    live.stop()


def test_thumbnails_give_way_to_a_request(live):
    avatar_of(live).stepping = True
    live.submit_thumbnails([request(seed) for seed in (10, 11, 12, 13)])
    assert avatar_of(live).inside.wait(TIMEOUT_S)
    live.submit(request(1))
    avatar_of(live).stepping = False
    avatar_of(live).allow_steps(1)
    state = live.wait(lambda state: len(state.thumbnails) == 4, TIMEOUT_S)
    assert [frame.request.seed for frame in state.thumbnails] == [10, 11, 12, 13]
    assert [r.seed for r in avatar_of(live).rendered] == [1, 10, 11, 12, 13]


def test_a_failing_thumbnail_is_reported_once(live):
    live.submit_thumbnails([request(1), request(FAILING_SEED), request(2)])
    state = live.wait(lambda state: state.failures == 1, TIMEOUT_S)
    assert len(state.thumbnails) == 1
    live.submit(request(3))
    assert frame_of(live, 3).failures == 1


def test_stop_ends_a_running_render_promptly():
    entered = threading.Event()

    class Endless(StepwiseAvatar):
        def render(self, request, cancelled):
            entered.set()
            while not cancelled():
                time.sleep(0.001)
            return super().render(request, cancelled)

    live = RenderThread(lambda source, progress, notify: Endless())
    live.load("endless")
    live.wait(lambda state: state.info is not None, TIMEOUT_S)
    live.submit(request(1))
    assert entered.wait(TIMEOUT_S)
    live.stop()
    assert not live._thread.is_alive() and live.poll().frame is None


def test_every_change_wakes_the_window():
    changes = threading.Semaphore(0)
    live = RenderThread(load, on_change=changes.release)
    live.load("first")
    for _ in ("status", "stage", "loaded"):
        assert changes.acquire(timeout=TIMEOUT_S)
    live.submit(request(1))
    assert changes.acquire(timeout=TIMEOUT_S)
    live.stop()


@pytest.mark.parametrize("window_needs_one", [False, True])
def test_a_window_that_the_processor_draws_has_a_core_while_somebody_drags(window_needs_one):
    threads: dict[bool, int] = {}

    class Counting(StepwiseAvatar):
        def render(self, request, cancelled):
            threads[request.exact_head] = torch.get_num_threads()
            return super().render(request, cancelled)

    loading = []

    def load_and_count(source, progress, notify):
        loading.append(torch.get_num_threads())
        return Counting()

    live = RenderThread(load_and_count)
    live.cores.window_needs_one = window_needs_one
    live.load("first")
    live.wait(lambda state: state.info is not None, TIMEOUT_S)
    for seed, dragging in ((1, False), (2, True), (3, False)):
        live.submit(request(seed), dragging=dragging)
        frame_of(live, seed, preview=dragging)
    live.submit(request(4), dragging=True)
    frame_of(live, 4, preview=True)
    live.load("second")
    live.wait(lambda state: state.source == "second", TIMEOUT_S)
    live.stop()
    cores = torch.get_num_threads()
    assert loading == [cores, cores]
    spared = min(cores - 1, 1) if window_needs_one else 0
    assert threads == {True: cores, False: cores - spared}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads share their priority")
def test_the_window_is_more_urgent_than_the_renderer_and_the_threads_it_starts():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    found = []

    def load_and_tell(source, progress, notify):
        found.append(niceness())
        helper = threading.Thread(target=lambda: found.append(niceness()))
        helper.start()
        helper.join()
        return StepwiseAvatar()

    live = RenderThread(load_and_tell)
    live.load("first")
    live.wait(lambda state: state.info is not None, TIMEOUT_S)
    live.stop()
    assert found == [min(niceness() + NICENESS, 19)] * 2
