"""Learned features of what keeps no place on the head's surface: irises and teeth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer, Rays


class EyePlanes(nn.Module):
    """Features that turn with the eyes: each eye has a plane that gaze shifts."""

    RESOLUTION = 64

    def __init__(self, channels: int, centres: Sequence[Sequence[float]], radius: float) -> None:
        """Each plane spans `radius` around its eye's centre, canonical x and y."""
        super().__init__()
        self.centres, self.radius = centres, radius
        size = (len(centres), channels, self.RESOLUTION, self.RESOLUTION)
        self.planes = nn.Parameter(torch.zeros(size))
        # (yaw, pitch) in -1..1 -> shift in radii, learned: an eyeball of 12 mm that turns by 30
        # degrees moves its pupil by 6 mm.
        self.shift = nn.Parameter(0.3 * torch.eye(2).repeat(len(centres), 1, 1))

    def forward(self, gbuffer: GBuffer, gaze: Tensor) -> Tensor:
        """A G-buffer and its gaze [4] -> [H,W,channels], zero but around the eyes."""
        x, y, z = gbuffer.canonical.unbind(-1)
        reach = 2 * self.radius  # a plane's own radius, and as much of shift
        near = [
            ((x - column).abs() < reach) & ((y - row).abs() < reach) for column, row in self.centres
        ]
        around = gbuffer.mask & (z > 0) & torch.stack(near).any(dim=0)
        seen = gbuffer.canonical[around]
        centres = seen.new_tensor(self.centres)
        turned = torch.einsum("eij,ej->ei", self.shift, gaze.view(-1, 2).to(self.shift))
        local = (seen[None, :, :2] - centres[:, None]) / self.radius - turned[:, None]
        features = functional.grid_sample(self.planes, local[:, None], align_corners=False)
        image = seen.new_zeros((*gbuffer.mask.shape, self.planes.shape[1]))
        image[around] = features.sum(0)[:, 0].T
        return image


class MouthPlanes(nn.Module):
    """Features of the two rows of teeth, which lips uncover and which move as rigid parts: the
    upper one with the skull, the lower one with the jaw."""

    def __init__(
        self, channels: int, expression_dim: int, centre: Sequence[float], radius: float
    ) -> None:
        """The rows reach 2 `radius` to the sides of the teeth's `centre`, and one up and down;
        world units."""
        super().__init__()
        self.centre, self.radius = centre, radius
        self.upper, self.lower = RowOfTeeth(channels), RowOfTeeth(channels)
        self.jaw = nn.Linear(expression_dim, 4)
        """z_exp -> the jaw's shift in radii, and its pitch in radians about the teeth's centre."""
        nn.init.zeros_(self.jaw.weight)
        nn.init.zeros_(self.jaw.bias)

    def forward(self, gbuffer: GBuffer, rays: Rays, code: Tensor) -> Tensor:
        """A G-buffer, the rays of its pixels and its code [E] -> [H,W,2*channels], zero where no
        tooth can be seen."""
        centre = gbuffer.canonical.new_tensor(self.centre)
        offset = gbuffer.canonical - centre
        around = gbuffer.mask & (offset.abs() < 3 * self.radius).all(dim=-1)
        # From here on the teeth's centre is the origin and the radius the unit.
        origin = ((rays.origin - centre) / self.radius).expand(int(around.sum()), 3)
        direction = rays.direction[around]
        depth = gbuffer.depth[around] / self.radius
        upper = self.upper(origin, direction, depth)
        lower = self.lower(*self._in_jaw(origin, direction, code[:-GAZE_DIM]), depth)
        features = torch.cat([upper, lower], dim=1)
        image = depth.new_zeros((*gbuffer.mask.shape, features.shape[1]))
        image[around] = features
        return image

    def _in_jaw(self, origin: Tensor, direction: Tensor, z_exp: Tensor) -> tuple[Tensor, Tensor]:
        """Rays in the frame that moves with the jaw."""
        motion = self.jaw(z_exp.to(self.jaw.weight))
        cos, sin = motion[3].cos(), motion[3].sin()
        one, zero = torch.ones_like(cos), torch.zeros_like(cos)
        head_from_jaw = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).view(3, 3)
        return (origin - motion[:3]) @ head_from_jaw, direction @ head_from_jaw


class RowOfTeeth(nn.Module):
    """A sheet of features, bent like the dental arch: z = front - curvature x².

    A pixel sees it where its ray meets it before it meets the head's surface, which is behind the
    teeth where the mouth is open.
    """

    RESOLUTION = 96

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.plane = nn.Parameter(torch.zeros(channels, self.RESOLUTION, self.RESOLUTION))
        self.front = nn.Parameter(torch.zeros(()))
        self.curvature = nn.Parameter(torch.tensor(0.4))

    def forward(self, origin: Tensor, direction: Tensor, depth: Tensor) -> Tensor:
        """Rays [N,3] from one origin [N,3], and the depth [N] of the surface -> [N,channels]; the
        row's radius is the unit."""
        meet = _nearest_hit(origin, direction, self.front, self.curvature)
        seen = meet < depth
        # Nothing infinite may reach what is learned, not even times zero.
        x, y, _ = (origin + torch.where(seen, meet, 0)[:, None] * direction).unbind(1)
        place = torch.stack([x / 2, y], dim=1)
        features = functional.grid_sample(self.plane[None], place[None, None], align_corners=False)
        return features[0, :, 0].T * seen[:, None]


def _nearest_hit(origin: Tensor, direction: Tensor, front: Tensor, curvature: Tensor) -> Tensor:
    """[N] depths at which rays meet z = front - curvature x² from before, infinite where they do
    not.

    Rays from before the sheet have a negative z; the usual quadratic, in the form that also holds
    for one without a square.
    """
    square = curvature * direction[:, 0] ** 2
    linear = direction[:, 2] + 2 * curvature * origin[:, 0] * direction[:, 0]
    constant = origin[:, 2] - front + curvature * origin[:, 0] ** 2
    discriminant = linear**2 - 4 * square * constant
    meets = (discriminant > 0) & (linear < 0)
    root = torch.where(meets, discriminant, 1.0).sqrt()
    depth = 2 * constant / (root - linear).clamp(min=1e-6)
    return torch.where(meets & (depth > 0), depth, torch.inf)
