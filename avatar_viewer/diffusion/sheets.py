"""Learned features of what keeps no place on the head's surface: irises, teeth, tongue.

They lie on sheets of their own that move as rigid parts. A pixel sees a place of a sheet where its
ray meets it, so each keeps its features from every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    """How far from the middle, in radii and each coordinate, a pixel's place may be."""
    middle: Sequence[float] = (0.0, 0.0, 0.0)
    """In radii from the centre."""
    walls: bool = False
    """Whether only surface that faces the middle uncovers sheets, as the walls of a cavity do."""


class Sheet(nn.Module):
    """Features on z = front - bend · (x², y²), which is seen from before."""

    def __init__(
        self,
        channels: int,
        resolution: int,
        half_size: tuple[float, float],
        front: float,
        bend: tuple[float, float],
    ) -> None:
        """It reaches `half_size` to each side in x and in y; radii, as are front and 1/bend."""
        super().__init__()
        self.half_size = half_size
        self.plane = nn.Parameter(torch.zeros(channels, resolution, resolution))
        self.front = nn.Parameter(torch.tensor(front))
        self.bend = nn.Parameter(torch.tensor(bend))

    def forward(self, rays: Bundle, farthest: Tensor) -> tuple[Tensor, Tensor]:
        """[N,channels] where rays meet the sheet nearer than `farthest` [N], elsewhere zero; and
        at what depth they do, infinite if they do not."""
        origin, direction = rays
        meet = nearest_hit(rays, self.front, self.bend)
        # Nothing infinite may reach what is learned, not even times zero.
        near = meet < farthest
        x, y, _ = (origin + torch.where(near, meet, 0)[:, None] * direction).unbind(1)
        place = torch.stack([x / self.half_size[0], y / self.half_size[1]], dim=1)
        features = functional.grid_sample(self.plane[None], place[None, None], align_corners=False)
        seen = near & (place.abs() < 1).all(dim=1)
        return features[0, :, 0].T * seen[:, None], torch.where(seen, meet, torch.inf)


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


class PlacedSheet(NamedTuple):
    """A sheet in a part of the head."""

    sheet: Sheet
    frame: Frame
    behind: float
    """How far behind the surface, in radii, it is still seen; less than 0: how far before it must
    lie."""


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
    depths: Sequence[Tensor]
    """[N] of each sheet, in radii along the rays; infinite where it is not seen."""


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
    to_middle = around.radius * centre.new_tensor(around.middle) - (gbuffer.canonical - centre)
    near = gbuffer.mask & (to_middle.abs() < around.reach * around.radius).all(dim=-1)
    if around.walls:
        near &= (gbuffer.normal * to_middle).sum(dim=-1) > 0
    pixels = near.flatten().nonzero().squeeze(1)
    start = ((rays.origin - centre) / around.radius).expand(len(pixels), 3)
    direction = rays.direction.flatten(0, 1)[pixels]
    surface = gbuffer.depth.flatten()[pixels] / around.radius
    features, depths = zip(
        *(
            sheet(((start - origin) @ turn, direction @ turn), surface + behind)
            for sheet, (origin, turn), behind in sheets
        ),
        strict=True,
    )
    return Sighting(pixels, features, depths)


def shown(opacity: Tensor, depth: Tensor) -> Tensor:
    """[N,S] how much pixels show of S sheets with opacities [N,S] in 0..1, of which the nearer ones
    hide the others: the operator "over" of Porter and Duff (1984), in order of depth [N,S]."""
    nearer = depth[:, None, :] < depth[:, :, None]
    return opacity * torch.where(nearer, 1 - opacity[:, None, :], 1.0).prod(dim=2)
