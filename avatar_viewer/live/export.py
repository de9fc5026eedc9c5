"""A session as a movie: along a camera path, an expression sequence, or both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.camera_path import CameraPath
from avatar_viewer.live.compose import composited, with_alpha
from avatar_viewer.live.movie import check_movie, open_movie
from avatar_viewer.live.renderable import Renderable
from avatar_viewer.live.session import Session
from avatar_viewer.live.task import Pieces, Work
from avatar_viewer.stages import MAX_SIZE_PX, Frame, RenderRequest

Progress = Callable[[int, int, float], None]
"""Hears the pictures done, all of them, and the seconds since the first one was begun."""


@dataclass(frozen=True)
class Export:
    """What goes into a movie; each picture is rendered as the window's at rest."""

    session: Session
    out: Path
    """See `live.movie`."""
    size_px: tuple[int, int]
    """Width and height."""
    fps: float
    duration_s: float
    path: CameraPath | None = None
    """In place of the session's view and pad."""
    sequence: ExpressionSequence | None = None
    """In place of the pad's expression, and moved by the session's sliders as that is; it begins
    anew where it is shorter than the movie."""
    head_pose: bool = False
    """Whether the head is turned as the sequence says."""
    transparent: bool = False
    """Without the background, where the avatar tells opacity; only as PNGs."""

    def __post_init__(self) -> None:
        if not 0 < self.duration_s < math.inf:
            raise AvatarError(f"duration: expected more than 0 s, found {self.duration_s:g}")
        if not all(1 <= side <= MAX_SIZE_PX for side in self.size_px):
            found = " x ".join(map(str, self.size_px))
            raise AvatarError(f"size: expected 1 to {MAX_SIZE_PX} pixels a side, found {found}")

    @property
    def count(self) -> int:
        """Of pictures."""
        return max(1, round(self.duration_s * self.fps))

    def request(self, index: int, space: ExpressionSpace) -> RenderRequest:
        """That of one picture."""
        time_s, session = index / self.fps, self.session
        if self.path is not None:
            view, pad = self.path.at(time_s)
            session = replace(session, view=view, pad=pad)
        if (sequence := self.sequence) is not None:
            within_s = time_s % sequence.duration_s
            pose = sequence.head_pose_at(within_s) if self.head_pose else None
            session = replace(session, driven=sequence.at(within_s), head_pose_deg=pose)
        return session.request(space, *self.size_px)

    def pixels(self, frame: Frame) -> np.ndarray:
        """What is written of a picture: uint8 [H,W,3] or [H,W,4]."""
        return with_alpha(frame) if self.transparent else composited(frame, self.session)


def work(export: Export) -> Work:
    """A task that writes the movie, one picture a piece.

    Raises AvatarError now for what could not be written later.
    """
    check_movie(export.out, export.fps, export.transparent)

    def pieces(avatar: Renderable) -> Pieces:
        if export.sequence is not None:
            export.sequence.expect_dim(avatar.info.expression_dim, avatar.info.name)
        count = export.count
        with open_movie(export.out, export.fps, export.size_px) as write:
            for index in range(count):
                request = export.request(index, avatar.expressions)
                write(export.pixels(avatar.render(request, lambda: False)))
                yield index + 1, count
        return f"Saved {export.out} ({count} {'picture' if count == 1 else 'pictures'})"

    return pieces


def run_export(avatar: Renderable, export: Export, progress: Progress) -> str:
    """Write the movie at once; the closing line."""
    started_s = time.perf_counter()
    with closing(work(export)(avatar)) as pieces:
        while True:
            try:
                done, total = next(pieces)
            except StopIteration as ended:
                return ended.value
            progress(done, total, time.perf_counter() - started_s)


def natural_duration_s(path: CameraPath | None, sequence: ExpressionSequence | None) -> float:
    """The longer one's; 0 without either."""
    return max((part.duration_s for part in (path, sequence) if part is not None), default=0.0)


def progress_text(done: int, total: int, elapsed_s: float) -> str:
    """Such as "12 of 100, 1:05 left"."""
    if done == 0:
        return f"0 of {total}"
    left_s = math.ceil(elapsed_s / done * (total - done))
    return f"{done} of {total}, {left_s // 60}:{left_s % 60:02} left"
