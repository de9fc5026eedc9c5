"""What would stop the training of an avatar, before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import FrameRecord, parse_frames
from avatar_viewer.data.registered import check_registrable
from avatar_viewer.data.visual_hull import Carving
from avatar_viewer.diffusion.autoencoder import load_autoencoder
from avatar_viewer.errors import AvatarError, check_all
from avatar_viewer.head.nphm import CODES_FILE, GAZE_DIM, load_nphm
from avatar_viewer.training.avatar_networks import (
    control_px_per_latent,
    load_base,
    load_tiny,
    trained_before,
)
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.vae import check_whole_latents


def check_start(config: AvatarTraining) -> None:
    """Raise in one report what of data, folders and settings would stop the training: the person
    takes minutes to fit, bake and carve."""
    checks = (
        lambda: check_data(config.data, at_least={"train": config.batch_size, "test": 1}),
        lambda: _check_frames(config),
        lambda: load_nphm(config.head),
        lambda: _check_networks(config),
        lambda: load_tiny(config),
    )
    check_all("train avatar: expected data and settings without faults", checks)


def _check_frames(config: AvatarTraining) -> None:
    records, _ = parse_frames(config.data)  # the faulty ones too, whose faults `check_data` reports
    train = [record for record in records if record.split == "train"]
    if not train:
        return
    checks: list[Callable[[], object]]
    checks = [partial(corner_frame, kind, train) for kind in config.corners]
    checks.append(partial(_check_hull, config.hull, len(train)))
    if not any(config.person_folder.rglob(CODES_FILE)):  # which a run that goes on has
        checks.append(partial(check_registrable, config.data, records))
    check_all(f"{config.data}: expected frames that fit the settings", checks)


def _check_hull(carving: Carving | None, frames: int) -> None:
    if carving is not None and frames < carving.least_frames:
        raise AvatarError(
            f"hull: expected {carving.least_frames} or more training frames (least_frames), "
            f"found {frames}"
        )


def _check_networks(config: AvatarTraining) -> None:
    vae = load_autoencoder(config.vae)
    check_whole_latents(config.resolution_px, vae)
    if config.start is not None:
        trained_before(config.start, load_nphm(config.head).expression_dim + GAZE_DIM)
        return
    control_px_per_latent(config, vae)
    if config.base is not None:
        load_base(config.base, config.pretrained, vae)


def corner_frame(kind: str, train: Sequence[FrameRecord]) -> FrameRecord:
    """The first training frame of this kind or id."""
    record = next((record for record in train if kind in (record.kind, record.id)), None)
    if record is None:
        raise AvatarError(f"corners: expected a training frame of kind or id '{kind}', found none")
    return record
