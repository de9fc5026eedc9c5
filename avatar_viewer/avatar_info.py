"""What an avatar folder says of itself in avatar.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatar_viewer.config import from_plain, read_yaml, take_format_version, to_plain, write_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import MAX_SIZE_PX, MAX_STEPS, ExpressionCode, SamplerName

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Corner:
    """One corner of the expression pad."""

    name: str
    expression: ExpressionCode


@dataclass(frozen=True)
class AvatarInfo:
    """avatar.yaml; everything about an avatar that is not a network."""

    name: str
    licence: str
    provenance: str
    """What it was trained on, in a sentence."""
    resolution_px: int
    """Width and height of the pictures it was trained on."""
    steps: int
    """Denoising steps at rest."""
    quick_steps: int
    """Denoising steps while the person drags."""
    sampler: SamplerName
    default_view: Orbit
    corners: tuple[Corner, Corner, Corner, Corner]
    """Top-left, top-right, bottom-left, bottom-right; all codes of one length E."""

    def __post_init__(self) -> None:
        limits = {"resolution_px": MAX_SIZE_PX, "steps": MAX_STEPS, "quick_steps": MAX_STEPS}
        for name, limit in limits.items():
            if not 1 <= getattr(self, name) <= limit:
                raise AvatarError(f"{name}: expected 1 to {limit}, found {getattr(self, name)}")
        lengths = {len(corner.expression.values) for corner in self.corners}
        if len(lengths) != 1:
            found = ", ".join(map(str, sorted(lengths)))
            raise AvatarError(f"corners: expected expressions of one length, found {found}")

    @property
    def expression_dim(self) -> int:
        """E, the length of the avatar's expression codes."""
        return len(self.corners[0].expression.values)


def read_avatar_info(path: Path) -> AvatarInfo:
    """Read an avatar.yaml; raises AvatarError in one line."""
    content = read_yaml(path)
    take_format_version(content, FORMAT_VERSION, str(path))
    return from_plain(content, AvatarInfo, str(path))


def write_avatar_info(info: AvatarInfo, path: Path) -> None:
    """Write an avatar.yaml, such that `read_avatar_info` gives an equal one."""
    write_yaml({"format_version": FORMAT_VERSION, **to_plain(info)}, path)
