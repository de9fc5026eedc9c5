"""Learned features of what keeps no place on the head's surface: irises and teeth.

They lie on sheets of their own, a little behind the surface, that move as rigid parts. A pixel sees
a place of a sheet where its ray meets it, so each keeps its features from every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.diffusion.conditioning import Patch
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer, Rays

Bundle = tuple[Tensor, Tensor]
"""Origins and directions [N,3] of rays; depth along them is that of the G-buffer."""


class Frame(NamedTuple):
    """Where a sheet is, in radii around the centre of its surroundings."""

    origin: Tensor
    """[3]."""
    head_from_frame: Tensor
    """[3,3], a rotation."""


class Surroundings(NamedTuple):
    """The part of the head where sheets are looked for."""

    centre: Sequence[float]
    """Canonical, world units, as is the radius."""
    radius: float
    reach: float
    """How far from the centre, in radii, a pixel's place may be."""
    behind: float
    """How far behind that place, in radii, it sees sheets; less than 0: how far before."""


class Sheet(nn.Module):
    """Features on z = front - bend · (x², y²), which is seen from before."""

    def __init__(
        self, channels: int, resolution: int, aspect: float, front: float, bend: tuple[float, float]
    ) -> None:
        """It reaches from -aspect to aspect in x and from -1 to 1 in y."""
        super().__init__()
        self.aspect = aspect
        self.plane = nn.Parameter(torch.zeros(channels, resolution, resolution))
        self.front = nn.Parameter(torch.tensor(front))
        self.bend = nn.Parameter(torch.tensor(bend))

    def forward(self, rays: Bundle, farthest: Tensor) -> tuple[Tensor, Tensor]:
        """[N,channels] where rays meet the sheet nearer than `farthest` [N], elsewhere zero; and
        whether they do."""
        origin, direction = rays
        meet = nearest_hit(rays, self.front, self.bend)
        # Nothing infinite may reach what is learned, not even times zero.
        near = meet < farthest
        x, y, _ = (origin + torch.where(near, meet, 0)[:, None] * direction).unbind(1)
        place = torch.stack([x / self.aspect, y], dim=1)
        features = functional.grid_sample(self.plane[None], place[None, None], align_corners=False)
        seen = near & (place.abs() < 1).all(dim=1)
        return features[0, :, 0].T * seen[:, None], seen


def nearest_hit(rays: Bundle, front: Tensor, bend: Tensor) -> Tensor:
    """[N] depths at which rays meet z = front - bend · (x², y²) from before, infinite where they do
    not.

    The usual quadratic, in the form that also holds for one without a square.
    """
    (across, z), (direction, towards) = ((ray[:, :2], ray[:, 2]) for ray in rays)
    square = direction.square() @ bend
    linear = towards + 2 * (across * direction) @ bend
    constant = z - front + across.square() @ bend
    discriminant = linear**2 - 4 * square * constant
    meets = (discriminant > 0) & (linear < 0)
    root = torch.where(meets, discriminant, 1.0).sqrt()
    depth = 2 * constant / (root - linear).clamp(min=1e-6)
    return torch.where(meets & (depth > 0), depth, torch.inf)


PlacedSheet = tuple[Sheet, Frame]


class Part(NamedTuple):
    """A part of the head, and what it may uncover."""

    around: Surroundings
    sheets: Sequence[PlacedSheet]


class Sighting(NamedTuple):
    """What a picture's pixels see of a part's sheets."""

    pixels: Tensor
    """[N] int64, the pixels that could see one."""
    features: Sequence[Tensor]
    """[N,channels] of each sheet, zero where it is not seen."""
    sees: Sequence[Tensor]
    """[N] bool, for each sheet whether it is seen."""


def see(gbuffer: GBuffer, rays: Rays, parts: Sequence[Part]) -> list[Sighting]:
    """What pixels see whose canonical places are within reach of a part, in each of the three
    coordinates; where nothing is learned, a CPU leaves out those that see none of the sheets."""
    if gbuffer.mask.device.type == "cpu" and not torch.is_grad_enabled():
        from avatar_viewer.diffusion import sheet_kernel

        return sheet_kernel.see(gbuffer, rays, parts)
    return [plain_see(gbuffer, rays, part) for part in parts]


def plain_see(gbuffer: GBuffer, rays: Rays, part: Part) -> Sighting:
    """`see` of one part, in plain torch: any device, differentiable."""
    around, sheets = part
    centre = gbuffer.canonical.new_tensor(around.centre)
    offset = gbuffer.canonical - centre
    near = gbuffer.mask & (offset.abs() < around.reach * around.radius).all(dim=-1)
    pixels = near.flatten().nonzero().squeeze(1)
    start = ((rays.origin - centre) / around.radius).expand(len(pixels), 3)
    direction = rays.direction.flatten(0, 1)[pixels]
    farthest = gbuffer.depth.flatten()[pixels] / around.radius + around.behind
    features, sees = zip(
        *(
            sheet(((start - origin) @ turn, direction @ turn), farthest)
            for sheet, (origin, turn) in sheets
        ),
        strict=True,
    )
    return Sighting(pixels, features, sees)


class EyeSheets(nn.Module):
    """Irises, which turn with the gaze about the eyes' centres."""

    RESOLUTION = 64
    BEHIND = 0.3
    """How far, in radii, a sheet may lie behind the surface, which is itself that of the eye."""

    def __init__(self, channels: int, centres: Sequence[Sequence[float]], radius: float) -> None:
        """Sheets reach `radius` around the axes of gaze through the eyes' `centres`; world
        units."""
        super().__init__()
        self.channels, self.centres, self.radius = channels, centres, radius
        # An eyeball's: 12 mm where the radius is 15 mm.
        self.sheets = nn.ModuleList(
            Sheet(channels, self.RESOLUTION, 1.0, 0.8, (0.6, 0.6)) for _ in centres
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
            around = Surroundings(centre, self.radius, reach=1.3, behind=self.BEHIND)
            # A positive pitch looks up, which turns z towards y.
            turn = _turned_about_y(yaw) @ _turned_about_x(-pitch)
            parts.append(Part(around, [(sheet, Frame(turn.new_zeros(3), turn))]))
        return parts

    def patch(self, seen: Sequence[Sighting]) -> Patch:
        """[N,channels] of what is seen of `parts`."""
        pixels, features = zip(*((each.pixels, each.features[0]) for each in seen), strict=True)
        return Patch(torch.cat(pixels), torch.cat(features))


class MouthSheets(nn.Module):
    """The two rows of teeth, which lips uncover: the upper one keeps its place on the skull, the
    lower one moves with the jaw."""

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
        self.centre, self.radius = centre, radius
        # Bent like the dental arch.
        self.upper, self.lower = (
            Sheet(channels, self.RESOLUTION, 2.0, 0.0, (0.35, 0.15)) for _ in range(2)
        )
        self.jaw = nn.Linear(expression_dim, 4)
        """z_exp -> the jaw's shift in radii, and its pitch in radians about the teeth's centre."""
        nn.init.zeros_(self.jaw.weight)
        nn.init.zeros_(self.jaw.bias)

    def forward(self, gbuffer: GBuffer, rays: Rays, code: Tensor) -> Patch:
        """A G-buffer, the rays of its pixels and its code [E] -> [N,2*channels + 1] around the
        mouth; the last channel is 1 where a tooth could be seen, elsewhere all are 0."""
        return self.patch(see(gbuffer, rays, self.parts(code)))

    def parts(self, code: Tensor) -> list[Part]:
        """The mouth by a code [E], of which all but the gaze counts."""
        around = Surroundings(self.centre, self.radius, self.REACH, behind=-self.BEFORE)
        motion = self.jaw(code[:-GAZE_DIM].to(self.jaw.weight))
        skull = Frame(torch.zeros_like(motion[:3]), torch.eye(3).to(motion))
        jaw = Frame(motion[:3], _turned_about_x(motion[3]))
        return [Part(around, [(self.upper, skull), (self.lower, jaw)])]

    def patch(self, seen: Sequence[Sighting]) -> Patch:
        """[N,2*channels + 1] of what is seen of `parts`."""
        (mouth,) = seen
        sees = (mouth.sees[0] | mouth.sees[1])[:, None]
        return Patch(mouth.pixels, torch.cat([*mouth.features, sees], dim=1))


def _turned_about_x(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes y towards z."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).view(3, 3)


def _turned_about_y(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes z towards x."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos]).view(3, 3)
