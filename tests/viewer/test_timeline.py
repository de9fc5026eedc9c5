"""The timeline of an expression sequence, without widgets."""

from dataclasses import replace

import numpy as np
import pytest
from fake_avatar import CORNER_COLOURS, INFO
from test_app import Renderer, loaded

from avatar_viewer.avatar_info import Corner
from avatar_viewer.expression.library import SavedExpression
from avatar_viewer.expression.sequence import ExpressionSequence, Header, save_sequence
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.camera_path import CameraPath, Keyframe
from avatar_viewer.live.export import Export
from avatar_viewer.live.session import Session, read_session
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.viewer.actions import action_of, all_actions
from avatar_viewer.viewer.app import REST_S, ViewerApp
from avatar_viewer.viewer.driver import Driven
from avatar_viewer.viewer.timeline import NONE_OPEN, SPEEDS

FPS, COUNT = 10, 20
RAMP = np.linspace(0, 0.95, COUNT, dtype=np.float32)
CODES = np.stack([RAMP, 1 - RAMP, np.full(COUNT, 0.5)], axis=1).astype(np.float32)
POSES = np.stack([10 * RAMP, 5 * RAMP, 0 * RAMP], axis=1).astype(np.float32)
SEQUENCE = ExpressionSequence(Header(FPS), CODES, head_pose_deg=POSES)


@pytest.fixture
def app(tmp_path):
    app = ViewerApp(Renderer(), tmp_path / "config")
    loaded(app)
    return app


@pytest.fixture
def timeline(app, tmp_path):
    """With a sequence that is open at its first frame."""
    save_sequence(SEQUENCE, tmp_path / "talk.npz")
    app.open(tmp_path / "talk.npz")
    app.ask(0, False)
    return app.timeline


def do(app, keys: str) -> None:
    """As the keyboard does."""
    action_of(keys).run(app)


def texts(app) -> list[str]:
    return [line.text for line in app.messages.lines]


def code(time_s: float) -> ExpressionCode:
    return SEQUENCE.at(time_s)


def test_an_opened_sequence_shows_its_first_frame(app, timeline):
    assert timeline.is_followed and not timeline.is_playing
    assert app.state.session.driven == code(0) and app.state.session.pad == (0.5, 0.5)
    assert app.renderer.submitted[-1][0].expression == code(0)


def test_frames_are_those_of_the_movie_without_a_window(app, timeline, tmp_path):
    movie = Export(Session.of("demo", INFO), tmp_path / "a.mp4", (128, 128), FPS, 2.0)
    for turns in (False, True):
        timeline.turns_head = turns
        filmed = replace(movie, sequence=SEQUENCE, head_pose=turns)
        for frame in range(COUNT):
            timeline.go(frame)
            app.ask(frame, False)
            assert app.state.request() == filmed.request(frame, app.state.space)
    assert app.state.request().camera != movie.request(0, app.state.space).camera


def test_play_follows_the_clock_and_asks_once_a_round(app, timeline):
    timeline.play_or_pause(100)
    before = len(app.renderer.submitted)
    for now_s in (100.0, 100.04, 100.5, 101.23):  # however long a round has taken
        app.ask(now_s, False)
        assert app.state.session.driven == code(now_s - 100)
    assert len(app.renderer.submitted) - before <= 4 and timeline.is_moving
    app.ask(102.5, False)  # of 2 s, again and again
    assert timeline.time_s == pytest.approx(0.5) and timeline.is_playing
    timeline.play_or_pause(0)
    app.ask(200, False)
    assert (timeline.frame, timeline.time_s, timeline.is_moving) == (5, 0.5, False)
    assert app.state.session.driven == code(0.5)


def test_at_rest_the_full_picture_of_the_frame_is_asked_for(app, timeline):
    timeline.play_or_pause(100)
    app.ask(100.3, False)
    assert app.renderer.submitted[-1][1]
    timeline.play_or_pause(100.3)
    app.ask(100.4, False)
    app.ask(100.4 + REST_S, False)
    assert app.renderer.submitted[-1] == (app.state.request(), False)


def test_without_a_loop_it_ends_at_the_last_frame_and_begins_anew(app, timeline):
    do(app, "Shift+L")
    timeline.play_or_pause(10)
    app.ask(13, False)
    assert not timeline.is_playing and timeline.frame == COUNT - 1
    assert app.state.session.driven == code(1.9)
    timeline.play_or_pause(20)
    app.ask(20.1, False)
    assert timeline.is_playing and timeline.time_s == pytest.approx(0.1)


def test_speed_changes_while_it_plays(app, timeline):
    timeline.play_or_pause(0)
    app.ask(0.2, False)
    do(app, "Shift+Comma")
    assert timeline.speed == 0.5
    app.ask(0.6, False)
    assert timeline.time_s == pytest.approx(0.4)
    for _ in SPEEDS:
        do(app, "Shift+Period")
    assert timeline.speed == max(SPEEDS)


def test_steps_stay_within_the_sequence(app, timeline):
    for keys, frame in (("Comma", 0), ("Period", 1), ("End", 19), ("Period", 19), ("Home", 0)):
        do(app, keys)
        app.ask(0, False)
        assert timeline.frame == frame and app.state.session.driven == code(frame / FPS)


@pytest.mark.parametrize(
    "take",
    [
        lambda app: app.state.move_pad(0.1, 0.2),
        lambda app: action_of("Left").run(app),
        lambda app: app.open_session(Session.of("demo", INFO)),
    ],
)
def test_a_hand_on_the_pad_takes_over(app, timeline, take):
    timeline.play_or_pause(0)
    app.ask(0.5, False)
    take(app)
    chosen = app.state.session
    for now_s in (0.6, 0.7):
        app.ask(now_s, False)
    assert app.state.session == chosen and chosen.driven is None
    assert not timeline.is_playing and not timeline.is_followed and timeline.sequence is not None
    timeline.step(1)
    app.ask(1, False)
    assert app.state.session.driven == code(timeline.time_s)


def test_view_and_sliders_leave_it_playing(app, timeline):
    timeline.play_or_pause(0)
    app.ask(0.5, False)
    app.state.orbit(0.1, 0)
    app.change(directions=(1.0,), gaze=(0.5, 0.0))
    app.ask(0.6, False)
    assert timeline.is_playing and app.state.session.driven == code(0.6)


def test_a_path_of_the_view_is_played_along(app, timeline):
    view = INFO.default_view
    turned = replace(view, azimuth_deg=30)
    app.recorder.path = CameraPath((Keyframe(0, view, (0, 0)), Keyframe(2, turned, (1, 1))))
    app.toggle("play")
    timeline.play_or_pause(0)
    for now_s in (0.0, 0.5, 1.0):
        app.recorder.update(now_s)
        app.ask(now_s, False)
    assert timeline.is_playing and app.state.session.driven == code(1.0)
    assert app.state.session.view == app.recorder.path.at(1.0)[0]


def test_a_drawn_path_and_a_sequence_follow_each_other(app, timeline):
    app.stroke.press(True)
    for now_s, x in ((0, 0.1), (1, 0.9)):
        app.stroke.add((x, 0.5), now_s)
    timeline.play_or_pause(5)
    app.ask(5, False)
    app.stroke.play(5)
    app.state.move_pad(*app.stroke.place(5.5))
    app.ask(5.5, False)
    assert not timeline.is_playing
    timeline.play_or_pause(6)
    assert timeline.is_followed and not app.stroke.is_playing


def test_undo_goes_by_choices_and_not_by_frames(app, timeline):
    begun = app.state.session.view
    timeline.play_or_pause(0)
    for i in range(8):
        app.ask(i * 0.3, True)  # as if a drag ended every time
    app.state.orbit(0.1, 0)
    app.ask(3, True)
    app.undo()
    app.ask(3.1, False)
    assert app.state.session.view == begun and timeline.is_playing
    assert app.state.session.driven == code(timeline.time_s)
    app.undo()
    assert app.state.session.view == begun and app.state.session.driven is not None
    app.redo()
    assert app.state.session.view != begun
    app.state.move_pad(0, 0)
    app.ask(4, True)
    app.undo()
    assert app.state.session.pad == (0.5, 0.5) and app.state.session.driven is None


def test_a_frame_becomes_a_corner_and_a_library_entry(app, timeline):
    timeline.go(7)
    app.change(directions=(0.5,))
    app.state.space = ExpressionSpace(directions=((1.0, 0.0, 0.0),))
    do(app, "Ctrl+3")
    do(app, "B")
    app.ask(1, False)
    corners = app.state.session.corners
    assert corners[2] == Corner("talk 8", code(0.7))
    assert [c.name for c in corners] == ["neutral", "smile", "talk 8", "frown"]
    (saved,) = app.library.library.expressions
    moved = (code(0.7).values[0] + 0.5, *code(0.7).values[1:])
    assert saved == SavedExpression("talk 8", ExpressionCode(moved), "fake")
    assert timeline.is_followed and app.state.session.pad == (0.5, 0.5)
    do(app, "B")
    assert "expected one that is not there yet, found talk 8" in texts(app)[-1]
    app.undo()
    app.ask(2, False)
    assert app.state.session.driven == code(0.7)


def test_a_session_keeps_the_expression_that_was_shown(app, timeline, tmp_path):
    timeline.go(3)
    app.ask(0, False)
    app.save_session(tmp_path / "a.yaml")
    shown, request = app.state.session, app.state.request()
    assert read_session(tmp_path / "a.yaml") == shown
    timeline.close()
    assert app.state.session == replace(shown, driven=None)
    app.open(tmp_path / "a.yaml")
    app.ask(1, False)
    assert app.state.session == shown and app.state.request() == request
    assert timeline.sequence is None and app.driver is None
    app.state.move_pad(0, 0)
    assert app.state.session.expression(app.state.space).values == CORNER_COLOURS["neutral"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected an expression sequence"),
        (b"PK\3\4" + bytes(100), "expected an expression sequence"),
        (None, "expected an expression sequence, found: No such file"),
        (np.zeros((5, 4), np.float32), "expected expressions of 3 values for fake, found 4"),
        (np.full((5, 3), np.nan, np.float32), "expected"),
    ],
)
def test_a_bad_file_is_one_message_and_changes_nothing(app, timeline, tmp_path, content, expected):
    timeline.go(4)
    app.ask(0, False)
    before, count = app.state.session, app.messages.count
    path = tmp_path / "bad.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        header = np.frombuffer(b"format_version: 1\nfps: 10\n", np.uint8)
        np.savez(path, codes=content, header=header)
    app.open(path)
    app.ask(1, False)
    assert app.messages.count == count + 1
    assert texts(app)[-1].startswith(str(path)) and expected in texts(app)[-1]
    assert app.state.session == before and timeline.frame == 4 and timeline.is_followed


def test_a_huge_file_is_refused_before_it_is_read(app, timeline, tmp_path, monkeypatch):
    monkeypatch.setattr("avatar_viewer.expression.sequence.MOST_BYTES", 1000)
    np.savez_compressed(tmp_path / "zeros.npz", codes=np.zeros((500, 3), np.float32))
    app.open(tmp_path / "zeros.npz")
    assert "zeros.npz: expected at most 0 MiB" in texts(app)[-1]
    assert timeline.count == COUNT


def test_another_avatar_goes_on_with_it_where_its_expressions_are_alike(app, timeline):
    timeline.play_or_pause(0)
    app.ask(0.5, False)
    state = loaded(app, "other")
    app.ask(0.6, False)
    assert timeline.is_playing and state.session.driven == code(0.6)
    longer = [Corner(c.name, ExpressionCode((*c.expression.values, 0.0))) for c in INFO.corners]
    state = loaded(app, "third", replace(INFO, corners=tuple(longer)))
    app.ask(0.7, False)
    assert state.session.driven is None and timeline.sequence is None and app.driver is None
    assert any(text.endswith("found 3; closed") for text in texts(app))


def test_without_an_avatar_or_a_sequence_there_is_one_message(tmp_path):
    app = ViewerApp(Renderer(), tmp_path / "config")
    app.open(tmp_path / "talk.npz")
    assert "talk.npz: expected an avatar" in texts(app)[-1]
    loaded(app)
    for keys in ("Spacebar", "Comma", "Home", "Ctrl+1", "B"):
        count = app.messages.count
        do(app, keys)
        assert app.messages.count == count + 1 and texts(app)[-1] == NONE_OPEN
    (close,) = (a for a in all_actions() if a.does == "close the sequence")
    close.run(app)
    assert app.ask(0, False) and app.state.session == Session.of("demo", INFO)


class Fixed:
    """A driver that shows one thing."""

    is_moving = False

    def __init__(self) -> None:
        self.stops = 0

    def advance(self, now_s: float) -> Driven | None:
        return Driven(ExpressionCode((0.0, 0.0, 1.0)), (5.0, 0.0, 0.0))

    def stop(self) -> None:
        self.stops += 1


def test_one_driver_follows_another(app, timeline):
    timeline.play_or_pause(0)
    app.ask(0.1, False)
    other = Fixed()
    app.drive_by(other)
    app.ask(0.2, False)
    assert not timeline.is_playing and app.state.session.driven.values == (0.0, 0.0, 1.0)
    assert app.state.session.head_pose_deg == (5.0, 0.0, 0.0)
    timeline.go(2)
    app.ask(0.3, False)
    assert other.stops == 1 and app.state.session.driven == code(0.2)
    assert app.state.session.head_pose_deg is None
    app.drive_by(other)
    loaded(app, "other")  # a driver knows one avatar
    assert other.stops == 2 and app.driver is None
