"""The render thread's second picture, its tasks, and thumbnails that are made anew."""

import time
from dataclasses import replace

import pytest
from stepwise_avatar import StepwiseAvatar, request

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.render_thread import RenderThread

WAIT_S = 10


@pytest.fixture
def avatars():
    """By source, as far as they have been loaded."""
    return {}


@pytest.fixture
def thread(avatars):
    def load(source, progress, notify):
        if source == "broken":
            raise AvatarError("broken: expected an avatar, found none")
        avatars[source] = StepwiseAvatar()
        return avatars[source]

    thread = RenderThread(load)
    thread.load("first")
    assert thread.wait(lambda state: state.source == "first", WAIT_S).source == "first"
    yield thread
    thread.stop()


def wait(thread, until):
    state = thread.wait(until, WAIT_S)
    assert until(state)
    return state


def shown(frame):
    return None if frame is None else frame.request


def test_both_pictures_come_and_the_second_goes_when_it_is_not_compared(thread, avatars):
    thread.submit(request(1), other=request(2))
    state = wait(thread, lambda s: s.other is not None and s.frame is not None)
    assert (shown(state.frame), shown(state.other)) == (request(1), request(2))
    thread.submit(request(1), other=request(2))
    thread.submit(request(1), other=request(3))
    wait(thread, lambda s: shown(s.other) == request(3))
    assert avatars["first"].rendered.count(request(1)) == 1
    thread.submit(request(1))
    assert thread.poll().other is None


def test_during_a_drag_both_pictures_take_turns(thread, avatars):
    seed, end_s = 10, time.monotonic() + WAIT_S
    seen = set()
    while len(seen) < 4 and time.monotonic() < end_s:
        seed += 1
        thread.submit(request(seed), dragging=True, other=request(10_000 + seed))
        if thread.poll().other is not None:
            seen.add(thread.poll().other.request.seed)
        time.sleep(0.002)
    assert len(seen) >= 4
    assert all(not r.exact_head for r in avatars["first"].rendered)


def test_another_avatar_draws_the_second_picture(thread, avatars):
    thread.compare_with("second")
    wait(thread, lambda s: s.other_source == "second" and s.status == "")
    thread.submit(request(1), other=request(2))
    wait(thread, lambda s: s.other is not None)
    assert avatars["second"].rendered == [request(2)]
    thread.compare_with(None)
    assert thread.poll().other_source is None
    thread.submit(request(1), other=request(3))
    wait(thread, lambda s: shown(s.other) == request(3))
    assert request(3) in avatars["first"].rendered


def test_a_broken_second_avatar_is_said_and_the_first_lives(thread):
    thread.compare_with("broken")
    state = wait(thread, lambda s: s.failures == 1)
    assert "broken: expected" in state.failure.message and state.status == ""
    thread.submit(request(1))
    wait(thread, lambda s: shown(s.frame) == request(1))


def counting(total, closed, failing_at=None):
    def work(avatar):
        try:
            for done in range(1, total + 1):
                if done == failing_at:
                    raise AvatarError("disk: expected room, found none")
                avatar.render(request(done), lambda: False)
                yield done, total
            return f"{total} done"
        finally:
            closed.append(True)

    return work


def test_a_task_is_done_in_pieces_and_says_so_at_its_end(thread, avatars):
    closed = []
    thread.start_task("count", counting(5, closed))
    state = wait(thread, lambda s: s.notices == 1)
    assert (state.notice, state.task, closed) == ("5 done", None, [True])
    assert [r.seed for r in avatars["first"].rendered] == [1, 2, 3, 4, 5]


def test_live_pictures_go_before_a_task(thread, avatars):
    closed, avatar = [], avatars["first"]
    avatar.stepping = True
    thread.start_task("count", counting(3, closed))
    assert avatar.inside.wait(WAIT_S)
    thread.submit(request(100))
    avatar.stepping = False
    avatar.allow_steps(1)
    wait(thread, lambda s: s.notices == 1)
    seeds = [r.seed for r in avatar.rendered]
    assert seeds.index(100) == 1 and len(seeds) == 4


def test_one_task_at_a_time_and_it_can_be_cancelled(thread, avatars):
    closed, avatar = [], avatars["first"]
    avatar.stepping = True
    thread.start_task("count", counting(1000, closed))
    assert avatar.inside.wait(WAIT_S)
    with pytest.raises(AvatarError, match="count: expected no other task"):
        thread.start_task("count", counting(1, []))
    thread.cancel_task()
    avatar.stepping = False
    avatar.allow_steps(1)
    state = wait(thread, lambda s: s.task is None)
    assert "cancelled" in state.failure.message and closed == [True]


def test_a_failing_task_is_said_and_the_thread_lives(thread):
    closed = []
    thread.start_task("count", counting(5, closed, failing_at=2))
    state = wait(thread, lambda s: s.failures == 1)
    assert state.failure.message == "disk: expected room, found none"
    assert state.task is None and closed == [True]
    thread.submit(request(1))
    wait(thread, lambda s: shown(s.frame) == request(1))


def test_stopping_closes_a_task(avatars):
    closed = []
    thread = RenderThread(lambda *_: StepwiseAvatar())
    thread.load("first")
    thread.start_task("count", counting(10**6, closed))
    wait(thread, lambda s: s.task is not None and s.task.done > 2)
    thread.stop()
    assert closed == [True]


def test_thumbnails_are_replaced_one_by_one(thread, avatars):
    thread.submit_thumbnails([request(1), request(2)])
    old = wait(thread, lambda s: len(s.thumbnails) == 2).thumbnails
    avatar = avatars["first"]
    avatar.inside.clear()
    avatar.stepping = True
    thread.submit_thumbnails([replace(r, steps=1) for r in (request(3), request(4))])
    assert avatar.inside.wait(WAIT_S)
    assert thread.poll().thumbnails == old
    avatar.allow_steps(1)
    assert wait(thread, lambda s: s.thumbnails != old).thumbnails[1] == old[1]
    avatar.stepping = False
    avatar.allow_steps(1)
    wait(thread, lambda s: [f.request.seed for f in s.thumbnails] == [3, 4])
