"""Pictures of a camera as they come: always the newest, never a queue."""

from __future__ import annotations

import errno
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from avatar_viewer.data.video import VideoFile, upright
from avatar_viewer.errors import AvatarError, one_line

if TYPE_CHECKING:
    from av.container import InputContainer

FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's names of what gives cameras, by `sys.platform`."""
WANTED = {"framerate": "30", "video_size": "640x480"}
"""What a camera is asked for first; one that knows no such mode gives its own."""
LINUX_DEVICES = Path("/sys/class/video4linux")
SILENT_S = 5.0
"""A camera without a picture for so long gives none any more."""
END_S = 1.0
"""How long `close` waits for the reading thread."""
_FOUND = {
    errno.ENOENT: "no such device",
    errno.ENODEV: "no such device",
    errno.ENXIO: "no such device",
    errno.EBUSY: "it in use by another program",
    errno.EACCES: "no permission to use it",
    errno.EPERM: "no permission to use it",
}

Convert = Callable[[], np.ndarray]
"""Makes uint8 [H,W,3] of a picture, only when that one is wanted."""


class Device(NamedTuple):
    """A camera that is there."""

    name: str
    """What opens it."""
    label: str
    """What people call it."""


class Picture(NamedTuple):
    """One picture of a camera."""

    rgb: np.ndarray
    """uint8 [H,W,3], upright."""
    taken_s: float
    """When the camera gave it, on the clock of `time.perf_counter`; of a file, when it was due."""
    number: int
    """How many there have been with it; more than one more than the last where some were missed."""


class VideoEnded(AvatarError):
    """A file in a camera's place has been played to its end."""


def devices() -> list[Device]:
    """The cameras that are there, as far as the system tells."""
    if sys.platform == "linux":
        return _linux_devices()
    import av

    listed = getattr(av, "enumerate_input_devices", None)  # of newer PyAV
    try:
        found = listed(FORMATS.get(sys.platform, "")) if listed is not None else []
    except (av.FFmpegError, OSError, ValueError):
        found = []
    return [Device(d.name, d.description or d.name) for d in found if "video" in d.media_types]


class CameraSource:
    """A camera, or a video file that is played in real time in a camera's place.

    A thread of its own reads; the newest picture waits for who asks, older ones are dropped.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of a device, its number, or a file's path; opening may take a second.

        Raises AvatarError in one line for a device that is not there, in use or forbidden.
        """
        self.name = name
        self._changed = threading.Condition()
        self._newest: tuple[Convert, float, int] | None = None
        self._ended: AvatarError | None = None
        self._stopping = threading.Event()
        path = Path(name).expanduser()
        if path.is_file():
            pictures = self._played(VideoFile(path))
        else:
            pictures = self._captured(_open_device(name))
        self._thread = threading.Thread(
            target=self._run, args=(pictures,), name="camera", daemon=True
        )
        self._thread.start()

    def newest(self, after: int = 0) -> Picture:
        """Wait for a picture of a higher number than `after`; the newest one.

        Raises VideoEnded, and AvatarError for a camera that was unplugged, or gives nothing.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._number > after, SILENT_S)
            if self._ended is not None:
                raise self._ended
            if self._newest is None or self._number <= after:
                expected = "pictures of the camera"
                raise AvatarError(
                    f"{self.name}: expected {expected}, found none for {SILENT_S:g} s"
                )
            convert, taken_s, number = self._newest
        return Picture(convert(), taken_s, number)

    def close(self) -> None:
        """Let the device go. One that hangs is left to its thread."""
        self._stopping.set()
        self._thread.join(END_S)

    @property
    def _number(self) -> int:
        return self._newest[2] if self._newest is not None else 0

    def _run(self, pictures: Iterator[tuple[Convert, float]]) -> None:
        try:
            for number, (convert, taken_s) in enumerate(pictures, 1):
                with self._changed:
                    self._newest = convert, taken_s, number
                    self._changed.notify_all()
                if self._stopping.is_set():
                    break
            ended: AvatarError = VideoEnded(f"{self.name}: the video has ended")
        except AvatarError as error:
            ended = error
        except Exception as error:
            ended = AvatarError(f"{self.name}: {type(error).__name__}: {one_line(error)}")
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _played(self, video: VideoFile) -> Iterator[tuple[Convert, float]]:
        """Each picture when it is due."""
        start_s = None
        for index, rgb in enumerate(video.pictures()):
            start_s = time.perf_counter() if start_s is None else start_s
            due_s = start_s + index / video.fps
            if self._stopping.wait(max(0.0, due_s - time.perf_counter())):
                return
            yield lambda rgb=rgb: rgb, due_s
        self._stopping.wait(1 / video.fps)

    def _captured(self, container: InputContainer) -> Iterator[tuple[Convert, float]]:
        import av

        found = "no more of them: it was unplugged, or another program took it"
        with container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # threads by frames would hold some of them back
            try:
                for frame in container.decode(stream):
                    yield lambda frame=frame: upright(frame), time.perf_counter()
            except (av.FFmpegError, OSError, ValueError) as error:
                raise AvatarError(
                    f"{self.name}: expected pictures of the camera, found {found}"
                ) from error
        raise AvatarError(f"{self.name}: expected pictures of the camera, found {found}")


def _open_device(name: str) -> InputContainer:
    import av

    given = name.strip()
    if not given:
        raise AvatarError("webcam: expected a device or a video file, found no name")
    url = _url(given)
    for options in (WANTED, {}):
        try:
            container = av.open(url, format=FORMATS.get(sys.platform), options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            problem = error
            if getattr(error, "errno", None) in _FOUND:
                break
            continue
        if container.streams.video:
            return container
        container.close()
        problem = ValueError("no pictures")
    raise AvatarError(
        f"{given}: expected a camera or a video file, found {_found(problem)}"
    ) from problem


def _url(name: str) -> str:
    """What FFmpeg opens: devices may be given by number too."""
    if sys.platform == "linux":
        return f"/dev/video{name}" if name.isdigit() else name
    if name.isdigit() and int(name) < len(found := devices()):
        name = found[int(name)].name
    return f"video={name}" if sys.platform == "win32" else name


def _found(problem: BaseException) -> str:
    number = getattr(problem, "errno", None)
    text = _FOUND.get(number or 0)
    if text is None:  # macOS and Windows tell no reason
        return f"none that opens ({getattr(problem, 'strerror', None) or one_line(problem)})"
    if number in (errno.EACCES, errno.EPERM) and sys.platform == "linux":
        text += "; add yourself to the group video"
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        there = ", ".join(device.name for device in devices())
        text += f"; there is {there or 'no camera'}"
    return text


def _linux_devices() -> list[Device]:
    """By the kernel's list; a camera's further nodes, which give no pictures, have an index."""
    found = []
    try:
        for folder in LINUX_DEVICES.iterdir():
            index = folder / "index"
            if not index.is_file() or index.read_text().strip() == "0":
                label = (folder / "name").read_text().strip()
                found.append(Device(f"/dev/{folder.name}", label))
    except OSError:
        pass  # what was unplugged meanwhile, or no such list
    return sorted(found, key=lambda device: int(re.sub(r"\D", "", device.name) or 0))
