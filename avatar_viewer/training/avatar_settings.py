"""What `train avatar` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.data.visual_hull import Carving
from avatar_viewer.head.mesh_extraction import Extraction
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import MAX_SIZE_PX, MAX_STEPS
from avatar_viewer.training.base import SmallUNet
from avatar_viewer.training.loop import LoopConfig


@dataclass(frozen=True)
class AvatarTraining:
    """What `avatar-viewer train avatar` reads from its YAML file."""

    data: Path
    """A folder in the format of `data.frames`; its `train` split is used."""
    head: Path
    """The trained head model's folder."""
    vae: Path
    """The autoencoder's folder."""
    out: Path
    """The run's folder; the avatar lies in `out/avatar`."""
    loop: LoopConfig
    name: str
    licence: str
    provenance: str
    corners: tuple[str, str, str, str]
    """Kinds ("corner: neutral", ...) or ids of the training frames whose expressions lie at the
    pad's corners."""
    default_view: Orbit
    start: Path | None = None
    """A trained avatar's folder, whose networks are trained on; sizes and `base` are then its."""
    base: str | None = None
    """A folder or Hub id of a pre-trained U-Net (`unet` subfolder); None: `small`, untrained."""
    tiny_vae: str | None = None
    """A folder or Hub id of an AutoencoderTiny of the same latents, which draws in place of a large
    autoencoder wherever speed counts."""
    pretrained: bool = True
    """False: only the base's sizes and prompt are taken, and its weights are untrained."""
    small: SmallUNet = field(default_factory=SmallUNet)
    train_unet: bool | None = None
    """False: the U-Net stays frozen but for the expression attention, as in the paper. None: so
    where there is a `base`."""
    resolution_px: int = 256
    batch_size: int = 8
    pure_noise_share: float = 0.25
    """Part of the pictures that are denoised from the last time, where only the conditioning tells
    what to draw: few-step sampling starts there. The rest is spread evenly over all times."""
    extraction: Extraction = field(default_factory=Extraction)
    """How the person's mesh is extracted from the head model."""
    hull: Carving | None = None
    """How hair and shoulders are carved from the pictures' silhouettes, which need alpha for that;
    None: the head model's mesh alone is rasterized."""
    zooms: int = 1
    """Random enlargements of each picture that are trained on beside the picture itself."""
    keep_gbuffers: bool = True
    """Whether rasterized G-buffers are kept in `out` (about 1 MB each at 256 pixels); otherwise
    each step rasterizes its own."""
    objective: Literal["v", "regression"] = "v"
    """What is learnt: denoising, or (without diffusion) the latents themselves in one pass."""
    expression_attention: bool = True
    """Whether expression tokens reach the U-Net, by layers of their own."""
    plane_channels: int = 8
    """Of each plane; 0: no spatial features, the G-buffer alone steers."""
    plane_resolution: int = 128
    plane_learning_rate: float = 1e-2
    token_learning_rate: float = 5e-3
    """Of the linear layer that makes expression tokens; codes are small numbers."""
    stem_channels: tuple[int, ...] = (64,)
    control_px_per_latent: int | None = None
    """Pixels of the ControlNet's G-buffer, along one axis, for each latent. A rigged decoder sees
    the surface in the picture's own size, so few are enough. None: as many as the encoder sees."""
    prompt_tokens: int = 1
    """Learnt tokens in place of a prompt, without a base."""
    steps: int = 8
    """Denoising steps at rest, of the finished avatar."""
    quick_steps: int = 1

    def __post_init__(self) -> None:
        sizes = ("batch_size", "plane_resolution", "stem_channels", "prompt_tokens")
        expect_at_least(self, 1, (*sizes, "control_px_per_latent"))
        rates = ("plane_learning_rate", "token_learning_rate")
        expect_at_least(self, 0, ("zooms", "plane_channels", *rates))
        expect_between(self, 0, 1, ("pure_noise_share",))
        expect_between(self, 1, MAX_SIZE_PX, ("resolution_px",))
        expect_between(self, 1, MAX_STEPS, ("steps", "quick_steps"))

    @property
    def trains_unet(self) -> bool:
        """`train_unet`, or what it is by default."""
        return self.base is None if self.train_unet is None else self.train_unet

    @property
    def person_folder(self) -> Path:
        """Where the person's fit is kept."""
        return self.out / "person"
