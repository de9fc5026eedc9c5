"""The thread between a camera and a face, both made up; and MediaPipe's, where it is there."""

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avatar_viewer.data.camera_source import Picture
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import (
    OPEN_GAP,
    FaceLandmarker,
    TrackedFace,
    find_model,
)
from avatar_viewer.expression.live_face import LiveExpression
from avatar_viewer.expression.live_tracker import (
    DOT,
    KEPT_FPS,
    PREVIEW_PX,
    LiveTrack,
    LiveTracker,
    kept_sequence,
    preview,
)
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.stages import ExpressionCode

FRAMES = Path(__file__).parents[1] / "demo_frames"
TIMEOUT_S = 20
JAW = ARKIT_UNITS.index("jawOpen")
MAP = ArkitMap(torch.eye(52)[[JAW]], torch.zeros(1))
"""z is the jaw."""


class FakeCamera:
    """Gives the pictures that a test puts, a level of grey each; an error ends it."""

    def __init__(self) -> None:
        self.closed = False
        self._changed = threading.Condition()
        self._put: list[int] = []
        self._error: AvatarError | None = None

    def put(self, *levels: int, error: AvatarError | None = None) -> None:
        with self._changed:
            self._put += levels
            self._error = error
            self._changed.notify_all()

    def newest(self, after: int = 0) -> Picture:
        with self._changed:
            self._changed.wait_for(lambda: self._error or len(self._put) > after, TIMEOUT_S)
            if len(self._put) > after:  # unlike a camera, none is left out
                rgb = np.full((20, 40, 3), self._put[after], np.uint8)
                return Picture(rgb, time.perf_counter(), after + 1)
            raise self._error or AvatarError("nothing was put")

    def close(self) -> None:
        self.closed = True


class FakeTracker:
    """A black picture shows no face, a grey one a jaw that is open by its level of 200."""

    name = "fake"

    def __init__(self) -> None:
        self.closed = False

    def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
        if (level := int(rgb.max())) == 0:
            return []
        weights = np.zeros(52)
        weights[JAW] = level / 200
        return [TrackedFace(np.array([(2.0, 3.0), (30.0, 10.0), (50.0, 90.0)]), weights)]

    def close(self) -> None:
        self.closed = True


class Run:
    """One tracker, its camera, and what it said."""

    def __init__(self, **options) -> None:
        self.camera, self.tracker, self.changes = FakeCamera(), FakeTracker(), 0
        self.live = LiveTracker(
            lambda: self.camera, lambda: self.tracker, MAP, on_change=self._count, **options
        )

    def _count(self) -> None:
        self.changes += 1

    def wait(self, until) -> LiveTrack:
        end_s = time.monotonic() + TIMEOUT_S
        while not until(self.live.poll()):
            assert time.monotonic() < end_s, self.live.poll()
            time.sleep(0.005)
        return self.live.poll()


@pytest.fixture
def run():
    run = Run()
    yield run
    run.camera.put(error=AvatarError("over"))
    run.live.stop()
    run.live.join(TIMEOUT_S)


def jaw(track: LiveTrack) -> float:
    assert track.live is not None
    return track.live.expression.values[0]


def test_each_picture_becomes_an_expression(run):
    run.camera.put(100)
    track = run.wait(lambda track: track.codes == 1)
    assert jaw(track) == pytest.approx(0.5) and track.has_face and track.status == ""
    assert track.finished_s >= track.taken_s > 0 and track.latency_ms >= 0
    assert track.preview is not None and tuple(track.preview[3, 2]) == DOT
    run.camera.put(180)
    assert jaw(run.wait(lambda track: track.codes == 2)) == pytest.approx(0.9, abs=0.01)
    assert run.changes >= 4  # opening, starting, and two pictures


def test_without_a_face_the_last_expression_stays(run):
    run.camera.put(100, 0)
    track = run.wait(lambda track: track.codes == 1 and not track.has_face)
    assert jaw(track) == pytest.approx(0.5) and track.ended is None


def test_the_face_at_rest_can_be_taken(run):
    with pytest.raises(AvatarError, match="neutral: expected a face"):
        run.live.take_neutral()
    run.camera.put(*[40] * 7)
    run.wait(lambda track: track.codes == 7)
    rest = run.live.take_neutral()
    assert rest.weights[JAW] == pytest.approx(0.2)
    run.camera.put(40)
    assert jaw(run.wait(lambda track: track.codes == 8)) == pytest.approx(0)
    again = Run(rest=rest)
    again.camera.put(40, error=AvatarError("over"))
    assert jaw(again.wait(lambda track: track.codes == 1)) == pytest.approx(0)


def test_an_unplugged_camera_ends_it_and_what_was_tracked_stays(run):
    with pytest.raises(AvatarError, match=r"^webcam: expected a face .* found none$"):
        run.live.sequence("nothing")
    run.camera.put(100, 120, error=AvatarError("fake: unplugged"))
    track = run.wait(lambda track: track.ended is not None)
    assert str(track.ended) == "fake: unplugged" and track.codes == 2 and track.fps == 0
    run.live.join(TIMEOUT_S)
    assert run.camera.closed and run.tracker.closed
    sequence = run.live.sequence("fake")
    assert sequence.header.source == "fake" and sequence.codes[0] == pytest.approx(
        (0.5, 0, 0, 0, 0)
    )


def test_what_does_not_open_ends_it():
    def fail():
        raise AvatarError("fake: busy")

    camera = FakeCamera()
    for open_camera, open_tracker in ((fail, FakeTracker), (lambda: camera, fail)):
        live = LiveTracker(open_camera, open_tracker, MAP)
        live.join(TIMEOUT_S)
        assert str(live.poll().ended) == "fake: busy" and live.poll().status == ""
    assert camera.closed


def test_an_unforeseen_error_ends_it_in_one_line(run):
    run.tracker.faces = lambda rgb: [][0]
    run.camera.put(100)
    track = run.wait(lambda track: track.ended is not None)
    assert str(track.ended) == "webcam: IndexError: list index out of range"


def test_it_stops(run):
    run.camera.put(100)
    run.wait(lambda track: track.codes == 1)
    run.live.stop()
    run.camera.put(100)
    run.live.join(TIMEOUT_S)
    assert run.camera.closed and run.live.poll().ended is None


def test_what_is_kept_is_at_even_times():
    def live(value: float) -> LiveExpression:
        return LiveExpression(ExpressionCode((value, 0.0)), (10 * value, 0.0, 0.0))

    sequence = kept_sequence(tuple((5 + t, live(t)) for t in (0.0, 0.1, 0.15, 1.0)), "fake")
    times_s = np.arange(31) / KEPT_FPS
    assert sequence.header.fps == KEPT_FPS and len(sequence.codes) == 31
    assert sequence.codes[:, 0] == pytest.approx(times_s, abs=1e-6)
    assert sequence.head_pose_deg is not None and sequence.confidence is not None
    assert sequence.head_pose_deg[:, 0] == pytest.approx(10 * times_s, abs=1e-5)
    assert (sequence.confidence == ((times_s < 0.25) | (times_s > 0.89))).all()
    assert len(kept_sequence(((3.0, live(1)),), "one").codes) == 1


def test_a_preview_is_small():
    face = TrackedFace(np.array([(0.0, 0.0), (639.0, 479.0), (-5.0, 700.0)]))
    small = preview(np.zeros((480, 640, 3), np.uint8), face)
    assert max(small.shape) <= PREVIEW_PX and small.shape[:2] == (160, 214)
    assert tuple(small[0, 0]) == tuple(small[159, 213]) == DOT
    assert (small != 0).any(axis=2).sum() == 2
    assert preview(np.zeros((20, 10, 3), np.uint8), None).shape == (20, 10, 3)


def test_a_real_tracker_follows_pictures():
    """A smile that opens is told from a closed mouth."""
    if find_spec("mediapipe") is None:
        pytest.skip("needs the extra [transfer]")
    try:
        model = find_model()
    except AvatarError as error:
        pytest.skip(str(error))
    files = sorted(FRAMES.glob("*.webp"))
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    tracker, camera = FaceLandmarker(model), FakeCamera()
    gaps = [face.lips_gap for rgb in pictures for face in tracker.faces(rgb)]
    turned = [face.rotation for rgb in pictures for face in tracker.faces(rgb)]
    assert len(gaps) == len(pictures) and min(gaps) < 0.03 < max(gaps) < 1
    assert all(np.allclose(r @ r.T, np.eye(3), atol=1e-3) for r in turned)
    camera.newest = lambda after=0: Picture(
        pictures[after % len(pictures)], after / KEPT_FPS, after + 1
    )
    live = LiveTracker(lambda: camera, lambda: tracker, MAP)
    end_s = time.monotonic() + TIMEOUT_S
    while live.poll().codes < 2 * len(pictures) and time.monotonic() < end_s:
        time.sleep(0.01)
    live.stop()
    live.join(TIMEOUT_S)
    codes = live.sequence("frames").codes
    assert live.poll().ended is None and np.ptp(codes[:, 0]) > 0.05
    assert np.ptp(codes[:, 0]) == pytest.approx(np.ptp(gaps) / OPEN_GAP, abs=0.03)
