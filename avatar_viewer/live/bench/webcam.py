"""How fast a face in front of a camera drives an avatar: what `avatar-viewer bench --webcam` does.

A video file that is played in real time stands for the camera. The camera, the face tracker and the
renderer have a thread each, as in the window, and every new expression asks for its picture.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER, RuntimeName
from avatar_viewer.data.camera_source import CameraSource, VideoEnded
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import FaceLandmarker
from avatar_viewer.expression.live_tracker import LiveTrack, LiveTracker
from avatar_viewer.expression.transfer import arkit_map_of
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.live.bench.frames import percentile
from avatar_viewer.live.bench.report import Line
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.live.still import Picture

if TYPE_CHECKING:
    from avatar_viewer.stages import ExpressionCode

WARM_UP_S = 2.0
"""At first the tracker has nothing to follow, and the renderer learns what it has time for."""
ASKING_S = 1 / 60
"""How often the window looks for a new expression."""
TIMEOUT_S = 120.0
BUILD_S = 1800.0
LIMITS = {"codes_fps": 15.0, "code_p95_ms": 80.0}
"""Bounds, on two cores."""
LINES = (
    Line("camera_fps", "camera, pictures a second"),
    Line("codes_fps", "new expressions a second", at_least=True),
    Line("code_p50_ms", "camera picture to expression, p50, ms"),
    Line("code_p95_ms", "camera picture to expression, p95, ms"),
    Line("pictures_fps", "new pictures of the avatar a second"),
    Line("picture_p50_ms", "camera picture to avatar's picture, p50, ms"),
    Line("picture_p95_ms", "camera picture to avatar's picture, p95, ms"),
)


@dataclass
class Seen:
    """What happened, times on the clock of `time.perf_counter`."""

    codes: list[tuple[float, float]] = field(default_factory=list)
    """Of each expression: when its picture was taken, and when it was known."""
    pictures: list[tuple[float, float]] = field(default_factory=list)
    """Of each picture of the avatar: when the camera's was taken, and when it was finished."""
    expressions: dict[ExpressionCode, float] = field(default_factory=dict)
    """When the picture of each was taken."""

    def add_track(self, track: LiveTrack) -> None:
        if track.live is not None:
            self.codes.append((track.taken_s, track.finished_s))
            self.expressions[track.live.expression] = track.taken_s

    def add_picture(self, state: LiveState) -> None:
        if state.frame is not None:
            taken_s = self.expressions.get(state.frame.request.expression)
            if taken_s is not None:
                self.pictures.append((taken_s, state.finished_s))


def bench_webcam(
    video: Path,
    source: str | None = None,
    runtime: RuntimeName = "auto",
    json_path: Path | None = None,
) -> None:
    """Play the video as a camera, print the figures beside their bounds, and write them as JSON if
    wanted."""
    if json_path is not None:
        ensure_writable(json_path)
    avatar = Avatar.load(source or str(DEMO_FOLDER), runtime=runtime, notify=_say)
    avatar.runtime.wait_built(BUILD_S)
    figures = webcam_figures(avatar, video)
    print(f"{avatar.info.name}, driven by {video}, runtime {avatar.runtime.label}")
    for line in LINES:
        print(line.written(figures[line.figure], LIMITS.get(line.figure)))
    if json_path is not None:
        with written_aside(json_path) as aside:
            aside.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def webcam_figures(avatar: Avatar, video: Path) -> dict[str, float]:
    """Of the time after `WARM_UP_S` until the video ends."""
    from avatar_viewer.data.video import VideoFile

    camera_fps = VideoFile(video).fps
    arkit_map = arkit_map_of(avatar.head, video)
    renderer = RenderThread(lambda source, progress, notify: avatar)
    woken = threading.Event()
    tracker = None
    try:
        renderer.load(avatar.info.name)
        renderer.wait(lambda state: state.info is not None, TIMEOUT_S)
        tracker = LiveTracker(
            lambda: CameraSource(str(video)), FaceLandmarker, arkit_map, on_change=woken.set
        )
        seen = _driven(tracker, renderer, avatar, woken)
    finally:
        if tracker is not None:
            tracker.stop()
            tracker.join(TIMEOUT_S)
        renderer.stop()
    return {"camera_fps": camera_fps, **figures_of(seen)}


def figures_of(seen: Seen) -> dict[str, float]:
    """Rates and percentiles; AvatarError where there was too little to see."""
    if len(seen.codes) < 2 or len(seen.pictures) < 2:
        expected = f"a video with a face of more than {WARM_UP_S:g} s"
        found = f"{len(seen.codes)} expressions and {len(seen.pictures)} pictures after that"
        raise AvatarError(f"bench: expected {expected}, found {found}")
    codes_ms, pictures_ms = _waited_ms(seen.codes), _waited_ms(seen.pictures)
    return {
        "codes_fps": _rate(seen.codes),
        "code_p50_ms": percentile(codes_ms, 50),
        "code_p95_ms": percentile(codes_ms, 95),
        "pictures_fps": _rate(seen.pictures),
        "picture_p50_ms": percentile(pictures_ms, 50),
        "picture_p95_ms": percentile(pictures_ms, 95),
    }


def _driven(
    tracker: LiveTracker, renderer: RenderThread, avatar: Avatar, woken: threading.Event
) -> Seen:
    seen, from_s, base = Seen(), None, Picture().request(avatar.info)
    codes = frames = 0
    while True:
        woken.wait(ASKING_S)
        woken.clear()
        track, state = tracker.poll(), renderer.poll()
        if isinstance(track.ended, VideoEnded):
            return seen
        if (problem := track.ended or state.failure) is not None:
            raise AvatarError(getattr(problem, "message", str(problem)))
        now_s = time.perf_counter()
        if track.codes > codes and track.live is not None:
            codes = track.codes
            from_s = from_s or now_s + WARM_UP_S
            seen.add_track(track)
            renderer.submit(replace(base, expression=track.live.expression), dragging=True)
        if state.frames > frames:
            frames = state.frames
            seen.add_picture(state)
        if from_s is not None and now_s < from_s:
            seen.codes.clear()
            seen.pictures.clear()


def _waited_ms(times: Sequence[tuple[float, float]]) -> list[float]:
    return [(finished_s - taken_s) * 1000 for taken_s, finished_s in times]


def _rate(times: Sequence[tuple[float, float]]) -> float:
    return (len(times) - 1) / (times[-1][1] - times[0][1])


def _say(text: str) -> None:
    print(text, file=sys.stderr)
