"""Work on the rows of a picture, spread over threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

BANDS_PER_THREAD = 4
"""More than one, for bands differ in work: who is done with one takes the next."""


def in_bands(work: Callable[[int, int], object], count: int) -> None:
    """Call `work(first, end)` for bands that make up range(count), on torch's number of threads,
    of which this is one.

    The bands run at the same time, so that each may write to its own part of a result only.
    """
    threads = torch.get_num_threads()
    bands_in_all = threads * BANDS_PER_THREAD
    edges = [count * band // bands_in_all for band in range(bands_in_all + 1)]
    bands = iter(list(pairwise(edges)))

    def take_bands() -> None:
        for first, end in bands:
            work(first, end)

    helpers = [_helpers(threads - 1).submit(take_bands) for _ in range(threads - 1)]
    take_bands()
    for helper in helpers:
        # One that has not begun has nothing left to do.
        if not helper.cancel():
            helper.result()


def _helpers(threads: int) -> ThreadPoolExecutor:
    """This thread's own, for others may call `in_bands` at the same time."""
    pools: dict[int, ThreadPoolExecutor] = _here.__dict__.setdefault("pools", {})
    if threads not in pools:
        pools[threads] = ThreadPoolExecutor(threads, "bands")
    return pools[threads]


_here = threading.local()
