"""A short soak; `make soak` is the long one."""

import pytest
from soak import soak

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_half_a_minute_of_random_use(display, tmp_path):
    report = soak(minutes=0.5, seed=1, folder=tmp_path)
    assert report.inputs > 20 and report.turns > 20
