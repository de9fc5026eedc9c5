"""Ten thousand requests from another thread while avatars are swapped."""

import os
import random
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from stepwise_avatar import INFO, request

from avatar_viewer.errors import AvatarError, RenderCancelled
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.memory import resident_mb
from avatar_viewer.stages import LAYERS, Frame

pytestmark = pytest.mark.slow

REQUESTS = 10_000
SWAPS = 100
WEIGHTS_MB = 8
TIMEOUT_S = 30


class NumberedAvatar:
    """Its pictures are filled with its number; it takes as much memory as a small real one."""

    def __init__(self, number: int) -> None:
        self.info = replace(INFO, name=str(number))
        self.expressions = ExpressionSpace()
        self.number = number
        self.weights = np.ones(WEIGHTS_MB * 2**20, np.uint8)

    def render(self, request, cancelled):
        for _ in range(request.steps):
            if cancelled():
                raise RenderCancelled
        if request.seed % 50 == 1:
            raise AvatarError("seed: expected another, found 1 in 50")
        rgb = np.full((8, 8, 3), self.number, np.uint8)
        return Frame(request, rgb, {"denoise": 20.0 * request.steps, "decode": 40.0})


class Soak:
    """A render thread, of which every state is checked as it is published."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.asked: dict[int, str] = {}
        """For which avatar a request was made, by its seed."""
        self.live = RenderThread(lambda source, *_: NumberedAvatar(int(source)), self.check)

    def check(self) -> None:
        state = self.live.poll()
        for frame in (state.frame, *state.thumbnails):
            if frame is not None and str(frame.rgb[0, 0, 0]) != state.source:
                self.problems.append(f"{frame.rgb[0, 0, 0]} drew while {state.source} was shown")
        if state.frame is not None and self.asked[state.frame.request.seed] != state.source:
            self.problems.append(f"{state.source} drew what another avatar was asked for")

    def swap(self, number: int) -> None:
        self.live.load(str(number))
        state = self.live.wait(lambda state: state.source == str(number), TIMEOUT_S)
        assert state.source == str(number)

    def send(self) -> None:
        """Random requests for whatever avatar there is."""
        chance = random.Random(0)
        for seed in range(REQUESTS):
            info = self.live.poll().info
            assert info is not None
            self.asked[seed] = info.name
            if chance.random() < 0.2:
                time.sleep(0.0005)  # the avatar may be swapped meanwhile
            self.live.submit(
                replace(request(seed), steps=chance.randint(1, 8), show=chance.choice(LAYERS[:3])),
                dragging=chance.random() < 0.7,
                made_for=info,
                quick=QuickChoice(chance.choice((None, 1, 4)), chance.choice((None, 1, 2))),
            )
            if chance.random() < 0.01:
                self.live.submit_thumbnails([request(seed)])


def test_nothing_stale_is_shown_and_nothing_leaks():
    soak = Soak()
    soak.swap(0)
    sender = threading.Thread(target=soak.send)
    sender.start()
    early_mb = None
    for number in range(1, SWAPS + 1):
        while len(soak.asked) < number * REQUESTS // SWAPS and sender.is_alive():
            time.sleep(0.001)
        soak.swap(number)
        if number == SWAPS // 5:
            early_mb, _ = resident_mb(os.getpid())
    sender.join()
    soak.asked[REQUESTS] = str(SWAPS)
    soak.live.submit(request(REQUESTS))
    state = soak.live.wait(lambda s: s.frame and s.frame.request.seed == REQUESTS, TIMEOUT_S)
    assert state.frame and state.frame.request == request(REQUESTS)
    late_mb, _ = resident_mb(os.getpid())
    soak.live.stop()
    assert soak.problems == []
    assert len(soak.asked) == REQUESTS + 1
    assert state.frames > SWAPS and state.failures > 0
    if early_mb is not None and late_mb is not None:
        assert late_mb - early_mb < 5 * WEIGHTS_MB
