"""What a window shows as a movie at an even rate, written by a thread of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.live.compose import composited
from avatar_viewer.live.movie import Size, check_movie, open_movie

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session
    from avatar_viewer.stages import Frame

MOST_WAITING = 50
"""Pictures that wait to be written; while there are so many, new ones are left out, and the one
before them lasts longer."""


class LiveRecording:
    """One movie while it is being recorded; all methods return at once, but for `join`."""

    def __init__(self, path: Path, fps: float, size_px: Size, start_s: float) -> None:
        """Pictures of another size than `size_px` (width, height) are resized.

        Times are on any one clock. Raises AvatarError for what could not be written.
        """
        check_movie(path, fps)
        self.path = path
        self.count = 0
        """Of the movie's pictures so far."""
        self.error = ""
        """Why nothing could be written, in one line."""
        self.fps, self._size_px, self._start_s = fps, size_px, start_s
        self._shown: tuple[Frame, Session] | None = None
        self._finished = False
        self._waiting: SimpleQueue[tuple[Frame, Session, int] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the movie is there, or `error` says why it is not."""
        return not self._thread.is_alive()

    def show(self, frame: Frame, session: Session, now_s: float) -> None:
        """From now on this is to be seen; until now it was what came before."""
        if self._waiting.qsize() < MOST_WAITING:
            self._hand_over(int((now_s - self._start_s) * self.fps))
        self._shown = frame, session

    def finish(self, now_s: float) -> None:
        """Nothing more is to be seen."""
        if not self._finished:
            self._hand_over(max(1, int((now_s - self._start_s) * self.fps)))
            self._waiting.put(None)
            self._finished = True

    def join(self) -> None:
        """Wait until it has ended, after `finish`."""
        self._thread.join()

    def _hand_over(self, due: int) -> None:
        """See that the movie has so many pictures."""
        if self._shown is not None and due > self.count and not self._finished:
            self._waiting.put((*self._shown, due - self.count))
            self.count = due

    def _run(self) -> None:
        try:
            with open_movie(self.path, self.fps, self._size_px) as write:
                while (item := self._waiting.get()) is not None:
                    frame, session, times = item
                    pixels = composited(frame, session)
                    if pixels.shape[1::-1] != self._size_px:
                        pixels = np.asarray(Image.fromarray(pixels).resize(self._size_px))
                    for _ in range(times):
                        write(pixels)
        except AvatarError as error:
            self.error = one_line(error)
        except Exception as error:
            self.error = f"{self.path}: {type(error).__name__}: {one_line(error)}"
