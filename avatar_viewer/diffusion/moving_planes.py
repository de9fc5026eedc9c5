"""What moves otherwise than the head's surface: irises, teeth, tongue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avatar_viewer.diffusion.conditioning import Patch
from avatar_viewer.diffusion.sheets import (
    Frame,
    Part,
    PlacedSheet,
    Sheet,
    Sighting,
    Surroundings,
    see,
    shown,
)
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer, Rays

Moving = tuple[Tensor, Tensor]
"""Rows of a linear map from z_exp: weights [3,E] and biases [3] of a shift in radii."""


class EyeSheets(nn.Module):
    """Irises, which turn with the gaze about the eyes' centres."""

    RESOLUTION = 64
    REACH = 1.3
    """How far from an eye's centre, in radii and each coordinate, a place may be that sees it."""
    BEHIND = 0.3
    """How far, in radii, a sheet may lie behind the surface, which is itself that of the eye."""

    def __init__(self, channels: int, centres: Sequence[Sequence[float]], radius: float) -> None:
        """Sheets reach `radius` around the axes of gaze through the eyes' `centres`; world
        units."""
        super().__init__()
        self.channels, self.centres, self.radius = channels, centres, radius
        # An eyeball's: 12 mm where the radius is 15 mm.
        self.sheets = nn.ModuleList(
            Sheet(channels, self.RESOLUTION, (1.0, 1.0), 0.8, (0.6, 0.6)) for _ in centres
        )
        self.turn = nn.Linear(GAZE_DIM, GAZE_DIM)
        """Yaw and pitch of each eye's gaze, from -1..1 to radians."""
        nn.init.eye_(self.turn.weight).data.mul_(0.35)
        nn.init.zeros_(self.turn.bias)

    def forward(self, gbuffer: GBuffer, rays: Rays, code: Tensor) -> Patch:
        """A G-buffer, the rays of its pixels and a code [E] -> [N,channels] around the eyes."""
        return self.patch(see(gbuffer, rays, self.parts(code)))

    def parts(self, code: Tensor) -> list[Part]:
        """The two eyes by a code [E], of which the gaze counts."""
        parts = []
        angles = self.turn(code[-GAZE_DIM:].to(self.turn.weight)).view(-1, 2)
        for sheet, centre, (yaw, pitch) in zip(self.sheets, self.centres, angles, strict=True):
            assert isinstance(sheet, Sheet)
            around = Surroundings(centre, self.radius, self.REACH)
            # A positive pitch looks up, which turns z towards y.
            turn = _turned_about_y(yaw) @ _turned_about_x(-pitch)
            frame = Frame(turn.new_zeros(3), turn)
            parts.append(Part(around, [PlacedSheet(sheet, frame, self.BEHIND)]))
        return parts

    def patch(self, seen: Sequence[Sighting]) -> Patch:
        """[N,channels] of what is seen of `parts`."""
        pixels, features = zip(*((each.pixels, each.features[0]) for each in seen), strict=True)
        return Patch(torch.cat(pixels), torch.cat(features))


class MouthSheets(nn.Module):
    """The two rows of teeth, which lips uncover: the upper one keeps its place on the skull, the
    lower one moves with the jaw. A pixel sees both rows, whichever hides the other."""

    RESOLUTION = 96
    REACH = 5.0
    """How far, in radii, the mouth's inner wall may be from the teeth."""
    BEFORE = 0.5
    """How far, in radii, teeth lie before that wall at least: skin around the lips, which falls
    back a little, does not uncover them."""

    def __init__(
        self, channels: int, expression_dim: int, centre: Sequence[float], radius: float
    ) -> None:
        """The rows reach 2 `radius` to the sides of the teeth's `centre`, and one up and down;
        world units."""
        super().__init__()
        self.channels, self.centre, self.radius = channels, centre, radius
        # Bent like the dental arch.
        self.upper, self.lower = (
            Sheet(channels, self.RESOLUTION, (2.0, 1.0), 0.0, (0.35, 0.15)) for _ in range(2)
        )
        self.jaw = nn.Linear(expression_dim, 4)
        """z_exp -> the jaw's shift in radii, and its pitch in radians about the teeth's centre."""
        nn.init.zeros_(self.jaw.weight)
        nn.init.zeros_(self.jaw.bias)

    @property
    def features(self) -> int:
        """Channels of its patch."""
        return 2 * self.channels + 1

    @property
    def shifts(self) -> tuple[Moving, ...]:
        """What moves with the jaw, to begin with."""
        return ((self.jaw.weight[:3], self.jaw.bias[:3]),)

    def forward(self, gbuffer: GBuffer, rays: Rays, code: Tensor) -> Patch:
        """A G-buffer, the rays of its pixels and its code [E] -> [N,2*channels + 1] around the
        mouth; the last channel is 1 where a tooth could be seen, elsewhere all are 0."""
        return self.patch(see(gbuffer, rays, self.parts(code)))

    def parts(self, code: Tensor) -> list[Part]:
        """The mouth by a code [E], of which all but the gaze counts."""
        around = Surroundings(self.centre, self.radius, self.REACH)
        motion = self.jaw(code[:-GAZE_DIM].to(self.jaw.weight))
        skull = Frame(torch.zeros_like(motion[:3]), torch.eye(3).to(motion))
        jaw = Frame(motion[:3], _turned_about_x(motion[3]))
        rows = ((self.upper, skull), (self.lower, jaw))
        return [Part(around, [PlacedSheet(*row, behind=-self.BEFORE) for row in rows])]

    def patch(self, seen: Sequence[Sighting]) -> Patch:
        """[N,2*channels + 1] of what is seen of `parts`."""
        (mouth,) = seen
        sees = (mouth.depths[0].isfinite() | mouth.depths[1].isfinite())[:, None]
        return Patch(mouth.pixels, torch.cat([*mouth.features, sees], dim=1))


class LayeredMouth(nn.Module):
    """Teeth, tongue, and the dark behind them: sheets that hide each other, as things do.

    The upper row keeps its place on the skull; the lower row and the tongue move with the
    expression. Each sheet learns how opaque it is at each place, so that a pixel shows what lies
    nearest. The dark has no place of its own: its sheet is coarse.
    """

    RESOLUTION, COARSE = 96, 12
    CAVITY, REACH = (0.0, 0.4, -2.0), 2.8
    """The middle of the mouth's inside, in radii from the teeth's centre, and how far its walls are
    from there. Lips, cheeks and chin do not face it, which some expressions pull back behind the
    teeth; the collar, which does, is out of reach."""

    def __init__(
        self, channels: int, expression_dim: int, centre: Sequence[float], radius: float
    ) -> None:
        """The rows reach 3 `radius` to the sides of the teeth's `centre`, and 1.2 up and down;
        world units."""
        super().__init__()
        self.channels, self.centre, self.radius = channels, centre, radius
        fine, coarse, features = self.RESOLUTION, self.COARSE, channels + 1
        # Bent like the dental arch; a tongue's tip; a wide wall behind both.
        self.upper, self.lower = (
            Sheet(features, fine, (3.0, 1.2), 0.0, (0.35, 0.15)) for _ in range(2)
        )
        self.tongue = Sheet(features, fine // 2, (1.6, 1.5), -0.8, (0.6, 1.0))
        self.back = Sheet(features, coarse, (4.0, 4.0), -1.5, (0.35, 0.0))
        self.motion = nn.Linear(expression_dim, 8)
        """z_exp -> of the jaw and of the tongue, a shift in radii and a pitch in radians about the
        teeth's centre."""
        nn.init.zeros_(self.motion.weight)
        nn.init.zeros_(self.motion.bias)
        with torch.no_grad():
            # The last feature is opacity, before a sigmoid: at first the dark is almost opaque.
            self.tongue.plane[-1], self.back.plane[-1] = -1.0, 4.0
            # A tongue at rest lies below the upper teeth.
            self.motion.bias[5] = -0.8

    @property
    def features(self) -> int:
        """Channels of its patch."""
        return self.channels + 2

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """All of them."""
        return self.upper, self.lower, self.back, self.tongue

    @property
    def shifts(self) -> tuple[Moving, ...]:
        """What moves with the jaw, to begin with."""
        return tuple(
            (self.motion.weight[at], self.motion.bias[at]) for at in (slice(0, 3), slice(4, 7))
        )

    def forward(self, gbuffer: GBuffer, rays: Rays, code: Tensor) -> Patch:
        """A G-buffer, the rays of its pixels and its code [E] -> [N,channels + 2] around the mouth:
        features of what is nearest, how opaque it is, and 1 where the mouth's inside is seen."""
        return self.patch(see(gbuffer, rays, self.parts(code)))

    def parts(self, code: Tensor) -> list[Part]:
        """The mouth by a code [E], of which all but the gaze counts."""
        motion = self.motion(code[:-GAZE_DIM].to(self.motion.weight))
        skull = Frame(torch.zeros_like(motion[:3]), torch.eye(3).to(motion))
        jaw, tongue = (Frame(m[:3], _turned_about_x(m[3])) for m in motion.split(4))
        frames = skull, jaw, skull, tongue
        sheets = [
            PlacedSheet(*placed, behind=-MouthSheets.BEFORE)
            for placed in zip(self.sheets, frames, strict=True)
        ]
        around = Surroundings(self.centre, self.radius, self.REACH, self.CAVITY, walls=True)
        return [Part(around, sheets)]

    def patch(self, seen: Sequence[Sighting]) -> Patch:
        """[N,channels + 2] of what is seen of `parts`."""
        (mouth,) = seen
        features, depths = torch.stack(list(mouth.features), 1), torch.stack(list(mouth.depths), 1)
        seen_at_all = depths.isfinite()
        visible = shown(features[..., -1].sigmoid() * seen_at_all, depths)
        blended = (features[..., :-1] * visible[..., None]).sum(dim=1)
        inside = seen_at_all.any(dim=1)
        opacity = visible.sum(dim=1, keepdim=True)
        return Patch(mouth.pixels, torch.cat([blended, opacity, inside[:, None]], dim=1))


def _turned_about_x(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes y towards z."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).view(3, 3)


def _turned_about_y(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes z towards x."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos]).view(3, 3)
