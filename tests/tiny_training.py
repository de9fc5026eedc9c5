"""An avatar's training in miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiny import RESOLUTION_PX, VIEW, tiny_nphm, tiny_vae, write_tiny_frames

from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.base import SmallUNet
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.weights import save_network


def write_inputs(folder: Path) -> Path:
    """A folder with a data set, a head model and an autoencoder."""
    write_tiny_frames(folder / "data")
    save_network(tiny_nphm(), folder / "head")
    save_network(tiny_vae(), folder / "vae")
    return folder


def tiny_training(inputs: Path, out: Path, steps: int = 4, **changes) -> AvatarTraining:
    loop = LoopConfig(
        steps=steps,
        learning_rate=2e-3,
        warmup_steps=1,
        ema_decay=0.9,
        bf16=False,
        save_every=2,
        sample_every=1000,
    )
    size = AvatarTraining(
        data=inputs / "data",
        head=inputs / "head",
        vae=inputs / "vae",
        out=out,
        loop=loop,
        name="discs",
        licence="CC0-1.0",
        provenance="drawn by a test",
        corners=("corner: neutral", "corner: smile", "corner: surprise", "corner: frown"),
        default_view=VIEW,
        small=SmallUNet(channels=(16, 32), token_dim=12, heads=2),
        resolution_px=RESOLUTION_PX,
        batch_size=4,
        plane_channels=2,
        plane_resolution=8,
        stem_channels=(16,),
        steps=2,
    )
    return replace(size, **changes)
