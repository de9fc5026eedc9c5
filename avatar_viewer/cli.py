"""The command line: each command is one lazy import and one call.

Nothing heavy is imported here, so that `--help` and the window come at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avatar_viewer import __version__
from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.errors import AvatarError, in_lines, one_line
from avatar_viewer.live.still import Picture

PROGRAM = "avatar-viewer"
DESCRIPTION = """A real-time viewer of diffusion-rendered 3D head avatars.

Without a command it opens the viewer: `avatar-viewer [--ckpt ...]` is `avatar-viewer view ...`.
`avatar-viewer --version` prints the version.
"""

Source = Annotated[
    str | None,
    tyro.conf.arg(metavar="FOLDER|HUB_ID", help_behavior_hint="(default: the embedded avatar)"),
]
Optional = tyro.conf.arg(help_behavior_hint="(optional)")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has."""

    debug: bool = False
    """Show tracebacks of errors."""

    def run(self) -> None:
        """Do it; raises AvatarError for what the person can mend."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class View(Command):
    """Open the viewer."""

    ckpt: Source = None
    """Avatar to load."""
    or_render: Annotated[Path | None, Optional] = None
    """Where there is no display: say so, and render the avatar to this PNG instead."""

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
        from avatar_viewer.viewer.window import run

        run(self.ckpt or str(DEMO_FOLDER), debug=self.debug)


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
class Train(Command):
    """Train a model; a run that was cut off goes on."""

    model: tyro.conf.Positional[Literal["head", "vae", "prior", "avatar"]]
    """Which one."""
    config: Path
    """YAML; its fields are described by the dataclass that the training module reads."""

    def run(self) -> None:
        from avatar_viewer.config import read_config

        if self.model == "head":
            from avatar_viewer.training.head import HeadTraining, train_head

            train_head(read_config(self.config, HeadTraining))
        elif self.model == "vae":
            from avatar_viewer.training.vae import VaeTraining, train_vae

            train_vae(read_config(self.config, VaeTraining))
        elif self.model == "prior":
            from avatar_viewer.training.prior import PriorTraining, train_prior

            train_prior(read_config(self.config, PriorTraining))
        else:
            from avatar_viewer.training.avatar import AvatarTraining, train_avatar

            train_avatar(read_config(self.config, AvatarTraining))


@dataclass(frozen=True, kw_only=True)
class Data(Command):
    """Make training data: registered synthetic heads, by the [synthetic] extra.

    `avatar-viewer data synthesize` makes pictures of a synthetic person.
    """

    kind: tyro.conf.Positional[Literal["heads"]]
    """What to make."""
    out: Path
    """Folder to write; heads that are already there are kept."""
    identities: int = 48
    """How many heads."""
    expressions: int = 12
    """Expressions of each head."""
    seed: int = 0
    """Of the sampling."""
    held_out: int = 0
    """How many of the heads, the last ones, are kept from training for `evaluate head`."""
    person: Annotated[Path | None, Optional] = None
    """A data set's folder: its person becomes head 0, with ten times the expressions."""

    def run(self) -> None:
        from avatar_viewer.data.heads import sample_heads

        sample_heads(
            self.out, self.identities, self.expressions, self.seed, self.held_out, self.person
        )


@dataclass(frozen=True, kw_only=True)
class DataImport(Command):
    """Convert a real capture with tracked meshes to the data set format (docs/data.md)."""

    kind: tyro.conf.Positional[Literal["nersemble", "nerfstudio"]]
    """Its layout."""
    source: Path
    """One person's folder, or a transforms.json."""
    out: Path
    """Folder to write; it must not be there yet."""
    size: int = 512
    """Side of the pictures to write, pixels."""
    crop: float = 1.0
    """Part of each picture's extent, around the principal point, that is kept."""
    every: int = 1
    """Take every n-th time step of a sequence."""
    held_out_sequences: tuple[str, ...] = ()
    """Sequences kept for the test split."""
    held_out_camera: Annotated[str | None, Optional] = None
    """Camera kept for the test split; with sequences too, test has what both hold out."""
    mesh_tracking: str = "NPHM"
    """nersemble: the folder of annotations/tracking with the meshes."""
    pose_tracking: str = "FLAME"
    """nersemble: the folder of annotations/tracking with tracked_flame_params.npz."""

    def run(self) -> None:
        from avatar_viewer.data.capture import ImportOptions, write_capture
        from avatar_viewer.data.nerfstudio import read_nerfstudio
        from avatar_viewer.data.nersemble import Tracking, read_nersemble

        options = ImportOptions(
            self.size, self.crop, self.every, self.held_out_sequences, self.held_out_camera
        )
        if self.kind == "nersemble":
            tracking = Tracking(self.mesh_tracking, self.pose_tracking)
            capture = read_nersemble(self.source, tracking)
        else:
            capture = read_nerfstudio(self.source)
        write_capture(capture, self.out, options)


@dataclass(frozen=True, kw_only=True)
class Synthesize(Command):
    """Draw a data set of a synthetic person, by the [synthetic] extra and Blender.

    A run that was cut off goes on; a data set that is there already is extended.
    """

    out: Path
    """Folder to write; a person that is there already (person.json) is kept."""
    frames: int
    """How many frames of the split, over all shards; those that are there are kept."""
    split: Literal["train", "val", "test", "sequence"] = "train"
    """`sequence`: moving pictures, 48 frames each, in the order of their ids."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1"
    """Draw part I of N only, for a job of several; each part lists its frames in its own file."""
    seed: int = 0
    """Of expressions and cameras; another seed gives other frames beside those there."""
    size: int = 512
    """Width and height, pixels."""
    samples: int = 8
    """Of light, a pixel."""
    workers: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: one a core)")] = None
    """Processes of Blender."""
    person: Annotated[Path | None, Optional] = None
    """A person.json: draw this person instead of the project's."""
    blender_python: Annotated[Path | None, Optional] = None
    """A Python interpreter that has bpy and scipy, if this one has not."""

    def run(self) -> None:
        from avatar_viewer.data.synthesis.run import Synthesis, synthesize

        options = {entry.name: getattr(self, entry.name) for entry in fields(Synthesis)}
        synthesize(Synthesis(**options))


@dataclass(frozen=True, kw_only=True)
class Import(Command):
    """Convert the public checkpoints of NPHM to a head model's folder."""

    kind: tyro.conf.Positional[Literal["nphm"]]
    """What they are."""
    identity: Path
    """Torch checkpoint of the identity network."""
    expression: Path
    """Torch checkpoint of the deformation network."""
    anchors: Path
    """The mean anchors, a .npy file."""
    out: Path
    """Folder to write; it must not be there yet."""

    def run(self) -> None:
        from avatar_viewer.head.nphm_import import import_nphm

        import_nphm(self.identity, self.expression, self.anchors, self.out)
        print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Fit(Command):
    """Find the codes of a scanned head: a mesh or a point cloud, without correspondences."""

    scan: Path
    """Mesh or points, in the head model's axes: PLY, OBJ, GLB, STL and others."""
    out: Path
    """The .safetensors to write: identity, expression, and how the scan was moved."""
    head: Path = DEMO_FOLDER / "head"
    """Folder of a trained head model with its codes; by default the embedded avatar's."""
    unit: Literal["m", "dm", "cm", "mm"] = "m"
    """The scan's unit of length."""
    landmarks: Annotated[Path | None, Optional] = None
    """YAML: anchor's name or number, and its place in the scan; the scan may then lie anywhere."""
    identity: Annotated[Path | None, Optional] = None
    """A file with the identity of a known person: only the expression is fitted."""
    canonical: bool = False
    """The scan is in the head model's canonical pose: only the identity is fitted."""

    def run(self) -> None:
        from avatar_viewer.expression.fit import fit_file

        fit = fit_file(
            self.scan,
            self.out,
            self.head,
            unit=self.unit,
            landmarks=self.landmarks,
            identity=self.identity,
            canonical=self.canonical,
        )
        known = fit.residual_mm[~fit.residual_mm.isnan()]
        print(
            f"distance of the scan from the fitted surface: mean {known.mean():.2f} mm, "
            f"95 % below {known.quantile(0.95):.2f} mm\nwrote {self.out}"
        )


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Measure an avatar on this machine, beside the project's bounds."""

    ckpt: Source = None
    """Avatar to load."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""

    def run(self) -> None:
        from avatar_viewer.live.bench import bench

        bench(self.ckpt, self.json)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Compare an avatar's pictures with true frames: PSNR, SSIM, FLIP, JOD and others."""

    data: Path
    """A data set's folder."""
    ckpt: Source = None
    """Avatar to load."""
    split: str = "test"
    """Which of the data set's splits."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""
    sheet: Annotated[Path | None, Optional] = None
    """Write the true pictures with the avatar's below to this PNG, WebP or JPEG."""
    sheet_size: int = 128
    """Height of each picture of the sheet, in pixels."""
    fps: float = 24.0
    """Frames per second of a split that is a sequence."""
    landmarks: Annotated[Path | None, Optional] = None
    """A .task file of MediaPipe's face landmarker: measure distances of landmarks too."""

    def run(self) -> None:
        from avatar_viewer.evaluation.images import evaluate
        from avatar_viewer.evaluation.sheet import SheetOptions

        sheet = None if self.sheet is None else SheetOptions(self.sheet, self.sheet_size)
        evaluate(self.ckpt, self.data, self.split, self.json, sheet, self.fps, self.landmarks)


@dataclass(frozen=True, kw_only=True)
class EvaluateAblation(Command):
    """Train and evaluate the paper's ablation: an avatar without each of the method's parts."""

    config: Path
    """YAML file of settings."""
    out: Path
    """The runs' folder; what is finished in it is not done again."""
    results: Annotated[Path | None, Optional] = None
    """Write the results to this Markdown file, with a sheet for each split beside it."""

    def run(self) -> None:
        from avatar_viewer.config import read_config
        from avatar_viewer.evaluation.ablation import Ablation, run_ablation

        run_ablation(read_config(self.config, Ablation), self.out, self.results)


@dataclass(frozen=True, kw_only=True)
class EvaluateHead(Command):
    """Fit heads that a head model was not trained on, and print the errors beside their bounds."""

    heads: Path
    """Folder that `data heads --held-out` wrote."""
    head: Path = DEMO_FOLDER / "head"
    """Folder of a trained head model with its codes; by default the embedded avatar's."""
    people: Annotated[int | None, Optional] = None
    """Only so many of the held-out heads."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""

    def run(self) -> None:
        from avatar_viewer.evaluation.head import evaluate_head

        evaluate_head(self.head, self.heads, self.people, self.json)


# An option is left out instead of given as None; --debug has no --no-debug.
STYLE = (tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff)
COMMANDS = {
    "view": View,
    "render": Render,
    "mesh": Mesh,
    "train": Train,
    "data": Data,
    "data import": DataImport,
    "data synthesize": Synthesize,
    "import": Import,
    "fit": Fit,
    "bench": Bench,
    "evaluate": Evaluate,
    "evaluate head": EvaluateHead,
    "evaluate ablation": EvaluateAblation,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 2 for an AvatarError, said in one line for each problem."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:  # which may stand before the command too
        words = [*(word for word in words if word != "--debug"), "--debug"]
    if "--version" in words:
        print(f"{PROGRAM} {__version__}")
        return 0
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "view")
    if (two_words := " ".join(words[:2])) in COMMANDS:
        words[:2] = [two_words]
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog=PROGRAM, description=DESCRIPTION, args=words, config=STYLE
    )
    try:
        command.run()
    except AvatarError as error:
        if command.debug:
            traceback.print_exc()
        print(f"{PROGRAM}: error: {in_lines(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
