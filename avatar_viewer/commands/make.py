"""Commands that make data, models and codes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avatar_viewer.commands.base import Command, Optional
from avatar_viewer.config import DEMO_FOLDER


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a model; a run that was cut off goes on."""

    model: tyro.conf.Positional[Literal["head", "vae", "prior", "avatar", "decoder", "distill"]]
    """Which one."""
    config: Path
    """YAML; its fields are described by the dataclass that the training module reads."""

    def run(self) -> None:
        from avatar_viewer.config import read_config

        if self.model == "head":
            from avatar_viewer.training.head import HeadTraining, train_head

            train_head(read_config(self.config, HeadTraining))
        elif self.model == "decoder":
            from avatar_viewer.training.decoder import train_decoder
            from avatar_viewer.training.decoder_settings import DecoderTraining

            train_decoder(read_config(self.config, DecoderTraining))
        elif self.model == "distill":
            from avatar_viewer.training.distill import DistillTraining, train_distill

            train_distill(read_config(self.config, DistillTraining))
        elif self.model == "vae":
            from avatar_viewer.training.vae import VaeTraining, train_vae

            train_vae(read_config(self.config, VaeTraining))
        elif self.model == "prior":
            from avatar_viewer.training.prior import PriorTraining, train_prior

            train_prior(read_config(self.config, PriorTraining))
        else:
            from avatar_viewer.training.avatar import train_avatar
            from avatar_viewer.training.avatar_settings import AvatarTraining

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
    split: Literal["train", "val", "test", "sequence", "footage"] = "train"
    """`sequence`: moving pictures, 48 frames each, in the order of their ids. `footage`: 96 frames
    of talk each, seen from the front, and their video footage.mp4 (for `evaluate transfer`)."""
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
    stranger: Annotated[int | None, Optional] = None
    """Draw a random adult by this seed, as for `train prior`."""
    blender_python: Annotated[Path | None, Optional] = None
    """A Python interpreter that has bpy and scipy, if this one has not."""

    def run(self) -> None:
        from avatar_viewer.data.synthesis.run import Synthesis, synthesize

        options = {entry.name: getattr(self, entry.name) for entry in fields(Synthesis)}
        synthesize(Synthesis(**options))
        if self.split == "footage":
            from avatar_viewer.live.footage import write_footage

            print(write_footage(self.out))


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
