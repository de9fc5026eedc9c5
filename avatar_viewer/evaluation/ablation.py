"""`evaluate ablation`: the paper's ablation on a data set of one's own.

Every variant is trained by `train_avatar` for the same number of steps and from the same settings
but for the part that it lacks, and evaluated as any avatar is. Where the settings name one, the
full method and the one without diffusion get a rigged decoder each, and are evaluated with it too.
In the output folder each variant has its own, a run like any other:

    settings.yaml    what it is trained with
    avatar/          the avatar, once it is trained
    trained          an empty file: training is finished
    SPLIT.json       the evaluation of a split, SPLIT.png some of its pictures in a row

`results.json` beside them holds all of it, and the Markdown file is written from that alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import expect_at_least, read_config, write_config
from avatar_viewer.data.check import check_data
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.images import evaluate_split, make_judges, write_json
from avatar_viewer.evaluation.results import write_results
from avatar_viewer.evaluation.sheet import arranged, shrunk, write_picture
from avatar_viewer.evaluation.split import Judges
from avatar_viewer.files import ensure_writable, make_folder
from avatar_viewer.training.avatar import train_avatar
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.decoder import train_decoder
from avatar_viewer.training.decoder_settings import DecoderTraining
from avatar_viewer.weights import load_network, read_json

VariantName = Literal["full", "no_attention", "no_features", "no_prior", "no_diffusion", "unet"]
VARIANTS: tuple[VariantName, ...] = get_args(VariantName)
RIGGED: tuple[VariantName, ...] = ("full", "no_diffusion")
"""Which of them are drawn by a rigged decoder too."""
FINISHED = "trained"
"""An empty file in a run's folder: training is finished."""


@dataclass(frozen=True)
class Ablation:
    """What `avatar-viewer evaluate ablation` reads from its YAML file."""

    avatar: Path
    """The YAML file of `train avatar` that the full method is trained with."""
    steps: int
    """Of training, for each variant; replaces that file's."""
    splits: tuple[str, ...] = ("test",)
    """Which of its data set's splits are evaluated."""
    variants: tuple[VariantName, ...] = VARIANTS
    decoder: Path | None = None
    """The YAML file of `train decoder` that rigged decoders are trained with."""
    pictures: int = 6
    """How many pictures of each split the sheets show."""
    picture_px: int = 192

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("steps", "pictures", "picture_px"))
        for name in ("splits", "variants"):
            if not getattr(self, name):
                raise AvatarError(f"{name}: expected at least one, found none")


@dataclass(frozen=True)
class Variant:
    """The method without one of its parts."""

    title: str
    settings: AvatarTraining | None
    """None where it makes no sense here."""
    skipped: str = ""
    """Why, then."""


def run_ablation(ablation: Ablation, out: Path, results: Path | None) -> None:
    """Train and evaluate what is not finished yet; write `results` (None: out/results.md)."""
    full = _full_settings(ablation)
    decoder = _decoder_settings(ablation)
    batch = max(full.batch_size, 0 if decoder is None else decoder.batch_size)
    check_data(full.data, at_least=dict.fromkeys((*ablation.splits, "test"), 1) | {"train": batch})
    make_folder(out)
    results = results or out / "results.md"
    ensure_writable(results)
    judges = cache(make_judges)
    report: dict[str, Any] = {
        "avatar": str(ablation.avatar),
        "steps": ablation.steps,
        "splits": list(ablation.splits),
        "variants": {},
    }
    first: Path | None = None
    for name in ablation.variants:
        variant = make_variant(name, full, out / name)
        entry: dict[str, Any] = {"title": variant.title}
        if variant.settings is None:
            entry["skipped"] = variant.skipped
            print(f"{name}: skipped: {variant.skipped}", flush=True)
        else:
            print(f"{name}: {variant.title}", flush=True)
            train_variant(variant.settings, first)
            first = first or variant.settings.out
            entry["splits"] = _evaluated(variant.settings, ablation, judges)
        report["variants"][name] = entry
        if variant.settings is not None and decoder is not None and name in RIGGED:
            title = f"{variant.title}, rigged decoder"
            print(f"{name}: {title}", flush=True)
            settings = rigged_settings(decoder, variant.settings)
            train_rigged(settings)
            splits = _evaluated(settings, ablation, judges)
            report["variants"][settings.out.name] = {"title": title, "splits": splits}
        write_json(report, out / "results.json")
    print(write_results(report, out, results))
    print(f"wrote {results}")


def _full_settings(ablation: Ablation) -> AvatarTraining:
    full = read_config(ablation.avatar, AvatarTraining)
    if full.start is not None:
        raise AvatarError(
            f"{ablation.avatar}: start: expected none in an ablation, because an avatar to go on"
            f" from was trained with all parts (as a prior its U-Net can be `base`), found"
            f" {full.start}"
        )
    loop = replace(full.loop, steps=ablation.steps)
    return replace(full, loop=loop, train_unet=full.trains_unet)


def _decoder_settings(ablation: Ablation) -> DecoderTraining | None:
    """Read at the start, with the decoders that they name: they are needed after hours only."""
    if ablation.decoder is None:
        return None
    settings = read_config(ablation.decoder, DecoderTraining)
    for folder in (settings.start, settings.features_from):
        if folder is not None:
            load_network(RiggedDecoder, folder)
    return settings


def make_variant(name: VariantName, full: AvatarTraining, out: Path) -> Variant:
    """A variant of the full method's settings, as a run in the folder `out`."""
    full = replace(full, out=out)
    match name:
        case "full":
            return Variant("full", full)
        case "no_attention":
            return Variant(
                "no expression cross-attention", replace(full, expression_attention=False)
            )
        case "no_features":
            return Variant("no spatial features", replace(full, plane_channels=0))
        case "no_prior":
            if full.base is None:
                why = "the settings name no base, so the full method has no prior here either"
                return Variant("no prior", None, why)
            # An untrained U-Net must be trained.
            return Variant("no prior", replace(full, pretrained=False, train_unet=True))
        case "no_diffusion":
            # A U-Net that was trained to denoise must learn to regress, so none stays frozen.
            regression = replace(full, objective="regression", train_unet=True)
            return Variant(
                "no diffusion (one pass, L1 on latents)",
                replace(regression, steps=1, quick_steps=1),
            )
        case "unet":
            title = "U-Net frozen" if full.train_unet else "U-Net trained too"
            if full.base is None:
                why = "the settings name no base, and an untrained U-Net cannot stay frozen"
                return Variant(title, None, why)
            return Variant(title, replace(full, train_unet=not full.train_unet))


def train_variant(settings: AvatarTraining, first: Path | None) -> None:
    """Train, or go on, unless it is finished; `first` is the run of the first variant.

    The head's extraction, the codes' fit and the views are the same for all, and take minutes.
    """
    folder = settings.out
    if _trained_before(settings):
        return
    if first is not None and not (folder / "person").exists():
        aside = folder / f".person.{os.getpid()}.tmp"
        shutil.copytree(first / "person", aside)
        aside.rename(folder / "person")
        for views in first.glob("views-*"):
            (folder / views.name).symlink_to(views.resolve())
    train_avatar(settings)
    (folder / FINISHED).touch()


def rigged_settings(decoder: DecoderTraining, of: AvatarTraining) -> DecoderTraining:
    """How a variant's rigged decoder is trained, in a folder beside the variant's."""
    out = of.out.with_name(f"{of.out.name}_rigged")
    return replace(decoder, data=of.data, avatar=of.out / "avatar", out=out)


def train_rigged(settings: DecoderTraining) -> None:
    """Train, or go on, unless it is finished."""
    if not _trained_before(settings):
        train_decoder(settings)
        (settings.out / FINISHED).touch()


def _trained_before(settings: AvatarTraining | DecoderTraining) -> bool:
    """Whether a run is finished; one that is not is given its folder and its settings there."""
    folder = settings.out
    make_folder(folder)
    kept = folder / "settings.yaml"
    if kept.exists() and read_config(kept, type(settings)) != settings:
        raise AvatarError(
            f"{kept}: expected the settings of this ablation, found others; choose another"
            f" --out, or remove {folder}"
        )
    if (folder / FINISHED).exists():
        print("trained before", flush=True)
        return True
    write_config(settings, kept)
    return False


def _evaluated(
    settings: AvatarTraining | DecoderTraining, ablation: Ablation, judges: Callable[[], Judges]
) -> dict[str, Any]:
    """Reports by split; those that were written before are read."""
    reports, avatar = {}, None
    for split in ablation.splits:
        path = settings.out / f"{split}.json"
        if not path.exists():
            avatar = avatar or Avatar.load(settings.out / "avatar")
            done = evaluate_split(avatar, settings.data, split, judges())
            chosen = np.linspace(0, len(done.shots) - 1, ablation.pictures).round().astype(int)
            chosen = np.unique(chosen).tolist()
            truth = [done.shots[index].truth for index in chosen]
            rendered = [done.rendered[index] for index in chosen]
            for pictures, row in (
                (truth, settings.out.parent / f"truth_{split}.png"),
                (rendered, settings.out / f"{split}.png"),
            ):
                small = [shrunk(rgb, ablation.picture_px) for rgb in pictures]
                write_picture(arranged([small], columns=len(small)), row)
            write_json(done.report, path)
        reports[split] = read_json(path)
    return reports
