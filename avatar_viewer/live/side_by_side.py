"""A movie of a video of somebody, and beside it the avatar that it drives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence
from avatar_viewer.live.export import Export
from avatar_viewer.live.movie import open_movie
from avatar_viewer.live.renderable import Renderable
from avatar_viewer.live.session import Session


def render_side_by_side(
    video: Path,
    sequence: ExpressionSequence,
    avatar: Renderable,
    session: Session,
    out: Path,
    height_px: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write the movie, as `live.movie` does; the closing line.

    `height_px` is the avatar's own by default. The avatar's head turns as that in the video. The
    video's pictures are taken at the sequence's times. Where the video is damaged further on,
    the movie ends.
    """
    size_px, fps = height_px or avatar.info.resolution_px, sequence.header.fps
    sequence.expect_dim(avatar.info.expression_dim, avatar.info.name)
    export = Export(
        session=session,
        out=out,
        size_px=(size_px, size_px),
        fps=fps,
        duration_s=sequence.duration_s,
        sequence=sequence,
        head_pose=sequence.head_pose_deg is not None,
    )
    pictures = VideoFile(video, fps).pictures()
    sources = [beside(next(pictures), size_px)]
    width_px = sources[0].shape[1] + size_px
    count = 0
    with open_movie(out, fps, (width_px, size_px)) as write:
        for index in range(export.count):
            request = export.request(index, avatar.expressions)
            frame = avatar.render(request, lambda: False)
            write(np.concatenate([sources.pop(), export.pixels(frame)], axis=1))
            count = index + 1
            progress(count, export.count)
            try:
                sources.append(beside(next(pictures), size_px))
            except (StopIteration, AvatarError):
                break
    return f"Saved {out} ({count} {'picture' if count == 1 else 'pictures'})"


def beside(rgb: np.ndarray, height_px: int) -> np.ndarray:
    """A picture, uint8 [H,W,3], scaled to this height."""
    width_px = max(1, round(rgb.shape[1] * height_px / rgb.shape[0]))
    if rgb.shape[:2] == (height_px, width_px):
        return rgb
    scaled = Image.fromarray(rgb).resize((width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(scaled)
