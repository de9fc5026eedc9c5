"""Latents -> picture with the help of the head's surface: sharp where a small latent is not.

A latent that stands for 16 x 16 pixels cannot hold lashes and strands. But those belong to places
of the surface, and the rasterizer says where each place lies, to a fraction of a pixel. So this
decoder reads rigged features of its own at every pixel (deferred neural textures: Thies et al.
2019; a VAE decoder that sees pictures besides latents: Zhu et al. 2023), while the latents tell it
what depends on expression and light.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.diffusion.conditioning import GEOMETRY_CHANNELS, folded_control
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer


class RiggedDecoder(ModelMixin, ConfigMixin):
    """Convolutions from latents up to blocks of `fold` x `fold` pixels, where the surface joins."""

    @register_to_config
    def __init__(  # noqa: PLR0913 - the sizes of a network
        self,
        latent_channels: int = 4,
        code_dim: int = 206,
        channels: tuple[int, ...] = (128, 96, 64),
        blocks: tuple[int, ...] = (2, 2, 3),
        fold: int = 4,
        plane_channels: int = 4,
        plane_resolution: int = 512,
        code_features: int = 32,
        eye_channels: int = 0,
        eye_centres: tuple[tuple[float, float], ...] = ((0.128, 0.112), (-0.128, 0.112)),
        eye_radius: float = 0.08,
        box_min: tuple[float, float, float] = (-1.0, -1.0, -1.0),
        box_max: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Each of the `channels` is a level with so many `blocks`; all but the last are followed by
        a doubling of the resolution. The box is the one that the planes span. With `eye_channels`
        the last four numbers of a code are gaze; `eye_centres` are then those of the left and the
        right eye, x and y in canonical space."""
        super().__init__()
        self.triplane = TriPlane(plane_channels, plane_resolution, box_min, box_max)
        # Fine planes have places that no training picture shows: nothing rather than noise there.
        nn.init.zeros_(self.triplane.planes)
        self.eyes = EyePlanes(eye_channels, eye_centres, eye_radius)
        surface = (GEOMETRY_CHANNELS + self.triplane.features + eye_channels) * fold**2
        self.code = nn.Sequential(nn.Linear(code_dim, code_features), nn.SiLU())
        self.enter = nn.Conv2d(latent_channels, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            Level(width, count, code_features)
            for width, count in zip(channels, blocks, strict=True)
        )
        self.widen = nn.ModuleList(
            nn.Conv2d(below, above, 3, padding=1) for below, above in pairwise(channels)
        )
        self.surface = nn.Conv2d(surface, channels[-1], 1)
        self.texture = nn.Conv2d(surface, 3 * fold**2, 1)
        self.leave = nn.Conv2d(channels[-1], 3 * fold**2, 3, padding=1)

    @property
    def pixels_per_latent(self) -> int:
        """Of the decoded picture, along one axis."""
        return self.config["fold"] * 2 ** len(self.widen)

    def look_up(self, gbuffers: Sequence[GBuffer], codes: Tensor) -> Tensor:
        """G-buffers of B pictures, in the pictures' own size, and codes [B,E] -> what `forward`
        takes of them: [B,C,H/fold,W/fold]."""
        eyes = None
        if self.config["eye_channels"] > 0:
            eyes = [self.eyes(g, code[-GAZE_DIM:]) for g, code in zip(gbuffers, codes, strict=True)]
        return folded_control(gbuffers, self.triplane, self.config["fold"], eyes)

    def forward(self, latents: Tensor, surface: Tensor, codes: Tensor) -> Tensor:
        """Latents [B,C,h,w], what was looked up, and codes [B,E] -> [B,3,H,W], -1..1 but for
        overshoots."""
        code = self.code(codes)
        x = self.enter(latents)
        for number, level in enumerate(self.levels):
            if number > 0:
                x = self.widen[number - 1](functional.interpolate(x, scale_factor=2))
            if number == len(self.levels) - 1:
                x = x + self.surface(surface)
            x = level(x, code)
        folded = self.leave(x) + self.texture(surface)
        return functional.pixel_shuffle(folded, self.config["fold"])


class EyePlanes(nn.Module):
    """Features that turn with the eyes: irises keep no place on the head's surface, so each eye has
    a plane that gaze shifts."""

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


class Level(nn.ModuleList):
    """Blocks of one resolution, one after the other."""

    def __init__(self, width: int, blocks: int, code_features: int) -> None:
        super().__init__(ResidualBlock(width, code_features) for _ in range(blocks))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """[B,W,h,w] and [B,F] -> [B,W,h,w]."""
        for block in self:
            x = block(x, code)
        return x


class ResidualBlock(nn.Module):
    """Two convolutions, modulated by the code in between (FiLM: Perez et al. 2018); the identity at
    first. Without a norm it answers the same for a part of a picture as for the whole."""

    def __init__(self, width: int, code_features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.modulate = nn.Linear(code_features, 2 * width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        for parameter in (*self.modulate.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """[B,W,h,w] and [B,F] -> [B,W,h,w]."""
        scale, shift = self.modulate(code)[..., None, None].chunk(2, dim=1)
        return x + self.second(functional.silu(self.first(x) * (1 + scale) + shift))
