"""The webcam and its window, without a display, a camera or a tracker."""

import time
from types import SimpleNamespace

import dearpygui.dearpygui as dpg
import numpy as np
import pytest

from avatar_viewer.data.camera_source import Device, Picture, VideoEnded
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import TrackedFace
from avatar_viewer.expression.sequence import load_sequence
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.stages import ExpressionCode
from avatar_viewer.viewer.actions import action_of
from avatar_viewer.viewer.webcam import WEBCAM, Webcam
from avatar_viewer.viewer.webcam_panel import OFF, WebcamPanel

TIMEOUT_S = 20
FACE = TrackedFace(np.array([(4.0, 4.0), (20.0, 12.0)]), np.full(52, 0.5), np.eye(3))


class FakeCamera:
    """Gives as many pictures as it is told, and then ends by `error`."""

    def __init__(self):
        self.pictures, self.error, self.is_open = 1, None, True

    def newest(self, after=0):
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s and self.is_open:
            if after < self.pictures:
                return Picture(np.full((24, 32, 3), 90, np.uint8), after / 30, after + 1)
            if self.error is not None:
                raise self.error
            time.sleep(0.002)
        raise AvatarError("fake: closed")

    def close(self):
        self.is_open = False


class FakeMap:
    """Expressions of as many numbers as the fake avatar's, which have no gaze."""

    def expression(self, weights):
        return ExpressionCode((float(weights[0]), 0.25, 0.75))


@pytest.fixture
def camera(app, state):
    """The camera of an app that has an avatar with an ARKit map."""
    camera, state.space = FakeCamera(), ExpressionSpace(units=FakeMap())
    tracker = SimpleNamespace(name="fake", faces=lambda rgb: [FACE], close=lambda: None)
    app.webcam = Webcam(app, lambda name: camera, lambda: tracker)
    app.webcam.device = "fake"
    yield camera
    end(app, camera)


def end(app, camera) -> None:
    """Stop, such that it can be started again."""
    camera.is_open = False
    app.webcam.close()
    camera.is_open = True


def messages(app) -> list[str]:
    return [line.text for line in app.messages.lines]


def turn(app, until) -> None:
    """As the window does, round by round."""
    app.renderer.submit = lambda *_: None
    end_s = time.monotonic() + TIMEOUT_S
    while not until():
        app.ask(time.perf_counter(), False)
        assert time.monotonic() < end_s
        time.sleep(0.002)


def do(app, keys: str) -> None:
    action_of(keys).run(app)


def test_a_face_drives_the_avatar_until_it_is_stopped(app, state, camera):
    do(app, "Shift+W")
    assert app.driver is app.webcam and app.webcam.is_moving and WEBCAM in app.opened
    turn(app, lambda: state.session.driven is not None)
    assert state.session.driven.values == pytest.approx((0.5, 0.25, 0.75))
    assert state.session.head_pose_deg is None
    app.webcam.turns_head = True
    turn(app, lambda: state.session.head_pose_deg is not None)
    assert state.session.head_pose_deg == pytest.approx((0, 0, 0))
    do(app, "Shift+W")
    assert app.driver is None and state.session.driven is None and not app.webcam.is_on
    camera.error = AvatarError("fake: nobody hears this any more")
    app.webcam.close()
    assert not camera.is_open and messages(app) == []


def test_a_hand_on_the_pad_stops_it(app, state, camera):
    app.webcam.start()
    turn(app, lambda: state.session.driven is not None)
    state.move_pad(1, 0)
    turn(app, lambda: app.driver is None)
    assert not app.webcam.is_on and state.session.pad == (1, 0)


def test_an_unplugged_camera_leaves_the_last_expression(app, state, camera, tmp_path):
    app.prefer(screenshot_folder=tmp_path)
    app.webcam.start()
    turn(app, lambda: state.session.driven is not None)
    camera.pictures, camera.error = 4, AvatarError("fake: unplugged")
    turn(app, lambda: not app.webcam.is_on)
    assert messages(app) == ["fake: unplugged"] and app.messages.lines[-1].is_error
    assert app.webcam.problem == "fake: unplugged" and app.driver is app.webcam
    assert state.session.driven is not None and not app.webcam.is_moving
    do(app, "Shift+K")
    (file,) = tmp_path.glob("*.npz")
    assert app.messages.lines[-1].link == file
    assert load_sequence(file).codes == pytest.approx(np.tile((0.5, 0.25, 0.75), (4, 1)))
    camera.pictures, camera.error, camera.is_open = 5, None, True
    app.webcam.start()
    turn(app, lambda: app.webcam.track.codes == 5)
    assert app.webcam.problem == ""


def test_the_end_of_a_video_is_no_error(app, state, camera):
    camera.error = VideoEnded("face.mp4: the video has ended")
    app.webcam.start()
    turn(app, lambda: not app.webcam.is_on)
    assert messages(app) == ["face.mp4: the video has ended"]
    assert not app.messages.lines[-1].is_error and app.webcam.problem == ""


def test_a_camera_that_does_not_open_is_told_and_the_pad_stays(app, state, camera):
    def fail(name):
        raise AvatarError(f"{name}: in use")

    app.webcam._open_camera = fail
    app.webcam.start()
    turn(app, lambda: not app.webcam.is_on)
    assert messages(app) == ["fake: in use"] and app.driver is None
    assert state.session.driven is None


def test_the_face_at_rest(app, state, camera):
    do(app, "N")
    assert messages(app) == ["neutral: expected a face in front of the camera, found it off"]
    app.webcam.start()
    turn(app, lambda: state.session.driven is not None)
    do(app, "N")
    camera.pictures = 2
    turn(app, lambda: state.session.driven.values[0] == 0)
    app.stop_driving()
    end(app, camera)
    app.webcam.start()  # it is remembered
    turn(app, lambda: app.webcam.track.codes > 0 and state.session.driven is not None)
    assert state.session.driven.values[0] == 0


def test_what_is_missing_is_told(app, state, camera, monkeypatch):
    do(app, "Shift+K")
    assert messages(app)[-1] == "webcam: expected a face that was tracked, found none"
    app.webcam.device = " "
    monkeypatch.setattr(app.webcam, "devices", lambda: [])
    app.webcam.start()
    assert messages(app)[-1] == "webcam: expected a camera or a video file, found no camera"
    state.space = ExpressionSpace()
    app.webcam.start()
    assert messages(app)[-1] == "fake: expected an avatar with an ARKit map, found none"
    app.state = None
    app.webcam.start()
    assert app.driver is None and len(messages(app)) == 3


def test_the_first_camera_is_taken(app, state, camera, monkeypatch):
    opened = []
    monkeypatch.setattr(app.webcam, "devices", lambda: [Device("/dev/video4", "A camera")])
    monkeypatch.setattr(app.webcam, "_open_camera", lambda name: opened.append(name) or camera)
    app.webcam.device = ""
    app.webcam.start()
    turn(app, lambda: state.session.driven is not None)
    assert opened == ["/dev/video4"]


@pytest.fixture
def panel(screen, app, state, camera):
    panel = WebcamPanel(app)
    app.opened.add(WEBCAM)
    panel.update()
    return panel


def shown(panel) -> dict[str, object]:
    return {
        "figures": dpg.get_value(panel._figures),
        "start": dpg.get_item_label(panel._start),
        "problem": dpg.is_item_shown(panel._problem),
        "picture": dpg.is_item_shown(panel._picture.image),
    }


def test_the_window_shows_the_source(app, state, camera, panel):
    off = {"figures": OFF, "start": "Start", "problem": False, "picture": False}
    assert shown(panel) == off
    app.webcam.start()
    turn(app, lambda: app.webcam.track.codes > 0)
    panel.update()
    assert dpg.get_value(panel._figures).endswith("ms late") and shown(panel)["picture"]
    assert panel._picture.uploads == 1
    panel.update()
    assert panel._picture.uploads == 1 and dpg.get_item_label(panel._start) == "Stop"
    app.stop_driving()
    panel.update()
    assert shown(panel) == {**off, "picture": True}


def test_the_window_shows_a_problem(app, state, camera, panel):
    camera.error = AvatarError("fake: unplugged")
    app.webcam.start()
    turn(app, lambda: not app.webcam.is_on)
    panel.update()
    assert dpg.get_value(panel._problem) == "fake: unplugged" and shown(panel)["problem"]
    app.toggle(WEBCAM)
    panel.update()
    assert not panel.is_open and panel._device not in app.text_inputs
    app.toggle(WEBCAM)
    panel.update()
    assert shown(panel)["problem"] and dpg.get_value(panel._device) == "fake"


def test_the_window_lists_cameras(app, state, camera, panel, monkeypatch):
    panel._list_cameras()
    monkeypatch.setattr(app.webcam, "devices", lambda: [Device("/dev/video4", "A camera")])
    panel._list_cameras()
    (line,) = dpg.get_item_children(panel._menu, 1)
    assert dpg.get_item_label(line) == "A camera (/dev/video4)"
    dpg.get_item_callback(line)(line, True, dpg.get_item_user_data(line))
    panel.update()
    assert app.webcam.device == dpg.get_value(panel._device) == "/dev/video4"
