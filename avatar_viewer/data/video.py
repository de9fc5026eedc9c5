"""Pictures of a video file, upright and at even times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from avatar_viewer.errors import AvatarError, one_line

if TYPE_CHECKING:
    import av

DEFAULT_FPS = 30.0
"""Of videos that do not tell."""
MOST_FPS = 60.0
MOST_SIDE_PX = 1280
"""Larger pictures are made smaller: a face shows no more of what is looked for."""


class Shown(NamedTuple):
    """A picture as it is in the file, and when it begins and ends, seconds from the first one's
    beginning."""

    begin_s: float
    end_s: float
    frame: av.VideoFrame


class VideoFile:
    """A video that can be read; raises AvatarError in one line for any other file.

    Phones write pictures at uneven times, and lying: here picture i is what was shown at i / `fps`
    seconds after the first, turned as the file says.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        """`fps` None takes the video's own rate on average, up to `MOST_FPS`."""
        if fps is not None and not 0 < fps <= MOST_FPS:
            raise AvatarError(f"fps: expected more than 0 and at most {MOST_FPS:g}, found {fps:g}")
        self.path = path
        with self._opened() as (container, stream):
            self._own_fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
            self.fps = fps or min(self._own_fps, MOST_FPS)
            duration_s = 0.0
            if stream.duration is not None and stream.time_base is not None:
                duration_s = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                duration_s = container.duration / 1e6
        self.count = max(1, round(duration_s * self.fps))
        """About how many pictures there are, for a progress bar."""

    def pictures(self, first: int = 0) -> Iterator[np.ndarray]:
        """uint8 [H,W,3] of each time from that of number `first` on.

        Raises AvatarError at the place where a video is damaged.
        """
        index, last = first, None
        for shown in self._shown():
            rgb = None
            while last is not None and (index + 0.5) / self.fps < shown.begin_s:
                rgb = upright(last.frame) if rgb is None else rgb
                yield rgb
                index += 1
            last = shown
        if last is None:
            raise AvatarError(f"{self.path}: expected a video, found no picture in it")
        rgb = upright(last.frame)
        while (index + 0.5) / self.fps < last.end_s or index == 0:
            yield rgb
            index += 1

    def _shown(self) -> Iterator[Shown]:
        with self._opened() as (container, stream):
            stream.thread_type = "AUTO"
            start_s, last_s = None, -1.0
            for frame in container.decode(stream):
                time_s = frame.time if frame.time is not None else last_s + 1 / self._own_fps
                start_s = time_s if start_s is None else start_s
                begin_s = time_s - start_s
                if begin_s <= last_s:
                    continue  # a broken clock, or the same time twice
                last_s = begin_s
                length_s = float((frame.duration or 0) * (frame.time_base or 0))
                yield Shown(begin_s, begin_s + max(length_s, 1 / self._own_fps), frame)

    @contextmanager
    def _opened(self) -> Iterator[tuple]:
        import av

        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise AvatarError(f"{self.path}: expected a video, found no pictures in it")
                yield container, container.streams.video[0]
        except (av.FFmpegError, OSError, ValueError) as error:
            found = getattr(error, "strerror", None) or one_line(error)
            raise AvatarError(f"{self.path}: expected a video, found: {found}") from error


def upright(frame: av.VideoFrame) -> np.ndarray:
    """uint8 [H,W,3], turned as the frame says, and no larger than `MOST_SIDE_PX`."""
    shrink = min(1, MOST_SIDE_PX / max(frame.width, frame.height))
    width, height = (max(1, round(side * shrink)) for side in (frame.width, frame.height))
    rgb = frame.reformat(width, height, "rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90) % 4))
