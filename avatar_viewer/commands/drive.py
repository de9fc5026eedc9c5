"""Commands that drive an avatar by somebody else's face."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from avatar_viewer.commands.base import Command, Optional, Source
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError

if TYPE_CHECKING:
    from avatar_viewer.expression.sequence import ExpressionSequence


@dataclass(frozen=True, kw_only=True)
class Transfer(Command):
    """Make an expression sequence for an avatar from a recording of another person."""

    out: Path
    """The .npz to write (docs/sequences.md)."""
    arkit: Annotated[Path | None, Optional] = None
    """A CSV of ARKit weights: a recording of Live Link Face, or a column for each unit."""
    meshes: Annotated[Path | None, Optional] = None
    """A folder of tracked meshes, OBJ or PLY, a frame each, of one topology; in the head model's
    axes: x to the subject's left, y up, z to the front."""
    video: Annotated[Path | None, Optional] = None
    """A video of a face, by the [transfer] extra. A run that was cut off goes on."""
    ckpt: Source = None
    """Avatar to drive."""
    neutral: Annotated[int | None, Optional] = None
    """Number of a frame in which the face rests, from 0. Weights are calibrated by it; of meshes it
    is the first one by default, of a video a unit rests at its least."""
    fps: Annotated[float | None, Optional] = None
    """Expressions in a second; by default the recording's, of meshes 30."""
    no_smoothing: bool = False
    """Leave the recording's trembling in."""
    unit: Literal["m", "dm", "cm", "mm"] = "m"
    """The meshes' unit of length."""
    landmarks: Annotated[Path | None, Optional] = None
    """YAML: anchor's name or number, and its place in the neutral mesh; the meshes may then lie
    anywhere."""
    face_model: Annotated[Path | None, Optional] = None
    """Of a video: MediaPipe's face_landmarker.task; by default that in the config folder's
    models."""
    render: Annotated[Path | None, Optional] = None
    """Render the avatar with it to this movie (.mp4, .webm, .gif, .webp) or folder of PNGs too."""
    size: Annotated[int | None, Optional] = None
    """Height of what --render writes, pixels; by default the avatar's own."""
    side_by_side: bool = False
    """Show the video beside the avatar in what --render writes."""

    def run(self) -> None:
        given = [name for name in ("arkit", "meshes", "video") if getattr(self, name) is not None]
        if len(given) != 1:
            found = ", ".join(f"--{name}" for name in given) or "none"
            raise AvatarError(f"--arkit, --meshes, --video: expected one of them, found {found}")
        if self.side_by_side and (self.render is None or self.video is None):
            missing = "--render" if self.render is None else "--video"
            raise AvatarError(f"--side-by-side: expected {missing} beside it, found none")
        if self.size is not None and self.render is None:
            raise AvatarError("--size: expected --render beside it, found none")
        if self.render is not None:
            from avatar_viewer.expression.transfer import MESH_FPS
            from avatar_viewer.live.movie import check_movie
            from avatar_viewer.live.still import Picture

            check_movie(self.render, self.fps or MESH_FPS)
            Picture(size=self.size).check()
        sequence = self._transferred()
        count, duration_s = len(sequence.codes), sequence.duration_s
        print(f"wrote {self.out} ({count} expressions, {duration_s:.1f} s)")
        if self.render is not None:
            print(self._rendered(sequence, self.render))

    def _transferred(self) -> ExpressionSequence:
        from avatar_viewer.expression.transfer import (
            Meshes,
            Options,
            transfer_meshes,
            transfer_units,
        )

        avatar = self.ckpt or DEMO_FOLDER
        options = Options(self.neutral, self.fps, not self.no_smoothing)
        if self.video is not None:
            from avatar_viewer.expression.from_video import transfer_video

            return transfer_video(
                self.video, self.out, avatar, options, self.face_model, print, progress_line()
            )
        if self.arkit is not None:
            return transfer_units(self.arkit, self.out, avatar, options)
        assert self.meshes is not None
        meshes = Meshes(self.meshes, self.unit, self.landmarks)
        return transfer_meshes(meshes, self.out, avatar, options, print)

    def _rendered(self, sequence: ExpressionSequence, out: Path) -> str:
        from avatar_viewer.live.still import Picture, open_avatar

        if self.side_by_side:
            from avatar_viewer.live.side_by_side import render_side_by_side

            assert self.video is not None
            avatar, session = open_avatar(self.ckpt)
            return render_side_by_side(
                self.video, sequence, avatar, session, out, self.size, progress_line()
            )
        from avatar_viewer.live.moving import Film, render_movie

        return render_movie(Picture(size=self.size), Film(sequence=self.out), out, self.ckpt)


def progress_line() -> Callable[[int, int], None]:
    """Shows on one line of stderr how many frames are done, of about how many."""
    from avatar_viewer.live.export import progress_text

    started_s = time.perf_counter()

    def tell(done: int, total: int) -> None:
        text = progress_text(done, total, time.perf_counter() - started_s)
        print(f"\r{text:40}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return tell
