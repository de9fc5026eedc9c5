"""How an avatar keeps up with somebody who drags, on the render thread that the window uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.bench.frames import Way, percentile
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.live.renderable import Renderable

LEARN_PICTURES = 20
DRAG_PICTURES = 80
INPUT_INTERVAL_S = 0.016
"""How often a mouse that moves asks for a picture: once a GUI frame."""
UNCHANGED_SUBMITS = 200
TIMEOUT_S = 120.0


def drag_figures(avatar: Renderable, way: Way) -> dict[str, float]:
    """Pictures while pad and view move together, after some from which the thread has learned how
    good pictures it has time for; and what it costs to ask for the same again."""
    thread = RenderThread(lambda source, progress, notify: avatar)
    try:
        thread.load(avatar.info.name)
        _settled(thread, lambda state: state.info is not None)
        _drag(thread, way, LEARN_PICTURES)
        return {**_of_drag(_drag(thread, way, DRAG_PICTURES)), **_unchanged(thread, way)}
    finally:
        thread.stop()


def _drag(thread: RenderThread, way: Way, pictures: int) -> list[LiveState]:
    """The states with each new quick picture, while there is a request in every GUI frame."""
    states: list[LiveState] = []
    began, seen = time.perf_counter(), thread.poll().frames
    while len(states) < pictures:
        thread.submit(way.full(1)[0], dragging=True)
        time.sleep(INPUT_INTERVAL_S)
        state = thread.poll()
        _raise_failure(state)
        if state.frames > seen:
            seen = state.frames
            states.append(state)
        if time.perf_counter() - began > TIMEOUT_S:
            raise AvatarError(
                f"bench: expected {pictures} pictures within {TIMEOUT_S:g} s of dragging, "
                f"found {len(states)}"
            )
    return states


def _of_drag(states: Sequence[LiveState]) -> dict[str, float]:
    intervals_ms = [
        (after.finished_s - before.finished_s) * 1e3 / (after.frames - before.frames)
        for before, after in pairwise(states)
    ]
    first, last = states[0], states[-1]
    requests = [state.frame.request for state in states if state.frame is not None]
    latencies = [state.latency_ms for state in states]
    return {
        "drag_fps": (last.frames - first.frames) / (last.finished_s - first.finished_s),
        "latency_p50_ms": percentile(latencies, 50),
        "latency_p95_ms": percentile(latencies, 95),
        "evenness": percentile(intervals_ms, 95) / percentile(intervals_ms, 50),
        "mean_steps": sum(request.steps for request in requests) / len(requests),
        "reduced_percent": 100 * sum(r.reduction > 1 for r in requests) / len(requests),
    }


def _unchanged(thread: RenderThread, way: Way) -> dict[str, float]:
    """What it costs to ask again for the picture that is shown."""
    (request,) = way.full(1)
    thread.submit(request)
    shown = _settled(thread, lambda state: state.frame is not None and not state.frame.preview)
    began = time.perf_counter()
    for _ in range(UNCHANGED_SUBMITS):
        thread.submit(request)
    submit_us = (time.perf_counter() - began) / UNCHANGED_SUBMITS * 1e6
    again = thread.wait(lambda state: state.frames > shown.frames, 0.3)
    return {
        "unchanged_renders": again.frames - shown.frames,
        "unchanged_submit_us": submit_us,
    }


def _settled(thread: RenderThread, until: Callable[[LiveState], bool]) -> LiveState:
    state = thread.wait(lambda state: until(state) or state.failure is not None, TIMEOUT_S)
    _raise_failure(state)
    if not until(state):
        raise AvatarError(f"bench: expected a result within {TIMEOUT_S:g} s, found none")
    return state


def _raise_failure(state: LiveState) -> None:
    if state.failure is not None:
        raise AvatarError(state.failure.message)
