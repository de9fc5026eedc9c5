"""What `train decoder` reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.errors import AvatarError
from avatar_viewer.training.loop import LoopConfig


@dataclass(frozen=True)
class DecoderTraining:
    """What `avatar-viewer train decoder` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    avatar: Path
    """The trained avatar's folder."""
    out: Path
    """The run's folder; the avatar with its new decoder lies in `out/avatar`."""
    loop: LoopConfig
    start: Path | None = None
    """A rigged decoder's folder, which is trained on; sizes are then its."""
    features_from: Path | None = None
    """A rigged decoder's folder whose planes, sheets and convolutions of the same sizes are trained
    on, with fewer `blocks` the first ones, while convolutions of other sizes begin anew, and so
    does a mouth of another kind or size."""
    batch_size: int = 1
    """Whole pictures."""
    crop_px: int = 256
    """Some steps see squares of this size around lips, lids and nose, of accordingly more
    pictures; a multiple of a latent's size."""
    crop_fraction: float = 0.5
    """How many of the steps do; none where pictures are no larger than that."""
    channels: tuple[int, ...] = (128, 96, 64)
    blocks: tuple[int, ...] = (2, 2, 3)
    plane_channels: int = 4
    plane_resolution: int = 512
    eye_channels: int = 4
    """Features that turn with the gaze; 0 for head models with another origin or other axes than
    the project's own."""
    mouth_channels: int = 4
    """Features of teeth, and of the tongue; 0 as above."""
    mouth_layers: bool = True
    """Whether teeth, tongue and the dark behind hide each other; else each pixel sees both rows of
    teeth, and nothing more."""
    alpha: bool = True
    """Whether opacity is learned too, so that the picture can stand on any background."""
    plane_learning_rate: float = 1e-2
    latent_noise: float = 0.1
    """Largest standard deviation of what is added to latents, which are of about unit variance."""
    detail_weight: float = 3.0
    """How much more pixels around lips, lids and nose count: they are few, but looked at most."""
    detail_radius: float = 0.04
    """How far around, as a part of the picture's height."""
    edge_weight: float = 1.0
    square_weight: float = 10.0
    structure_weight: float = 0.0
    """Of 1 - SSIM, which keeps strands and pores where the other errors would rather blur them."""
    smoothness: float = 0.0
    """Weight of differences between neighbouring texels of the planes: what is seldom seen, as the
    inside of the mouth, is otherwise noise."""

    def __post_init__(self) -> None:
        sizes = ("batch_size", "crop_px", "channels", "plane_channels", "plane_resolution")
        expect_at_least(self, 1, sizes)
        expect_at_least(self, 0, ("blocks", "eye_channels", "mouth_channels", "latent_noise"))
        expect_between(self, 0, 1, ("crop_fraction",))
        if len(self.channels) != len(self.blocks):
            raise AvatarError(
                f"blocks: expected a number for each of channels {list(self.channels)}, "
                f"found {list(self.blocks)}"
            )
