"""One picture without a window: what `avatar-viewer render` does."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from avatar_viewer.config import EMBEDDED, lasting_source, loadable_source
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable

# The command line reads this module before it knows whether anything will be rendered.
if TYPE_CHECKING:
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.avatar_info import AvatarInfo
    from avatar_viewer.live.session import Session
    from avatar_viewer.stages import RenderRequest

AVATARS_OWN = tyro.conf.arg(help_behavior_hint="(default: the session's, or the avatar's own)")


@dataclass(frozen=True)
class Picture:
    """What to picture, as options of the command line."""

    pad: Annotated[
        tuple[float, float] | None,
        tyro.conf.arg(metavar="X Y", help_behavior_hint="(default: its centre)"),
    ] = None
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
    seed: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None
    """Of the noise."""
    show: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: image)")] = None
    """image | normal | depth | canonical | features | mesh | wireframe."""
    teacher: bool = False
    """Denoise by the network that the avatar's student was distilled from, where it has one."""
    full_decoder: bool = False
    """Decode by the autoencoder's own decoder, where the avatar has a tiny one beside it."""

    def chosen(self) -> dict[str, Any]:
        """The options that were given, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value for name, value in values.items() if not (value is None or value is False)
        }

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

    def applied(self, session: Session) -> Session:
        """The session with these options in place of what it has chosen itself."""
        names = {
            **{"azimuth": "azimuth_deg", "elevation": "elevation_deg"},
            **{"distance": "distance", "fov": "fov_deg"},
        }
        chosen = self.chosen()
        chosen.pop("size", None)
        if "pad" in chosen:
            chosen["driven"] = None
        view = {names[name]: chosen.pop(name) for name in names if name in chosen}
        return replace(session, view=replace(session.view, **view), **chosen)

    def request(self, info: AvatarInfo) -> RenderRequest:
        """The picture of this avatar as a request."""
        from avatar_viewer.head.expression_space import ExpressionSpace
        from avatar_viewer.live.session import Session

        size_px = self.size_px(info)
        return self.applied(Session.of("", info)).request(ExpressionSpace(), size_px, size_px)

    def size_px(self, info: AvatarInfo) -> int:
        """Width and height."""
        return info.resolution_px if self.size is None else self.size


def render_still(
    picture: Picture,
    out: Path,
    source: str | None = None,
    *,
    like: Path | None = None,
    start: Path | None = None,
    transparent: bool = False,
) -> None:
    """Render to a PNG that carries its request and session.

    `source` is an avatar's folder or Hub id (None: the session's, or the embedded avatar); `like`
    is an earlier screenshot, whose avatar and whole request are taken; `start` is a session's file,
    of which `picture` replaces parts. `transparent`: without background, where the avatar tells
    opacity. Raises AvatarError before any rendering for an option out of range or an output that
    cannot be written.
    """
    from avatar_viewer.live.screenshot import read_screenshot, save_screenshot, session_of

    picture.check()
    if out.suffix.lower() != ".png":
        raise AvatarError(f"--out: expected a name that ends in .png, found {out}")
    ensure_writable(out)
    if like is None:
        avatar, session = open_avatar(source, None if start is None else session_of(start))
        session, size_px = picture.applied(session), picture.size_px(avatar.info)
        frame = avatar.render(session.request(avatar.expressions, size_px, size_px))
        save_screenshot(frame, out, session.avatar, session, transparent)
        return
    shot, chosen = read_screenshot(like), picture.chosen()
    if start is not None or chosen:
        found = ", ".join(
            f"--{name}" for name in (*chosen, *(() if start is None else ["session"]))
        )
        raise AvatarError(f"--from: expected no other option of the picture, found {found}")
    avatar, opened = open_avatar(source, shot.session, shot.avatar_source)
    session = None if shot.session is None else opened
    save_screenshot(avatar.render(shot.request), out, opened.avatar, session, transparent)


def open_avatar(
    source: str | None, session: Session | None = None, otherwise: str = EMBEDDED
) -> tuple[Avatar, Session]:
    """The avatar of `source`, or else the session's, or else `otherwise`; and the session for it.

    Without a session it is the avatar's own. Raises AvatarError where they do not fit.
    """
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.live.session import Session

    own = otherwise if session is None else session.avatar
    source = loadable_source(own) if source is None else source
    avatar, lasting = Avatar.load(source), lasting_source(source)
    if session is None:
        return avatar, Session.of(lasting, avatar.info)
    return avatar, session.for_avatar(lasting, avatar.info)
