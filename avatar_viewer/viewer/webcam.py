"""A face in front of a camera that moves the expression; it knows no widgets, and outlives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer.driver import Driven

# The window shows itself before torch is imported; what needs it is imported where it is used.
if TYPE_CHECKING:
    from avatar_viewer.data.camera_source import Device
    from avatar_viewer.expression.live_face import Rest
    from avatar_viewer.expression.live_tracker import (
        Camera,
        LiveFaceTracker,
        LiveTrack,
        LiveTracker,
    )
    from avatar_viewer.viewer.app import ViewerApp

WEBCAM = "webcam"
"""Name in `ViewerApp.opened` of the window that shows it."""
CLOSING_S = 2.0
"""How long is waited for a thread that lets go of its camera."""


def open_camera(name: str) -> Camera:
    """The camera of that name; raises AvatarError."""
    from avatar_viewer.data.camera_source import CameraSource

    return CameraSource(name)


def open_tracker() -> LiveFaceTracker:
    """MediaPipe; raises AvatarError where it or its model is missing."""
    from avatar_viewer.expression.face_tracker import FaceLandmarker

    return FaceLandmarker()


class Webcam:
    """A camera, its face, and how that drives the avatar: a `Driver`."""

    def __init__(
        self,
        app: ViewerApp,
        open_camera: Callable[[str], Camera] = open_camera,
        open_tracker: Callable[[], LiveFaceTracker] = open_tracker,
    ) -> None:
        self._app = app
        self._open_camera, self._open_tracker = open_camera, open_tracker
        self.device = ""
        """The name or number of a camera, or a video file; empty: the first camera."""
        self.turns_head = False
        """Whether the head follows that in front of the camera."""
        self._tracker: LiveTracker | None = None
        self._source = ""
        self._rest: Rest | None = None
        self.is_on = False
        """Whether it follows a camera."""
        self.problem = ""
        """Why it could not go on, until it is started again."""
        self._shown: tuple[int, bool] | None = None

    @property
    def is_moving(self) -> bool:
        return self.is_on

    @property
    def track(self) -> LiveTrack | None:
        """What is seen, or was seen last; None until it is started for the first time."""
        return None if self._tracker is None else self._tracker.poll()

    def devices(self) -> list[Device]:
        """The cameras that are there."""
        from avatar_viewer.data.camera_source import devices

        return devices()

    def start_or_stop(self) -> None:
        """Stopping leads back to the pad."""
        if self.is_on:
            self._app.stop_driving()
        else:
            self.start()

    def start(self) -> None:
        """Follow the camera; what was tracked before is forgotten."""
        if (state := self._app.state) is None:
            return
        from avatar_viewer.expression.live_tracker import LiveTracker

        if (arkit_map := state.space.units) is None:
            expected = "an avatar with an ARKit map"
            self._app.complain(f"{state.info.name}: expected {expected}, found none")
            return
        there = () if self.device.strip() else self.devices()
        name = self.device.strip() or next((device.name for device in there), "")
        if not name:
            self._app.complain("webcam: expected a camera or a video file, found no camera")
            return
        self._app.drive_by(self)
        self.stop()
        self._source, self.is_on, self._shown, self.problem = name, True, None, ""
        self._app.opened.add(WEBCAM)
        before = self._tracker

        def camera() -> Camera:
            if before is not None:
                before.join(CLOSING_S)  # it may have to let go of the same one
            return self._open_camera(name)

        self._tracker = LiveTracker(camera, self._open_tracker, arkit_map, self._rest)

    def advance(self, now_s: float) -> Driven | None:
        """The newest expression; once the camera has ended, its last one stays."""
        if (track := self.track) is None or not self.is_on:
            return None
        if track.ended is not None:
            self._end(track.ended, track.codes)
            return None
        wanted = (track.codes, self.turns_head)
        if track.live is None or wanted == self._shown:
            return None
        self._shown = wanted
        return Driven(track.live.expression, track.live.head_pose_deg if self.turns_head else None)

    def stop(self) -> None:
        """What was tracked can still be kept."""
        self.is_on = False
        if self._tracker is not None:
            self._tracker.stop()

    def take_neutral(self) -> None:
        """From now on the face rests, and looks ahead, as it does now."""
        if self._tracker is None or not self.is_on:
            self._app.complain("neutral: expected a face in front of the camera, found it off")
            return
        try:
            self._rest = self._tracker.take_neutral()
        except AvatarError as error:
            self._app.complain(str(error))
        else:
            self._app.say("The face rests as it was just now")

    def keep(self) -> None:
        """Write what was tracked as an expression sequence, by the preferences' name."""
        from avatar_viewer.expression.sequence import SUFFIX, save_sequence

        path = self._app.new_path(SUFFIX)
        try:
            if self._tracker is None:
                raise AvatarError("webcam: expected a face that was tracked, found none")
            sequence = self._tracker.sequence(self._source)
            save_sequence(sequence, path)
        except AvatarError as error:
            self._app.complain(str(error))
        else:
            self._app.say(f"Saved {path} ({sequence.duration_s:.1f} s)", path)

    def close(self) -> None:
        """The window is closing."""
        self.stop()
        if self._tracker is not None:
            self._tracker.join(CLOSING_S)

    def _end(self, ended: AvatarError, codes: int) -> None:
        from avatar_viewer.data.camera_source import VideoEnded

        self.is_on = False
        if isinstance(ended, VideoEnded):
            self._app.say(str(ended))
        else:
            self.problem = str(ended)
            self._app.complain(self.problem)
        if codes == 0:
            self._app.stop_driving()
