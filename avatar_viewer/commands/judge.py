"""Commands that say how good an avatar or a head model is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from avatar_viewer.commands.base import Command, Optional, Source
from avatar_viewer.config import DEMO_FOLDER


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
class EvaluateDistillation(Command):
    """Compare an avatar's student with its teacher, by denoising steps."""

    data: Path
    """A data set's folder."""
    ckpt: Source = None
    """Avatar to load."""
    splits: tuple[str, ...] = ("test",)
    """Which of the data set's splits."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""
    results: Annotated[Path | None, Optional] = None
    """Write them as a section of this Markdown file, with a sheet for each split beside it."""

    def run(self) -> None:
        from avatar_viewer.evaluation.distillation import evaluate_distillation

        evaluate_distillation(self.ckpt, self.data, self.splits, self.json, self.results)


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


@dataclass(frozen=True, kw_only=True)
class EvaluateTransfer(Command):
    """Drive an avatar by people that its head model was not trained on, and print the errors."""

    heads: Path
    """Folder that `data heads --held-out --person` wrote, the avatar's person first."""
    ckpt: Source = None
    """Avatar to drive."""
    people: Annotated[int | None, Optional] = None
    """Only so many of the held-out heads."""
    footage: tuple[Path, ...] = ()
    """Folders that `data synthesize --split footage --stranger N` wrote, each of another person;
    without them there is no row of videos."""
    face_model: Annotated[Path | None, Optional] = None
    """As of `transfer`."""
    json: Annotated[Path | None, Optional] = None
    """Write the figures to this file too."""
    results: Annotated[Path | None, Optional] = None
    """Write them as a section of this Markdown file."""

    def run(self) -> None:
        from avatar_viewer.evaluation.transfer import Sources, evaluate_transfer

        sources = Sources(self.heads, self.people, self.footage, self.face_model)
        evaluate_transfer(self.ckpt, sources, self.json, self.results)
