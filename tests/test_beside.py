"""Work on a second thread."""

from __future__ import annotations

import threading

import pytest
import torch

from avatar_viewer.beside import beside


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_both_run_at_the_same_time_on_half_of_the_threads_each(threads: int):
    met = threading.Barrier(2, timeout=10)

    def work() -> tuple[int, int, bool]:
        met.wait()
        return threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()

    for inference in (False, True):
        with torch.inference_mode(inference), beside(work) as answer:
            met.wait()
            here = torch.get_num_threads()
            thread, there, inferred = answer()
        assert thread != threading.get_ident() and inferred == inference
        assert 1 <= there <= here and here + there == max(2, threads)
        assert torch.get_num_threads() == threads


def test_what_the_work_raises_is_raised_where_its_answer_is_asked_for(threads: int):
    def work() -> None:
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"), beside(work) as answer:
        answer()
    with beside(work):
        pass  # nobody asked
    assert torch.get_num_threads() == threads


def test_nothing_runs_any_more_after_the_block_failed(threads: int):
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.append(True)

    with pytest.raises(ValueError, match="block"), beside(work):
        begun.wait(10)
        threading.Timer(0.05, may_end.set).start()
        raise ValueError("block")
    assert ended and torch.get_num_threads() == threads
