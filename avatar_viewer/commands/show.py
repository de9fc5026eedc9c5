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
            Render(out=self.or_render, picture=Picture(), ckpt=self.ckpt).run()
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
    """Render one picture to a PNG, which carries its whole request as text."""

    out: Path
    """The PNG to write."""
    picture: Annotated[Picture, tyro.conf.arg(name="")]
    ckpt: Source = None
    """Avatar to load."""
    like: Annotated[Path | None, tyro.conf.arg(name="from", help_behavior_hint="(optional)")] = None
    """Make the picture of this screenshot again; --ckpt replaces the avatar that it names."""

    def run(self) -> None:
        from avatar_viewer.live.still import render_still

        render_still(self.picture, self.out, self.ckpt, self.like)
        print(f"wrote {self.out}")


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
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""

    def run(self) -> None:
        from avatar_viewer.live.bench.run import bench

        bench(
            self.ckpt,
            config=self.config,
            runtime=self.runtime,
            against=self.against,
            json_path=self.json,
        )
