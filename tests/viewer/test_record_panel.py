"""The Record tab and what is behind it, without a display."""

import time
from dataclasses import replace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from fake_avatar import INFO, SIZE_PX, FakeAvatar
from PIL import Image

from avatar_viewer.expression.sequence import ExpressionSequence, Header, save_sequence
from avatar_viewer.live.camera_path import CameraPath, Keyframe, read_path, write_path
from avatar_viewer.live.live_state import LiveState, TaskProgress
from avatar_viewer.viewer.actions import all_actions
from avatar_viewer.viewer.path_panel import PathPanel
from avatar_viewer.viewer.record_panel import LIVE_LABEL, RecordPanel
from avatar_viewer.viewer.recorder import LIVE, PLAY

TIMEOUT_S = 10
VIEW = INFO.default_view
PATH = CameraPath(
    (Keyframe(0, VIEW, (0, 0)), Keyframe(2, replace(VIEW, azimuth_deg=40), (1, 0.5))),
    "linear",
    fps=12,
)


@pytest.fixture
def recorder(app, state):
    recorder = app.recorder
    recorder.update(0)
    return recorder


def do(app, keys: str) -> None:
    """As the keyboard does."""
    next(action for action in all_actions() if action.keys == keys).run(app)


def messages(app) -> list[str]:
    return [line.text for line in app.messages.lines]


def call(widget, value=None) -> None:
    """As a person does at a widget."""
    if value is not None:
        dpg.set_value(widget, value)
    callback = dpg.get_item_callback(widget)
    arguments = (widget, value, dpg.get_item_user_data(widget))
    callback(*arguments[: callback.__code__.co_argcount])


def test_keyframes_are_the_views_and_pads_of_their_moment(app, state, recorder):
    do(app, "K")
    recorder.update(0)
    state.orbit(0.2, 0)
    state.move_pad(0, 1)
    recorder.add()
    first, second = recorder.path.keyframes
    assert (first.time_s, first.view, first.pad) == (0, VIEW, (0.5, 0.5))
    assert (second.time_s, second.view, second.pad) == (1, state.session.view, (0, 1))
    assert recorder.seconds == 1
    recorder.go(first)
    assert (state.session.view, state.session.pad) == (VIEW, (0.5, 0.5))
    recorder.retime(first, 3)
    assert [(k.time_s, k.pad) for k in recorder.path.keyframes] == [(1, (0, 1)), (3, (0.5, 0.5))]
    assert recorder.seconds == 3
    recorder.retime(recorder.path.keyframes[0], 3)
    assert "times that grow" in messages(app)[-1] and recorder.seconds == 3
    for keyframe in recorder.path.keyframes:
        recorder.remove(keyframe)
    assert recorder.path is None


def test_a_turntable_lasts_as_the_path_before_it(app, recorder):
    recorder.turn()
    assert recorder.seconds == recorder.path.duration_s == 8
    recorder.path = PATH
    recorder.turn()
    assert recorder.path.duration_s == 2 and recorder.path.loop


def test_a_path_is_kept_in_a_file(app, recorder, tmp_path):
    recorder.save_path()
    recorder.path = PATH
    recorder.save_path()
    assert messages(app) == [
        "path: expected keyframes, found none",
        "path file: expected a name, found none",
    ]
    recorder.path_file, recorder.fps = str(tmp_path / "path.yaml"), 30.0
    recorder.save_path()
    assert read_path(tmp_path / "path.yaml") == replace(PATH, fps=30)
    write_path(PATH, tmp_path / "path.yaml")
    recorder.path = None
    recorder.load_path()
    assert recorder.path == PATH and (recorder.fps, recorder.seconds) == (12, 2)
    recorder.path_file = str(tmp_path / "none.yaml")
    recorder.load_path()
    assert "none.yaml: expected a YAML file" in messages(app)[-1] and recorder.path == PATH


def test_a_path_is_played_to_its_end(app, state, recorder):
    recorder.path = PATH
    do(app, "P")
    for now_s, played_s in ((100, 0), (100.5, 0.5), (101.5, 1.5), (103, 2)):
        assert PLAY in app.opened
        recorder.update(now_s)
        assert (state.session.view, state.session.pad) == PATH.at(played_s)
    assert PLAY not in app.opened
    recorder.path = replace(PATH, loop=True)
    do(app, "P")
    for now_s in (200, 209):
        recorder.update(now_s)
    assert PLAY in app.opened and (state.session.view, state.session.pad) == recorder.path.at(9)


def test_a_hand_on_the_view_ends_the_play(app, state, recorder):
    recorder.path = PATH
    do(app, "P")
    recorder.update(100)
    state.orbit(0.1, 0)
    mine = state.session
    recorder.update(100.5)
    assert PLAY not in app.opened and state.session == mine
    recorder.update(101)
    assert state.session == mine


def test_without_a_path_there_is_nothing_to_play(app, recorder):
    do(app, "P")
    recorder.update(1)
    recorder.update(2)
    assert messages(app) == ["path: expected keyframes, found none"]


def test_a_movie_is_of_what_was_chosen(app, state, recorder, tmp_path):
    started = []
    app.renderer.start_task = lambda label, work: started.append((label, work))
    recorder.path, recorder.out = PATH, str(tmp_path / "a.mp4")
    recorder.seconds, recorder.fps, recorder.width, recorder.height = 0.5, 4.0, 32, 16
    (tmp_path / "a.mp4").touch()
    recorder.record()
    ((label, work),) = started
    avatar = FakeAvatar()
    pieces = work(avatar)
    assert label == "Movie" and [next(pieces), next(pieces)] == [(1, 2), (2, 2)]
    with pytest.raises(StopIteration) as ended:
        next(pieces)
    assert ended.value.value == f"Saved {tmp_path / 'a-1.mp4'} (2 pictures)"
    assert (tmp_path / "a-1.mp4").stat().st_size > 0
    recorder.out = str(tmp_path / "a.avi")
    recorder.record()
    assert "a.avi: expected a name that ends in" in messages(app)[-1] and len(started) == 1


def test_expressions_of_a_file(app, recorder, tmp_path):
    file = tmp_path / "a.npz"
    save_sequence(ExpressionSequence(Header(10), np.zeros((33, 3), np.float32)), file)
    recorder.sequence_file = f" {file} "
    recorder.load_sequence()
    recorder.update(0)
    sequence = recorder.sequence
    assert sequence is not None and (recorder.seconds, recorder.fps) == (3.3, 10)
    assert recorder.sequence_file == app.timeline.file == str(file)
    save_sequence(ExpressionSequence(Header(10), np.zeros((33, 4), np.float32)), file)
    recorder.load_sequence()
    assert "of 3 values for fake, found 4" in messages(app)[-1]
    assert recorder.sequence is sequence
    recorder.sequence_file = ""
    recorder.load_sequence()
    assert recorder.sequence is None
    assert len(messages(app)) == 1


def test_what_is_shown_is_recorded(app, state, recorder, tmp_path):
    recorder.out, recorder.fps = str(tmp_path / "shots"), 10.0
    do(app, "V")
    recorder.update(100)  # there is no picture yet
    assert recorder.live is None and LIVE in app.opened
    first = FakeAvatar().render(state.request())
    state.orbit(0.1, 0)
    second = FakeAvatar().render(state.request())
    for now_s, frame in ((101, first), (101.21, second), (101.25, second)):
        app.live = LiveState(frame=frame)
        recorder.update(now_s)
    do(app, "V")
    end_s = time.monotonic() + TIMEOUT_S
    while recorder.live is not None and time.monotonic() < end_s:
        recorder.update(101.51)
        time.sleep(0.01)
    assert messages(app) == [f"Saved {tmp_path / 'shots'} (5 pictures)"]
    shots = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "shots").iterdir())]
    expected = [first.rgb] * 2 + [second.rgb] * 3
    assert all((a == b).all() for a, b in zip(shots, expected, strict=True))


def test_a_closing_window_finishes_its_movie(app, state, recorder, tmp_path):
    recorder.close()
    recorder.out = str(tmp_path / "shots")
    app.live = LiveState(frame=FakeAvatar().render(state.request()))
    do(app, "V")
    recorder.update(time.perf_counter())
    recorder.close()
    assert len(list((tmp_path / "shots").iterdir())) >= 1 and recorder.live is None


def test_a_movie_of_the_window_that_cannot_be_written_is_said_once(app, state, recorder, tmp_path):
    recorder.out = str(tmp_path / "a.avi")
    app.live = LiveState(frame=FakeAvatar().render(state.request()))
    do(app, "V")
    recorder.update(1)
    recorder.update(2)
    assert len(messages(app)) == 1 and LIVE not in app.opened


def test_nothing_happens_without_an_avatar(app):
    recorder = app.recorder
    for act in (recorder.add, recorder.turn, recorder.record, recorder.load_sequence):
        act()
    for keys in ("K", "P", "V"):
        do(app, keys)
    recorder.update(1)
    assert recorder.path is None and messages(app) == []


def test_the_list_shows_the_keyframes(context, app, state, recorder):
    panel = PathPanel(app, 352)
    panel.update()
    assert dpg.is_item_shown(panel._hint) and not dpg.is_item_enabled(panel._loop)
    recorder.path = PATH
    panel.update()
    rows = dpg.get_item_children(panel._list, 1)
    assert len(rows) == 2 and not dpg.is_item_shown(panel._hint)
    assert [dpg.get_value(item) for item in panel._times] == [0, 2]
    assert set(panel._times) <= set(app.text_inputs)
    assert dpg.get_value(panel._interpolation) == "linear"
    call(panel._interpolation, "smooth")
    call(panel._loop, True)
    assert recorder.path == replace(PATH, interpolation="smooth", loop=True)
    panel.update()
    call(panel._times[0], 5.0)
    assert [keyframe.time_s for keyframe in recorder.path.keyframes] == [2, 5]
    panel.update()
    call(panel._times[0], 5.0)  # is refused
    panel.update()
    assert [dpg.get_value(item) for item in panel._times] == [2, 5]
    remove = dpg.get_item_children(dpg.get_item_children(panel._list, 1)[0], 1)[2]
    call(remove)
    panel.update()
    assert len(dpg.get_item_children(panel._list, 1)) == 1
    assert len(app.text_inputs) == 2  # the file's field and one time
    app.toggle(PLAY)
    panel.update()
    assert dpg.get_item_label(panel._play) == "Stop"


def test_fields_show_and_write_the_recorder(context, app, state, recorder):
    panel = RecordPanel(app, 352)
    panel.update()
    shown = {name: dpg.get_value(widget) for name, widget in panel._fields.items()}
    assert shown["width"] == shown["height"] == SIZE_PX
    for name, value in {"width": 64, "seconds": 1.5, "out": "a.gif", "transparent": True}.items():
        call(panel._fields[name], value)
        assert getattr(recorder, name) == value
    recorder.path = PATH
    recorder.change_path(loop=True)
    panel.update()
    assert dpg.get_value(panel._fields["seconds"]) == 4
    assert dpg.get_value(panel._fields["width"]) == 64
    again = RecordPanel(app, 352)  # as after a change of the theme
    again.update()
    assert dpg.get_value(again._fields["out"]) == "a.gif"


def test_the_running_task_is_shown_and_can_be_cancelled(context, app, state, recorder):
    panel = RecordPanel(app, 352)
    panel.update()
    assert not dpg.is_item_shown(panel._task)
    app.live = LiveState(task=TaskProgress("Movie", 25, 100, time.perf_counter() - 21))
    panel.update()
    assert dpg.is_item_shown(panel._task) and dpg.get_value(panel._bar) == 0.25
    assert dpg.get_item_configuration(panel._bar)["overlay"].startswith("25 of 100, 1:0")
    cancelled = []
    app.renderer.cancel_task = lambda: cancelled.append(True)
    call(dpg.get_item_children(panel._task, 1)[-1])
    assert cancelled == [True]
    app.live = LiveState()
    panel.update()
    assert not dpg.is_item_shown(panel._task)
    assert dpg.get_item_label(panel._live) == LIVE_LABEL
