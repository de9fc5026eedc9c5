"""What makes the embedded avatar quick, as ratios of times on one machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.live.bench.against import plain_frame_of
from avatar_viewer.live.bench.frames import Way, timed


@pytest.mark.slow
def test_each_means_saves_time():
    avatar = Avatar.load(DEMO_FOLDER)
    way = Way(avatar.info)

    def least_ms(requests, render=avatar.render) -> float:
        """The least disturbed by whatever else the machine does."""
        return min(frame.total_ms for frame in timed(render, requests))

    least_ms(way.quick(2))  # compiles and fills caches
    full_ms = least_ms(way.full(2))
    quick_ms = least_ms(way.quick(5))
    (view,) = way.quick(1)
    avatar.render(view)
    kept_view_ms = least_ms([replace(view, seed=seed) for seed in range(1, 6)])
    plain_ms = least_ms(way.quick(1), plain_frame_of(avatar))
    assert quick_ms < full_ms
    assert kept_view_ms < quick_ms
    assert plain_ms > 5 * quick_ms
