"""A movie without a window: what `avatar-viewer render --video` does."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.still import Picture, open_avatar

DEFAULT_FPS = 25.0
MOVED = ("pad", "azimuth", "elevation", "distance", "fov")
"""Options of a picture that a path decides."""


@dataclass(frozen=True)
class Film:
    """What moves in a movie, as options of the command line."""

    path: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(optional)")] = None
    """Way of camera and pad to follow, as the window saves it (YAML)."""
    sequence: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(optional)")] = None
    """Expressions in place of the pad's (.npz)."""
    head_pose: bool = False
    """Turn the head as the sequence says."""
    fps: Annotated[
        float | None,
        tyro.conf.arg(help_behavior_hint=f"(default: the path's, the sequence's, {DEFAULT_FPS:g})"),
    ] = None
    """Pictures a second."""
    seconds: Annotated[
        float | None, tyro.conf.arg(help_behavior_hint="(default: as path and sequence)")
    ] = None
    """Length of the movie."""

    def chosen(self) -> list[str]:
        """The names of the options that were given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return [
            name.replace("_", "-")
            for name, value in values.items()
            if not (value is None or value is False)
        ]

    def check(self, picture: Picture) -> None:
        """Raise AvatarError, naming the option, for what makes no movie of this picture."""
        if not (self.path or self.sequence or self.seconds is not None):
            raise AvatarError("--video: expected --path, --sequence or --seconds, found none")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise AvatarError(f"--seconds: expected more than 0, found {self.seconds:g}")
        if self.head_pose and self.sequence is None:
            raise AvatarError("--head-pose: expected --sequence too, found none")
        decided = MOVED if self.path else MOVED[:1] if self.sequence else ()
        if found := [f"--{name}" for name in decided if name in picture.chosen()]:
            by = "--path" if self.path else "--sequence"
            raise AvatarError(f"{by}: expected nothing that it decides, found {', '.join(found)}")


def render_movie(
    picture: Picture,
    film: Film,
    out: Path,
    source: str | None = None,
    *,
    start: Path | None = None,
    transparent: bool = False,
) -> str:
    """Render a movie, or PNGs; the closing line.

    `source`, `start` and `transparent` as of `live.still.render_still`; kinds of movies as of
    `live.movie`. Progress goes to stderr. Raises AvatarError before any rendering for what cannot
    be.
    """
    picture.check()
    film.check(picture)
    from avatar_viewer.live.movie import check_movie

    check_movie(out, DEFAULT_FPS if film.fps is None else film.fps, transparent)

    from avatar_viewer.expression.sequence import load_sequence
    from avatar_viewer.live.camera_path import read_path
    from avatar_viewer.live.export import Export, natural_duration_s, progress_text, run_export
    from avatar_viewer.live.screenshot import session_of

    path = None if film.path is None else read_path(film.path)
    sequence = None if film.sequence is None else load_sequence(film.sequence)
    session = None if start is None else session_of(start)
    duration_s = film.seconds or natural_duration_s(path, sequence)
    if duration_s == 0:
        raise AvatarError(f"{film.path}: expected more than one keyframe or --seconds, found one")
    rates = (film.fps, path and path.fps, sequence and sequence.header.fps, DEFAULT_FPS)
    avatar, session = open_avatar(source, session)
    size_px = picture.size_px(avatar.info)
    export = Export(
        session=picture.applied(session),
        out=out,
        size_px=(size_px, size_px),
        fps=next(rate for rate in rates if rate),
        duration_s=duration_s,
        path=path,
        sequence=sequence,
        head_pose=film.head_pose,
        transparent=transparent,
    )

    def tell(done: int, total: int, elapsed_s: float) -> None:
        text = progress_text(done, total, elapsed_s)
        print(f"\r{text:40}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return run_export(avatar, export, tell)
