"""The thread that looks at a camera: a face in its newest picture becomes an expression.

Like the render thread it has one immutable value to show, replaced as a whole under one lock.
MediaPipe lets other threads of Python run while it works, so that no process of its own is needed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from PIL import Image

from avatar_viewer.data.camera_source import Picture
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.expression.face_tracker import FaceTracker, Follower, TrackedFace
from avatar_viewer.expression.live_face import LiveExpression, LiveFace, Rest
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.head.arkit import ArkitMap

REST_PICTURES = 5
"""Of so many a face at rest is taken."""
RECENT_S = 2.0
"""Rate and latency are those of so long."""
KEPT_FPS = 30.0
MOST_KEPT = 20_000
"""Expressions that are kept: ten minutes of them, and the newest where there are more."""
BRIDGED_S = 0.1
"""Times that are further from an expression were made up between others."""
PREVIEW_PX = 256
"""The longer side of the source as it is shown."""
DOT = (90, 230, 140)
"""The colour of landmarks."""


class Camera(Protocol):
    """Gives pictures, as `data.camera_source.CameraSource`."""

    def newest(self, after: int = 0) -> Picture: ...

    def close(self) -> None: ...


class LiveFaceTracker(FaceTracker, Protocol):
    """One that can be put away."""

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class LiveTrack:
    """What the thread has to show."""

    status: str = ""
    """What is being started; empty when nothing is."""
    preview: np.ndarray | None = None
    """uint8 [H,W,3] the newest picture, small, with the landmarks of the face."""
    has_face: bool = False
    """Whether the newest picture shows one."""
    live: LiveExpression | None = None
    """That of the newest picture with a face."""
    codes: int = 0
    """How many expressions there have been: `live`'s serial number."""
    taken_s: float = 0.0
    """When the camera gave `live`'s picture, on the clock of `time.perf_counter`."""
    finished_s: float = 0.0
    """When `live` was known."""
    fps: float = 0.0
    """New expressions a second."""
    latency_ms: float = 0.0
    """From the camera's picture to its expression, the median."""
    ended: AvatarError | None = None
    """Why there will be no more."""


class LiveTracker:
    """Follows a face until it is stopped, or its camera ends; all methods but `join` return at
    once."""

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        open_tracker: Callable[[], LiveFaceTracker],
        arkit_map: ArkitMap,
        rest: Rest | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Camera and tracker are opened, used and closed by the thread; their AvatarError ends it.

        `on_change` is called after each new state, on the thread; it must be quick.
        """
        self._open_camera, self._open_tracker = open_camera, open_tracker
        self._face = LiveFace(arkit_map, rest)
        self._on_change = on_change
        self._lock = threading.Lock()
        self._track = LiveTrack()
        self._faces: deque[TrackedFace] = deque(maxlen=REST_PICTURES)
        self._kept: deque[tuple[float, LiveExpression]] = deque(maxlen=MOST_KEPT)
        self._times: deque[tuple[float, float]] = deque()  # taken and finished, of recent ones
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webcam", daemon=True)
        self._thread.start()

    def poll(self) -> LiveTrack:
        """The newest state."""
        with self._lock:
            return self._track

    def take_neutral(self) -> Rest:
        """From now on the face rests as it does now; AvatarError where there is none."""
        with self._lock:
            rest = Rest.of(tuple(self._faces))
        self._face.rest = rest
        return rest

    def sequence(self, source: str) -> ExpressionSequence:
        """What was tracked so far, or its last ten minutes; AvatarError where that is nothing."""
        with self._lock:
            kept = tuple(self._kept)
        return kept_sequence(kept, source)

    def stop(self) -> None:
        """End after the present picture; what was tracked stays."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, after `stop`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self._publish(status="Opening the camera")
                camera = stack.enter_context(closing(self._open_camera()))
                self._publish(status="Starting the face tracker")
                tracker = stack.enter_context(closing(self._open_tracker()))
                self._follow(camera, tracker)
        except AvatarError as error:
            self._publish(ended=error, status="", fps=0.0)
        except Exception as error:
            ended = AvatarError(f"webcam: {type(error).__name__}: {one_line(error)}")
            self._publish(ended=ended, status="", fps=0.0)

    def _follow(self, camera: Camera, tracker: LiveFaceTracker) -> None:
        follower, number = Follower(), 0
        while not self._stopping.is_set():
            picture = camera.newest(number)
            number = picture.number
            face = follower.choose(tracker.faces(picture.rgb))
            changes = {} if face is None else self._expressed(face, picture.taken_s)
            self._publish(
                status="",
                preview=preview(picture.rgb, face),
                has_face=face is not None,
                fps=self._fps(),
                **changes,
            )

    def _expressed(self, face: TrackedFace, taken_s: float) -> dict[str, Any]:
        """What a picture with a face changes."""
        live = self._face.expression(face)
        finished_s = time.perf_counter()
        self._times.append((taken_s, finished_s))
        with self._lock:
            self._faces.append(face)
            self._kept.append((taken_s, live))
        times = np.array(self._times)
        return {
            "live": live,
            "codes": self._track.codes + 1,
            "taken_s": taken_s,
            "finished_s": finished_s,
            "latency_ms": float(np.median(times[:, 1] - times[:, 0])) * 1000,
        }

    def _fps(self) -> float:
        times, now_s = self._times, time.perf_counter()
        while times and times[0][1] < now_s - RECENT_S:
            times.popleft()
        return (len(times) - 1) / (times[-1][1] - times[0][1]) if len(times) > 1 else 0.0

    def _publish(self, **changes: Any) -> None:
        with self._lock:
            self._track = replace(self._track, **changes)
        self._on_change()


def kept_sequence(
    kept: tuple[tuple[float, LiveExpression], ...], source: str
) -> ExpressionSequence:
    """At even times, of expressions and the times of their pictures, seconds.

    Those without a face nearby lie between those beside them, with the confidence 0.
    """
    if not kept:
        raise AvatarError("webcam: expected a face that was tracked, found none")
    taken_s = np.array([time_s for time_s, _ in kept])
    codes = np.array([live.expression.values for _, live in kept])
    poses_deg = np.array([live.head_pose_deg for _, live in kept])
    count = 1 + int((taken_s[-1] - taken_s[0]) * KEPT_FPS)
    times_s = taken_s[0] + np.arange(count) / KEPT_FPS

    def even(rows: np.ndarray) -> np.ndarray:
        columns = [np.interp(times_s, taken_s, column) for column in rows.T]
        return np.stack(columns, axis=1).astype(np.float32)

    after = np.searchsorted(taken_s, times_s).clip(0, len(taken_s) - 1)
    before = np.maximum(after - 1, 0)
    nearest_s = np.minimum(np.abs(taken_s[after] - times_s), np.abs(taken_s[before] - times_s))
    sure = (nearest_s <= BRIDGED_S).astype(np.float32)
    return ExpressionSequence(Header(KEPT_FPS, source), even(codes), sure, even(poses_deg))


def preview(rgb: np.ndarray, face: TrackedFace | None) -> np.ndarray:
    """A picture, uint8 [H,W,3], made small, with a dot at each landmark."""
    times = -(-max(rgb.shape) // PREVIEW_PX)
    small = np.array(Image.fromarray(rgb).reduce(times))
    if face is not None:
        height, width = small.shape[:2]
        columns, rows = (face.landmarks / times).astype(int).T
        within = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        small[rows[within], columns[within]] = DOT
    return small
