"""Learned features of what keeps no place on the head's surface: irises and teeth.

They lie on sheets of their own, a little behind the surface, that move as rigid parts. A pixel sees
a place of a sheet where its ray meets it, so each keeps its features from every side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.diffusion.conditioning import Patch
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer, Rays

Bundle = tuple[Tensor, Tensor]
"""Origins and directions [N,3] of rays; depth along them is that of the G-buffer."""


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

    def forward(self, gbuffer: GBuffer, rays: Rays, gaze: Tensor) -> Patch:
        """A G-buffer, the rays of its pixels and its gaze [4] -> [N,channels] around the eyes."""
        patches = []
        angles = self.turn(gaze.to(self.turn.weight)).view(-1, 2)
        for sheet, centre, (yaw, pitch) in zip(self.sheets, self.centres, angles, strict=True):
            pixels, bundle, depth = _near(gbuffer, rays, centre, self.radius, reach=1.3)
            # A positive pitch looks up, which turns z towards y.
            head_from_eye = _turned_about_y(yaw) @ _turned_about_x(-pitch)
            features, _ = sheet(_in_frame(bundle, head_from_eye), depth + self.BEHIND)
            patches.append(Patch(pixels, features))
        return Patch(*(torch.cat(parts) for parts in zip(*patches, strict=True)))


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
        pixels, bundle, depth = _near(gbuffer, rays, self.centre, self.radius, reach=self.REACH)
        farthest = depth - self.BEFORE
        upper, sees_upper = self.upper(bundle, farthest)
        lower, sees_lower = self.lower(self._in_jaw(bundle, code[:-GAZE_DIM]), farthest)
        sees = (sees_upper | sees_lower)[:, None]
        return Patch(pixels, torch.cat([upper, lower, sees], dim=1))

    def _in_jaw(self, rays: Bundle, z_exp: Tensor) -> Bundle:
        motion = self.jaw(z_exp.to(self.jaw.weight))
        origin, direction = rays
        return _in_frame((origin - motion[:3], direction), _turned_about_x(motion[3]))


def _near(
    gbuffer: GBuffer, rays: Rays, centre: Sequence[float], radius: float, reach: float
) -> tuple[Tensor, Bundle, Tensor]:
    """The pixels [N] whose canonical places are within `reach` radii of a centre, and their rays
    and depths in the frame with its origin there and the radius as its unit."""
    origin = gbuffer.canonical.new_tensor(centre)
    pixels = pixels_near(gbuffer, origin, reach * radius)
    start = ((rays.origin - origin) / radius).expand(len(pixels), 3)
    direction = rays.direction.flatten(0, 1)[pixels]
    return pixels, (start, direction), gbuffer.depth.flatten()[pixels] / radius


def pixels_near(gbuffer: GBuffer, centre: Tensor, reach: float) -> Tensor:
    """[N] numbers of the pixels whose canonical places are less than `reach` from a centre [3], in
    each of the three coordinates."""
    if gbuffer.mask.device.type == "cpu":
        from avatar_viewer.diffusion import look_up_kernel

        return look_up_kernel.pixels_near(gbuffer, centre, reach)
    return plain_pixels_near(gbuffer, centre, reach)


def plain_pixels_near(gbuffer: GBuffer, centre: Tensor, reach: float) -> Tensor:
    """`pixels_near` in plain torch, on any device."""
    near = gbuffer.mask & ((gbuffer.canonical - centre).abs() < reach).all(dim=-1)
    return near.flatten().nonzero().squeeze(1)


def _in_frame(rays: Bundle, head_from_frame: Tensor) -> Bundle:
    """Rays in a frame of the same origin that is turned by the rotation [3,3]."""
    origin, direction = rays
    return origin @ head_from_frame, direction @ head_from_frame


def _turned_about_x(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes y towards z."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).view(3, 3)


def _turned_about_y(angle: Tensor) -> Tensor:
    """[3,3] rotation that takes z towards x."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos]).view(3, 3)
