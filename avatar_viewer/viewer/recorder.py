"""What is to be recorded of a window, and how; it knows no widgets, and outlives them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar_viewer.errors import AvatarError

# The window shows itself before torch is imported; what needs it is imported where it is used.
if TYPE_CHECKING:
    from avatar_viewer.expression.sequence import ExpressionSequence
    from avatar_viewer.live.camera_path import CameraPath, Keyframe
    from avatar_viewer.live.live_recording import LiveRecording
    from avatar_viewer.viewer.app import ViewerApp
    from avatar_viewer.viewer.state import ViewerState

PLAY, LIVE, KEYFRAME = "play", "record live", "keyframe"
"""Names in `ViewerApp.opened`: while the path is played, while what is shown is recorded, and to
have a keyframe added."""
TURN_S = 8.0


class Recorder:
    """One window's path, expressions and movies; it belongs to the main thread."""

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self.path: CameraPath | None = None
        """None without keyframes."""
        self.live: LiveRecording | None = None
        """The movie of what is shown, while there is one."""
        self.seconds = 4.0
        self.fps = 25.0
        self.width, self.height = 0, 0
        """Pixels; 0 until there is an avatar."""
        self.transparent = False
        self.out, self.path_file, self.sequence_file = "", "", ""
        """As they were typed. Without `out`, a movie is named by the preferences."""
        self._state: ViewerState | None = None
        self._sequence: ExpressionSequence | None = None
        self._start_s: float | None = None
        self._put: object = None

    def update(self, now_s: float) -> None:
        """Once per round of the window's loop; `now_s` is a monotonic time."""
        opened, state = self._app.opened, self._app.state
        if state is not None and state is not self._state:
            self._state = state
            self.width = self.height = state.info.resolution_px
        self._follow_timeline()
        if KEYFRAME in opened:
            opened.discard(KEYFRAME)
            self.add()
        with self._complaining():
            self._play(now_s)
        with self._complaining():
            self._record_live(now_s)

    def close(self) -> None:
        """Finish the movie of the window, which is closing."""
        if self.live is not None:
            self.live.finish(time.perf_counter())
            self.live.join()
            self.live = None

    # The path.

    def add(self) -> None:
        """The present view and pad as one more keyframe, a second after the last."""
        if (state := self._app.state) is None:
            return
        from avatar_viewer.live.camera_path import CameraPath, Keyframe

        view, pad = state.session.view, state.session.pad
        if self.path is None:
            self._set_path(CameraPath((Keyframe(0.0, view, pad),), fps=self.fps))
        else:
            keyframes = self.path.keyframes
            new = Keyframe(keyframes[-1].time_s + 1, view, pad)
            self._set_path(replace(self.path, keyframes=(*keyframes, new)))

    def turn(self) -> None:
        """Once around the head, in as long as the movie."""
        if (state := self._app.state) is None:
            return
        from avatar_viewer.live.camera_path import turntable

        seconds = TURN_S if self.path is None else self.path.duration_s or TURN_S
        self._set_path(turntable(state.session.view, state.session.pad, seconds, self.fps))

    def change_path(self, **fields: Any) -> None:
        """Change how it goes through its keyframes."""
        if self.path is not None:
            self._set_path(replace(self.path, **fields))

    def go(self, keyframe: Keyframe) -> None:
        self._app.change(view=keyframe.view, pad=keyframe.pad)

    def retime(self, keyframe: Keyframe, time_s: float) -> None:
        """Give a keyframe another time, which may be another place in the order."""
        with self._complaining():
            changed = replace(keyframe, time_s=round(time_s, 3))
            keyframes = [*self._without(keyframe), changed]
            self.change_path(keyframes=tuple(sorted(keyframes, key=lambda k: k.time_s)))

    def remove(self, keyframe: Keyframe) -> None:
        left = self._without(keyframe)
        if left:
            self.change_path(keyframes=left)
        else:
            self.path = None

    def load_path(self) -> None:
        from avatar_viewer.live.camera_path import read_path

        with self._complaining():
            path = read_path(_named(self.path_file, "path file"))
            self.fps = path.fps
            self._set_path(path)

    def save_path(self) -> None:
        from avatar_viewer.live.camera_path import write_path

        with self._complaining():
            if self.path is None:
                raise AvatarError("path: expected keyframes, found none")
            file = _named(self.path_file, "path file")
            write_path(replace(self.path, fps=self.fps), file)
            self._app.say(f"Saved {file}", file)

    # Movies.

    @property
    def sequence(self) -> ExpressionSequence | None:
        """In place of the pad's expressions: that of the timeline."""
        return self._app.timeline.sequence

    def load_sequence(self) -> None:
        """Open the file that was typed on the timeline; no name means no sequence."""
        timeline = self._app.timeline
        if self.sequence_file.strip():
            timeline.open(_named(self.sequence_file, "expressions"))
        else:
            timeline.close()
        self.sequence_file = timeline.file

    def record(self) -> None:
        """Have the movie rendered, picture by picture."""
        if (state := self._app.state) is None:
            return
        from avatar_viewer.live.export import Export, work

        with self._complaining():
            export = Export(
                session=state.session,
                out=self._new_file(),
                size_px=(self.width, self.height),
                fps=self.fps,
                duration_s=self.seconds,
                path=self.path,
                sequence=self.sequence,
                head_pose=self._app.timeline.turns_head,
                transparent=self.transparent,
            )
            self._app.start_task("Movie", work(export), export.out)

    def _follow_timeline(self) -> None:
        sequence = self.sequence
        if sequence is self._sequence:
            return
        self._sequence, self.sequence_file = sequence, self._app.timeline.file
        if sequence is not None:
            self._propose_length()
            if self.path is None:
                self.fps = sequence.header.fps

    def _play(self, now_s: float) -> None:
        """Follow the path; a hand on pad or view ends it."""
        app, state, path = self._app, self._app.state, self.path
        if PLAY not in app.opened or state is None:
            self._start_s = None
            return
        if path is None:
            app.opened.discard(PLAY)
            raise AvatarError("path: expected keyframes, found none")
        if self._start_s is None:
            self._start_s = now_s
        elif (state.session.view, state.session.pad) != self._put:
            app.opened.discard(PLAY)
            return
        played_s = now_s - self._start_s
        view, pad = path.at(played_s)
        app.change(view=view, pad=pad)
        self._put = state.session.view, state.session.pad
        if played_s >= path.duration_s and not path.loop:
            app.opened.discard(PLAY)

    def _record_live(self, now_s: float) -> None:
        app = self._app
        frame, state, wanted = app.live.frame, app.state, LIVE in app.opened
        if self.live is None and wanted and frame is not None:
            from avatar_viewer.live.live_recording import LiveRecording

            app.opened.discard(LIVE)
            height, width = frame.rgb.shape[:2]
            self.live = LiveRecording(self._new_file(), self.fps, (width, height), now_s)
            app.opened.add(LIVE)
        if (live := self.live) is None:
            return
        if not wanted:
            live.finish(now_s)
        elif frame is not None and state is not None:
            live.show(frame, state.session, now_s)
        if live.ended:
            self.live = None
            app.opened.discard(LIVE)
            if live.error:
                raise AvatarError(live.error)
            app.say(f"Saved {live.path} ({live.count} pictures)", live.path)

    def _new_file(self) -> Path:
        from avatar_viewer.live.screenshot import unused

        if not self.out.strip():
            return self._app.new_path(".mp4")
        return unused(_named(self.out, "file"))

    def _set_path(self, path: CameraPath) -> None:
        self.path = path
        self._propose_length()

    def _propose_length(self) -> None:
        from avatar_viewer.live.export import natural_duration_s

        self.seconds = natural_duration_s(self.path, self.sequence) or self.seconds

    def _without(self, keyframe: Keyframe) -> tuple[Keyframe, ...]:
        keyframes = self.path.keyframes if self.path is not None else ()
        return tuple(other for other in keyframes if other is not keyframe)

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """An AvatarError of the block is said."""
        try:
            yield
        except AvatarError as error:
            self._app.complain(str(error))


def _named(text: str, what: str) -> Path:
    if not text.strip():
        raise AvatarError(f"{what}: expected a name, found none")
    return Path(text.strip()).expanduser()
