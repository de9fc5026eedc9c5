"""Resident memory, as the system counts it."""

import os
from pathlib import Path

import numpy as np
import pytest

from avatar_viewer.memory import resident_mb


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_resident_memory_grows_with_an_array():
    now, peak = resident_mb(os.getpid())
    assert now is not None and peak is not None and 0 < now <= peak
    array = np.ones(100_000_000, np.uint8)
    assert resident_mb(os.getpid())[0] - now > 80  # type: ignore[operator]
    assert array[0] == 1
    assert resident_mb(2**30) == (None, None)
