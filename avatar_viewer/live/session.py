"""All that a person has chosen of an avatar, as one value: what is saved, undone and exported."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.config import from_plain, read_yaml, take_format_version, to_plain, write_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.blend import bilinear
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.expression_space import ExpressionSpace, moved
from avatar_viewer.live.pacing import QuickChoice
from avatar_viewer.raster.camera import Orbit, head_turned
from avatar_viewer.stages import (
    MAX_STEPS,
    REDUCTIONS,
    ExpressionCode,
    Layer,
    RenderRequest,
    SamplerName,
)

FORMAT_VERSION = 1
PAD_CENTRE = (0.5, 0.5)
MAX_DIRECTION = 3.0
"""Sliders of directions end at so many standard deviations."""

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
ComparisonMode = Literal["split", "side by side", "difference"]


@dataclass(frozen=True)
class Comparison:
    """A second picture: what it has otherwise than the first; None is as the first."""

    mode: ComparisonMode = "split"
    split: float = 0.5
    """Where the second picture begins, a part of the width."""
    show: Layer | None = None
    steps: int | None = None
    seed: int | None = None
    teacher: bool | None = None
    avatar: str | None = None
    """Folder or Hub id of another avatar, which is given the same expression and view."""

    def __post_init__(self) -> None:
        _expect(0 <= self.split <= 1, "split", "a number in 0..1", self.split)
        steps, seed = self.steps or 1, self.seed or 0
        _expect(1 <= steps <= MAX_STEPS, "comparison steps", f"1 to {MAX_STEPS}", steps)
        _expect(0 <= seed < 2**63, "comparison seed", "0 to 2^63 - 1", seed)


@dataclass(frozen=True)
class Session:
    """What is chosen of one avatar."""

    avatar: str
    """Folder, Hub id, or `config.EMBEDDED`."""
    corners: tuple[Corner, Corner, Corner, Corner]
    """The pad's, top-left, top-right, bottom-left, bottom-right."""
    view: Orbit
    steps: int
    sampler: SamplerName
    pad: tuple[float, float] = PAD_CENTRE
    """x to the right, y down, 0..1."""
    directions: tuple[float, ...] = ()
    """Added to the pad's blend: standard deviations along `ExpressionSpace.directions`."""
    units: tuple[float, ...] = ()
    """Added too: ARKit weights, none or all 52 in the order of `ARKIT_UNITS`."""
    driven: ExpressionCode | None = None
    """In place of the pad's blend, such as a moment of a sequence; moved as that is."""
    head_pose_deg: tuple[float, float, float] | None = None
    """As of `ExpressionSequence`, where the head is turned by one."""
    gaze: tuple[float, float] | None = None
    """Yaw to the subject's left and pitch up, -1..1, in place of the blend's."""
    seed: int = 0
    show: Layer = "image"
    moving_steps: int | None = None
    moving_reduction: int | None = None
    """Of pictures while dragging; None leaves it to the render thread's pacing."""
    teacher: bool = False
    full_decoder: bool = False
    """As of `RenderRequest`."""
    background: Colour = WHITE
    background_picture: Path | None = None
    """What stands behind the head where the avatar's decoder tells opacity."""
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        _expect(1 <= self.steps <= MAX_STEPS, "steps", f"1 to {MAX_STEPS}", self.steps)
        _expect(0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1", self.seed)
        _expect((self.moving_steps or 1) >= 1, "moving_steps", "1 or more", self.moving_steps)
        reduction = self.moving_reduction or 1
        _expect(reduction in REDUCTIONS, "moving_reduction", f"one of {REDUCTIONS}", reduction)
        _expect(all(0 <= v <= 1 for v in self.pad), "pad", "two numbers in 0..1", self.pad)
        largest = max(map(abs, self.directions), default=0)
        _expect(largest <= MAX_DIRECTION, "directions", f"at most {MAX_DIRECTION:g}", largest)
        counts = (0, len(ARKIT_UNITS))
        _expect(len(self.units) in counts, "units", "none or 52 numbers", len(self.units))
        _expect(all(-1 <= v <= 1 for v in self.units), "units", "numbers in -1..1", self.units)
        gaze = self.gaze or (0, 0)
        _expect(all(-1 <= v <= 1 for v in gaze), "gaze", "two numbers in -1..1", gaze)
        _expect(all(0 <= c <= 255 for c in self.background), "background", "0..255", None)
        pose = self.head_pose_deg or (0, 0, 0)
        _expect(all(map(math.isfinite, pose)), "head_pose_deg", "three finite numbers", pose)
        lengths = {len(corner.expression.values) for corner in self.corners}
        _expect(len(lengths) == 1, "corners", "expressions of one length", sorted(lengths))
        if self.driven is not None:
            (length,), found = lengths, len(self.driven.values)
            _expect(found == length, "driven", f"an expression of {length} values", found)

    @staticmethod
    def of(avatar: str, info: AvatarInfo) -> Session:
        """The avatar's own defaults."""
        return Session(avatar, info.corners, info.default_view, info.steps, info.sampler)

    def for_avatar(self, avatar: str, info: AvatarInfo) -> Session:
        """The same choices of another avatar; AvatarError where its expressions are others."""
        expected, found = info.expression_dim, len(self.corners[0].expression.values)
        if found != expected:
            raise AvatarError(
                f"session: expected expressions of {expected} values for {info.name}, found {found}"
            )
        return replace(self, avatar=avatar)

    def expression(self, space: ExpressionSpace) -> ExpressionCode:
        """The pad's blend, or what drives it, moved as the sliders and the gaze say."""
        code = self.driven
        if code is None:
            code = bilinear([corner.expression for corner in self.corners], *self.pad)
        return moved(code, space, directions=self.directions, units=self.units, gaze=self.gaze)

    def request(self, space: ExpressionSpace, width_px: int, height_px: int) -> RenderRequest:
        """The picture of this session."""
        camera = self.view.camera(width_px, height_px)
        if self.head_pose_deg is not None:
            camera = head_turned(camera, self.head_pose_deg)
        return RenderRequest(
            expression=self.expression(space),
            camera=camera,
            seed=self.seed,
            steps=self.steps,
            sampler=self.sampler,
            show=self.show,
            teacher=self.teacher,
            full_decoder=self.full_decoder,
        )

    def compared(self) -> Session | None:
        """The session of the second picture, where two are compared."""
        if (other := self.comparison) is None:
            return None
        names = ("show", "steps", "seed", "teacher", "avatar")
        changes = {name: getattr(other, name) for name in names}
        return replace(self, comparison=None, **{n: v for n, v in changes.items() if v is not None})

    def quick_choice(self) -> QuickChoice:
        """What is chosen for pictures while dragging."""
        return QuickChoice(self.moving_steps, self.moving_reduction)


def read_session(path: Path) -> Session:
    """Read a session's YAML; raises AvatarError in one line."""
    return session_from_plain(read_yaml(path), str(path))


def write_session(session: Session, path: Path) -> None:
    """Write a session as YAML, such that `read_session` gives an equal one."""
    write_yaml(session_to_plain(session), path)


def session_to_plain(session: Session) -> dict:
    """As it is written to YAML and to screenshots."""
    return {"format_version": FORMAT_VERSION, **to_plain(session)}


def session_from_plain(content: dict, where: str) -> Session:
    """The reverse of `session_to_plain`; `where` names the file in errors."""
    content = dict(content)
    take_format_version(content, FORMAT_VERSION, where)
    return from_plain(content, Session, where)


def _expect(condition: bool, name: str, expected: str, found: object) -> None:
    if not condition:
        raise AvatarError(f"{name}: expected {expected}, found {found}")
