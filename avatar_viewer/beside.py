"""Work on a second thread, for chains of small operations that more threads hardly help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Have `work` done while the block runs, both on half of torch's threads. What the block gets
    waits for the answer, and raises what `work` raised; afterwards nothing runs any more."""
    threads = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()

    def run() -> T:
        torch.get_num_threads()  # a thread's first call sets the number to another thread's
        torch.set_num_threads(max(1, threads // 2))
        with torch.inference_mode(inference):
            return work()

    future = _second_thread().submit(run)
    torch.set_num_threads(threads_beside(threads))
    try:
        yield future.result
    finally:
        wait([future])
        torch.set_num_threads(threads)


def threads_beside(threads: int) -> int:
    """How many of so many threads stay with the block."""
    return max(1, threads - threads // 2)


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "beside")
