"""The window while somebody drags, measured from inside: what `avatar-viewer bench` runs.

    python -m avatar_viewer.viewer.measured_drag SOURCE SECONDS FIGURES.json STARTED RUNTIME

STARTED is `time.time()` when the process was started. Opens the real window, waits for the first
picture, drags the pad's cursor, rests, and writes what happened.
It runs in a process of its own, so that start and memory are those of the viewer.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from avatar_viewer.config import RuntimeName
from avatar_viewer.errors import AvatarError
from avatar_viewer.live.renderable import Renderable, Say, load_avatar
from avatar_viewer.memory import resident_mb
from avatar_viewer.viewer.display import prepare_process
from avatar_viewer.viewer.window import ViewerWindow

if TYPE_CHECKING:
    from avatar_viewer.stages import ExpressionCode

SETTLE_S, REST_S = 4.0, 3.0
"""After the last picture the pad's trail fades, and the window stays awake for a while."""
TIMEOUT_S = 120.0
MOUSE_S = 1 / 125
"""From one report of a usual mouse to the next."""
BUILD_S = 1800.0
"""How long a runtime may take to build its programs."""


class DraggedWindow(ViewerWindow):
    """A window in which an even hand drags the pad's cursor, seen where the mouse would be."""

    _round_s = 0.0

    def grab(self, round_s: float) -> None:
        """From now on the cursor goes round the pad once in so long."""
        self._round_s, self._grabbed_s = round_s, time.perf_counter()
        self.moved_s: dict[ExpressionCode, float] = {}
        """When the mouse reported what asked for an expression, by `time.perf_counter`."""

    def release(self) -> None:
        self._round_s = 0.0

    def look(self) -> bool:
        if not self._round_s:
            return super().look()
        state = self.app.state
        assert state is not None
        events = int((time.perf_counter() - self._grabbed_s) / MOUSE_S)
        event_s = self._grabbed_s + events * MOUSE_S
        angle = 2 * math.pi * events * MOUSE_S / self._round_s
        before = state.session.pad
        state.move_pad(0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle))
        if state.session.pad == before:
            return False
        self.moved_s[state.request().expression] = event_s
        self.app.ask(time.perf_counter(), released=False)
        return True


def measure(
    source: str, seconds: float, started_s: float, runtime: RuntimeName
) -> dict[str, float | list[float]]:
    """Figures of one window; `started_s` is when the process began, on `time.time`'s clock."""
    prepare_process()
    loaded: list[Any] = []

    def load(source: str, progress: Say, notify: Say) -> Renderable:
        loaded.append(load_avatar(source, progress, notify, runtime))
        return loaded[-1]

    with tempfile.TemporaryDirectory() as folder:
        window = DraggedWindow(load, Path(folder), None)
        return _measured(window, source, seconds, started_s, loaded)


def _measured(
    window: DraggedWindow, source: str, seconds: float, started_s: float, loaded: list[Any]
) -> dict[str, float | list[float]]:
    """`loaded` will hold the avatar that the window loads."""
    try:
        window.open()
        window_s = time.time() - started_s
        window.app.load(source)
        _turn_until(window, lambda: window.live.frames > 0 and not window.live.status)
        first_picture_s = time.time() - started_s
        _turn_until(window, lambda: len(window.live.thumbnails) == 4)
        loaded[-1].runtime.wait_built(BUILD_S)
        drag = _drag(window, seconds)
        _turn_until(window, lambda: window.live.frame is not None and not window.live.frame.preview)
        return {
            "window_s": window_s,
            "first_picture_s": first_picture_s,
            **drag,
            **_rest(window),
            "rss_peak_mb": resident_mb(os.getpid())[1] or math.nan,
        }
    finally:
        window.close()


def _turn_until(window: ViewerWindow, condition) -> None:
    end_s = time.perf_counter() + TIMEOUT_S
    while not condition():
        window.turn()
        if window.live.failure is not None:
            raise AvatarError(window.live.failure.message)
        if time.perf_counter() > end_s:
            raise AvatarError(f"the window: expected a picture within {TIMEOUT_S:g} s, found none")


def _drag(window: DraggedWindow, seconds: float) -> dict[str, float | list[float]]:
    """The cursor goes round the pad once; a frame counts when the window has drawn it."""
    frames = seen = window.live.frames
    shown_ms: list[float] = []
    window.grab(seconds)
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < seconds:
        window.look()
        window.turn()
        if (live := window.live).frames != seen:
            seen = live.frames
            assert live.frame is not None
            moved_s = window.moved_s.get(live.frame.request.expression)
            if moved_s is not None:
                shown_ms.append((window.drawn_s - moved_s) * 1000)
    window.release()
    return {"drag_fps": (seen - frames) / elapsed_s, "shown_ms": shown_ms}


def _rest(window: ViewerWindow) -> dict[str, float | list[float]]:
    """What an unchanged window does."""
    settle_s = time.perf_counter() + SETTLE_S
    while time.perf_counter() < settle_s:
        window.turn()
    frames, uploads, submissions = window.live.frames, window.uploads, window.app.submissions
    began, cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < REST_S:
        window.turn()
    elapsed_s = time.perf_counter() - began
    return {
        "rest_renders": window.live.frames - frames,
        "rest_uploads": window.uploads - uploads,
        "rest_submissions": window.app.submissions - submissions,
        "rest_core_share": (time.process_time() - cpu_s) / elapsed_s,
    }


def main(source: str, seconds: float, path: Path, started_s: float, runtime: RuntimeName) -> None:
    path.write_text(json.dumps(measure(source, seconds, started_s, runtime)))


if __name__ == "__main__":
    words = sys.argv[1:]
    runtime = cast("RuntimeName", words[4])
    main(words[0], float(words[1]), Path(words[2]), float(words[3]), runtime)
