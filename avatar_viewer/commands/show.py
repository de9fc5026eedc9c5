"""Commands that show an avatar, or say how fast it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avatar_viewer.commands.base import PROGRAM, Command, Optional, Source
from avatar_viewer.config import RuntimeName
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.live.moving import Film
from avatar_viewer.live.still import Picture


@dataclass(frozen=True, kw_only=True)
class View(Command):
    """Open the viewer."""

    ckpt: Annotated[
        str | None,
        tyro.conf.arg(metavar="FOLDER|HUB_ID", help_behavior_hint="(default: the last session's)"),
    ] = None
    """Avatar to load."""
    start: Annotated[Path | None, tyro.conf.arg(name="from", help_behavior_hint="(optional)")] = (
        None
    )
    """Return to this screenshot or session, and its avatar."""
    or_render: Annotated[Path | None, Optional] = None
    """Where there is no display: say so, and render the avatar to this PNG instead."""
    runtime: RuntimeName = "auto"
    """What runs the networks."""

    def run(self) -> None:
        from avatar_viewer.viewer.display import require_display

        try:
            require_display()
        except AvatarError as error:
            if self.or_render is None:
                raise
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            Render(out=self.or_render, picture=Picture(), film=Film(), ckpt=self.ckpt).run()
            return
        from avatar_viewer.live.renderable import load_avatar
        from avatar_viewer.viewer.window import run

        load = partial(load_avatar, runtime=self.runtime)
        session = None
        if self.start is not None:
            if self.ckpt is not None:
                raise AvatarError(f"--from: expected no --ckpt beside it, found {self.ckpt}")
            from avatar_viewer.live.screenshot import session_of

            session = session_of(self.start)
        run(self.ckpt, session=session, load=load, debug=self.debug)


@dataclass(frozen=True, kw_only=True)
class Render(Command):
    """Render one picture to a PNG, which carries its request and session as text, or a movie."""

    out: Annotated[Path | None, Optional] = None
    """The PNG to write."""
    video: Annotated[Path | None, Optional] = None
    """The movie to write instead: .mp4, .webm, .gif or .webp; or a PNG for each picture, by a name
    like shots/%04d.png or a folder without a suffix."""
    picture: Annotated[Picture, tyro.conf.arg(name="")]
    film: Annotated[Film, tyro.conf.arg(name="")]
    ckpt: Source = None
    """Avatar to load."""
    session: Annotated[Path | None, Optional] = None
    """Begin with all that this session (YAML, or a screenshot's) has chosen; --ckpt replaces the
    avatar that it names, and options of the picture what they say."""
    like: Annotated[Path | None, tyro.conf.arg(name="from", help_behavior_hint="(optional)")] = None
    """Make the picture of this screenshot again; --ckpt replaces the avatar that it names."""
    transparent: bool = False
    """Without background, where the avatar tells opacity; only to PNGs."""

    def run(self) -> None:
        options = {"start": self.session, "transparent": self.transparent}
        if self.out is not None and self.video is None:
            if found := ", ".join(f"--{name}" for name in self.film.chosen()):
                raise AvatarError(f"--out: expected only options of a picture, found {found}")
            from avatar_viewer.live.still import render_still

            render_still(self.picture, self.out, self.ckpt, like=self.like, **options)
            print(f"wrote {self.out}")
        elif self.video is not None and self.out is None:
            if self.like is not None:
                raise AvatarError(f"--video: expected --session, found --from {self.like}")
            from avatar_viewer.live.moving import render_movie

            print(render_movie(self.picture, self.film, self.video, self.ckpt, **options))
        else:
            found = "neither" if self.out is None else "both"
            raise AvatarError(f"--out, --video: expected one of them, found {found}")


@dataclass(frozen=True, kw_only=True)
class Mesh(Command):
    """Export the head in one expression; all expressions share faces and order of vertices."""

    out: Path
    """The .glb, .ply or .obj to write; in metres, y = up, z = front."""
    pad: Annotated[tuple[float, float], tyro.conf.arg(metavar="X Y")] = (0.5, 0.5)
    """Place on the expression pad: x to the right, y down, both in 0..1."""
    ckpt: Source = None
    """Avatar to load."""

    def run(self) -> None:
        from avatar_viewer.live.mesh_export import export_mesh

        export_mesh(self.out, self.pad, self.ckpt)
        print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Measure an avatar on this machine, beside the project's bounds."""

    ckpt: Source = None
    """Avatar to load."""
    config: Annotated[Literal["sd21"] | None, Optional] = None
    """Measure the paper's own sizes of networks with random weights, in place of an avatar. Without
    a GPU their work is counted, not timed."""
    runtime: RuntimeName = "auto"
    """What runs the networks."""
    against: bool = False
    """Measure reference settings in the same run: the undistilled denoiser in 20 steps with the
    autoencoder's whole decoder, networks in torch alone, nothing kept between pictures."""
    webcam: Annotated[Path | None, Optional] = None
    """Measure this alone: a video of a face, played in real time, drives the avatar as a camera."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""

    def run(self) -> None:
        if self.webcam is not None:
            self._run_webcam(self.webcam)
            return
        from avatar_viewer.live.bench.run import bench

        bench(
            self.ckpt,
            config=self.config,
            runtime=self.runtime,
            against=self.against,
            json_path=self.json,
        )

    def _run_webcam(self, video: Path) -> None:
        chosen = {"--config": self.config, "--against": self.against}
        if found := [name for name, value in chosen.items() if value]:
            raise AvatarError(f"--webcam: expected no {found[0]} beside it, found it")
        from avatar_viewer.live.bench.webcam import bench_webcam

        bench_webcam(video, self.ckpt, self.runtime, self.json)
