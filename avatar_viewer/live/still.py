"""One picture without a window: what `avatar-viewer render` does."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import tyro

from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable

# The command line reads this module before it knows whether anything will be rendered.
if TYPE_CHECKING:
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.stages import Layer, RenderRequest

T = TypeVar("T")

AVATARS_OWN = tyro.conf.arg(help_behavior_hint="(default: the avatar's own)")


@dataclass(frozen=True)
class Picture:
    """What to picture, as options of the command line."""

    pad: Annotated[tuple[float, float], tyro.conf.arg(metavar="X Y")] = (0.5, 0.5)
    """Place on the expression pad: x to the right, y down, both in 0..1."""
    azimuth: Annotated[float | None, AVATARS_OWN] = None
    """Degrees; 0 = in front, > 0 = on the subject's left."""
    elevation: Annotated[float | None, AVATARS_OWN] = None
    """Degrees; > 0 = above, clamped to +-89."""
    distance: Annotated[float | None, AVATARS_OWN] = None
    """Of the camera from its target, world units."""
    fov: Annotated[float | None, AVATARS_OWN] = None
    """Vertical field of view, degrees."""
    size: Annotated[int | None, AVATARS_OWN] = None
    """Width and height, pixels."""
    steps: Annotated[int | None, AVATARS_OWN] = None
    """Denoising steps."""
    seed: int = 0
    """Of the noise."""
    show: str = "image"
    """image | normal | depth | canonical | features | mesh."""
    teacher: bool = False
    """Denoise by the network that the avatar's student was distilled from, where it has one."""
    full_decoder: bool = False
    """Decode by the autoencoder's own decoder, where the avatar has a tiny one beside it."""

    def chosen(self) -> dict[str, Any]:
        """The options that differ from the default, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != DEFAULTS[name]}

    def check(self) -> None:
        """Raise AvatarError, naming the option, for values that no avatar can render."""
        from avatar_viewer.stages import LAYERS, MAX_SIZE_PX, MAX_STEPS

        expected = {
            "pad": (lambda pad: all(0 <= v <= 1 for v in pad), "two numbers in 0..1"),
            "azimuth": (math.isfinite, "a finite angle"),
            "elevation": (math.isfinite, "a finite angle"),
            "distance": (lambda d: 0 < d < math.inf, "more than 0"),
            "fov": (lambda degrees: 0 < degrees < 180, "an angle in (0, 180)"),
            "size": (lambda px: 1 <= px <= MAX_SIZE_PX, f"1 to {MAX_SIZE_PX} pixels"),
            "steps": (lambda steps: 1 <= steps <= MAX_STEPS, f"1 to {MAX_STEPS}"),
            "seed": (lambda seed: 0 <= seed < 2**63, "0 to 2^63 - 1"),
            "show": (lambda layer: layer in LAYERS, " | ".join(LAYERS)),
        }
        for name, (accepts, text) in expected.items():
            value = getattr(self, name)
            if value is not None and not accepts(value):
                found = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise AvatarError(f"--{name}: expected {text}, found {found}")

    def request(self, info: AvatarInfo) -> RenderRequest:
        """The picture of this avatar as a request."""
        from avatar_viewer.expression.blend import bilinear
        from avatar_viewer.stages import RenderRequest

        view = info.default_view
        size_px = _first(self.size, info.resolution_px)
        return RenderRequest(
            expression=bilinear([corner.expression for corner in info.corners], *self.pad),
            camera=replace(
                view,
                azimuth_deg=_first(self.azimuth, view.azimuth_deg),
                elevation_deg=_first(self.elevation, view.elevation_deg),
                distance=_first(self.distance, view.distance),
                fov_deg=_first(self.fov, view.fov_deg),
            ).camera(size_px, size_px),
            seed=self.seed,
            steps=_first(self.steps, info.steps),
            sampler=info.sampler,
            show=cast("Layer", self.show),
            teacher=self.teacher,
            full_decoder=self.full_decoder,
        )


DEFAULTS = {field.name: field.default for field in fields(Picture)}


def _first(chosen: T | None, otherwise: T) -> T:
    return otherwise if chosen is None else chosen


def render_still(
    picture: Picture, out: Path, source: str | None = None, like: Path | None = None
) -> None:
    """Render to a PNG that carries its request.

    `source` is an avatar's folder or Hub id (None: the embedded avatar); `like` is an earlier
    screenshot, whose avatar and whole request are taken. Raises AvatarError before any rendering
    for an option out of range or an output that cannot be written.
    """
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.config import DEMO_FOLDER, lasting_source, loadable_source
    from avatar_viewer.live.screenshot import read_screenshot, save_screenshot

    picture.check()
    if out.suffix.lower() != ".png":
        raise AvatarError(f"--out: expected a name that ends in .png, found {out}")
    ensure_writable(out)
    shot = None if like is None else read_screenshot(like)
    if shot is not None and picture.chosen():
        found = ", ".join(f"--{name}" for name in picture.chosen())
        raise AvatarError(f"--from: expected no other option of the picture, found {found}")
    source = source or (loadable_source(shot.avatar_source) if shot else str(DEMO_FOLDER))
    avatar = Avatar.load(source)
    frame = avatar.render(shot.request if shot else picture.request(avatar.info))
    save_screenshot(frame, out, lasting_source(source))
