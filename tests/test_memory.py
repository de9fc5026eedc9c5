"""Resident memory, as the system counts it."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from avatar_viewer.memory import resident_mb


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_resident_memory_grows_with_an_array():
    now, peak = resident_mb(os.getpid())
    assert now is not None and peak is not None and 0 < now <= peak
    # Pages of its own: an array may be given some that the process had before.
    with mmap.mmap(-1, 100_000_000) as pages:
        np.frombuffer(pages, np.uint8)[:] = 1
        assert resident_mb(os.getpid())[0] - now > 80  # type: ignore[operator]
    assert resident_mb(2**30) == (None, None)
