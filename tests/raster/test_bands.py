"""Work that is spread over threads."""

import threading
import time

import pytest
import torch

from avatar_viewer.raster.bands import in_bands


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_everything_is_done_once(threads: int, count: int):
    done = [0] * count

    def work(first: int, end: int) -> None:
        for index in range(first, end):
            done[index] += 1

    for _ in range(3):
        in_bands(work, count)
    assert done == [3] * count


def test_bands_run_at_the_same_time_and_are_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    both = threading.Barrier(2, timeout=30)
    met, done = set(), []

    def work(first: int, end: int) -> None:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait()
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        done.extend(range(first, end))

    in_bands(work, 100)
    assert len(met) == 2 and sorted(done) == list(range(100))


def test_what_fails_is_raised(threads: int):
    def work(first: int, end: int) -> None:
        if end == 10:
            raise ValueError("the last band")

    with pytest.raises(ValueError, match="the last band"):
        in_bands(work, 10)
