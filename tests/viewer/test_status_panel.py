from dataclasses import replace

import dearpygui.dearpygui as dpg
import pytest
from fake_avatar import FakeAvatar

from avatar_viewer.live.live_state import LiveState
from avatar_viewer.viewer.stage_plot import MAX_STAGES, MOST_PICTURES, StageTimes
from avatar_viewer.viewer.status_panel import FrameRate, StatusLine, StatusPanel


@pytest.fixture
def panel(context, app):
    return StatusPanel(app, 300)


@pytest.fixture
def line(context, app):
    return StatusLine(app, 300)


def frame(state, **fields):
    return replace(FakeAvatar().render(state.request()), **fields)


def test_it_tells_what_ran_the_networks_and_what_memory_that_takes(panel, app, state):
    app.live = LiveState(frames=1, frame=frame(state, runtime="openvino"))
    panel.update()
    assert dpg.get_value(panel._takes).startswith("openvino on the CPU    ")
    assert dpg.get_value(panel._takes).endswith(" GB memory")


def test_what_is_loading_stands_in_the_place_of_the_speed(line, app, state):
    app.live = LiveState(status="Loading demo: unet")
    line.update()
    assert dpg.get_value(line._loading) == "Loading demo: unet"
    assert [dpg.is_item_shown(i) for i in (line._loading, line._speed)] == [True, False]
    app.live = LiveState(frames=1, frame=frame(state), latency_ms=41.6)
    line.update()
    assert [dpg.is_item_shown(i) for i in (line._loading, line._speed)] == [False, True]
    assert dpg.get_value(line._speed).split("    ") == ["at rest", "42 ms from input", "full"]


def test_stages_and_their_sum_are_listed_and_plotted_once_per_picture(panel, app, state):
    app.live = LiveState(frames=1, frame=frame(state, stage_ms={"a": 1.5, "b": 2}))
    panel.update()
    app.live = LiveState(frames=2, frame=frame(state, stage_ms={"b": 4}))
    for _ in range(3):
        panel.update()
    assert panel._plot.legend == {"b": "4.0 ms", "total": "4.0 ms"}
    assert panel._plot._times.stacked() == [[0, 0], [1.5, 0], [3.5, 4]]


def test_only_the_last_pictures_and_so_many_stages_are_kept():
    times = StageTimes()
    for i in range(MOST_PICTURES + 5):
        times.add({f"stage {j}": 1.0 for j in range(MAX_STAGES + 3)} | {"late": float(i)})
    assert len(times.names) == MAX_STAGES and times.names[-1] == "others"
    stacked = times.stacked()
    assert [len(row) for row in stacked] == [MOST_PICTURES] * (MAX_STAGES + 1)
    assert stacked[-1][-1] == times.newest["total"] == MAX_STAGES + 3 + MOST_PICTURES + 4


def test_the_rate_counts_only_new_pictures_of_the_last_two_seconds():
    rate = FrameRate()
    for i in range(11):
        rate.count(10 + i / 10)
    assert rate.fps(11) == pytest.approx(10)
    assert rate.fps(12.95) is None
