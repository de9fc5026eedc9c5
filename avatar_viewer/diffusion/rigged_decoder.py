"""Latents -> picture with the help of the head's surface: sharp where a small latent is not.

A latent that stands for 16 x 16 pixels cannot hold lashes and strands. But those belong to places
of the surface, and the rasterizer says where each place lies, to a fraction of a pixel. So this
decoder reads rigged features of its own at every pixel (deferred neural textures: Thies et al.
2019; a VAE decoder that sees pictures besides latents: Zhu et al. 2023), while the latents tell it
what depends on expression and light.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.diffusion.conditioning import (
    GEOMETRY_CHANNELS,
    Patch,
    plain_folded_control,
)
from avatar_viewer.diffusion.doubling import Doubling
from avatar_viewer.diffusion.moving_planes import EyeSheets, LayeredMouth, MouthSheets, see
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import GAZE_DIM
from avatar_viewer.stages import GBuffer, Rays


class Surface(NamedTuple):
    """What a decoder looked up of the head's surface, for each block of fold x fold pixels."""

    features: Tensor
    """[B,W,H/fold,W/fold], what the last level's convolutions see."""
    texture: Tensor
    """[B,colours*fold²,H/fold,W/fold], what is added to the picture."""
    inside: Tensor
    """[B,1,H/fold,W/fold], how many of a block's pixels show the mouth's inside."""


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
        eye_centres: tuple[tuple[float, float, float], ...] = (
            (0.128, 0.112, 0.24),
            (-0.128, 0.112, 0.24),
        ),
        eye_radius: float = 0.06,
        mouth_channels: int = 0,
        mouth_centre: tuple[float, float, float] = (0.0, -0.13, 0.33),
        mouth_radius: float = 0.08,
        mouth_layers: bool = False,
        alpha: bool = False,
        box_min: tuple[float, float, float] = (-1.0, -1.0, -1.0),
        box_max: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Each of the `channels` is a level with so many `blocks`; all but the last are followed by
        a doubling of the resolution. The box is the one that the planes span. With `eye_channels`
        the last four numbers of a code are gaze; `eye_centres` are then those of the left and the
        right eye, in world units. With `mouth_channels` sheets of features lie where teeth are.
        With `alpha` a fourth channel tells how opaque the head is at each pixel."""
        super().__init__()
        self.triplane = TriPlane(plane_channels, plane_resolution, box_min, box_max)
        # Fine planes have places that no training picture shows: nothing rather than noise there.
        nn.init.zeros_(self.triplane.planes)
        if not min(eye_radius, mouth_radius) > 0:
            radii = (eye_radius, mouth_radius)
            raise ValueError(f"eye_radius, mouth_radius: expected more than 0, found {radii}")
        self.eyes = self.mouth = None
        if eye_channels > 0:
            self.eyes = EyeSheets(eye_channels, eye_centres, eye_radius)
        if mouth_channels > 0:
            expression_dim = code_dim - GAZE_DIM
            kind = LayeredMouth if mouth_layers else MouthSheets
            self.mouth = kind(mouth_channels, expression_dim, mouth_centre, mouth_radius)
        mouth_features = self.mouth.features if self.mouth is not None else 0
        moving = [count for count in (eye_channels, mouth_features) if count > 0]
        self.pixel_channels = [GEOMETRY_CHANNELS + self.triplane.features, *moving]
        """Of the surface everywhere, then of the eyes and of the mouth where there are any."""
        surface, colours = sum(self.pixel_channels) * fold**2, (4 if alpha else 3) * fold**2
        self.expression = nn.Sequential(nn.Linear(code_dim, code_features), nn.SiLU())
        self.enter = nn.Conv2d(latent_channels, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            Level(width, count, code_features)
            for width, count in zip(channels, blocks, strict=True)
        )
        self.widen = nn.ModuleList(
            Doubling(below, above) for below, above in itertools.pairwise(channels)
        )
        self.surface = nn.Conv2d(surface, channels[-1], 1)
        self.texture = nn.Conv2d(surface, colours, 1)
        self.leave = nn.Conv2d(channels[-1], colours, 3, padding=1)
        self._kept: tuple[list[tuple[int, int]], tuple[Tensor, ...]] | None = None

    @property
    def colours(self) -> int:
        """Channels of the decoded picture: three, and opacity where it is told."""
        return 4 if self.config["alpha"] else 3

    @property
    def _widths(self) -> tuple[int, int, int]:
        """Channels of a `Surface`."""
        return self.config["channels"][-1], self.colours * self.config["fold"] ** 2, 1

    @property
    def pixels_per_latent(self) -> int:
        """Of the decoded picture, along one axis."""
        return self.config["fold"] * 2 ** len(self.widen)

    def look_up(self, gbuffers: Sequence[GBuffer], rays: Sequence[Rays], codes: Tensor) -> Surface:
        """G-buffers of B pictures in the pictures' own size, their pixels' rays, and codes [B,E] ->
        what the convolutions `surface` and `texture` answer, and where the mouth's inside is.

        Where nothing is learned, a CPU looks only at blocks that show the head.
        """
        seen, moving = self._seen(gbuffers, rays, codes)
        if self.surface.weight.device.type == "cpu" and not torch.is_grad_enabled():
            from avatar_viewer.diffusion import look_up_kernel

            bias, *matrices = self._matrices()
            projection = (bias, matrices, self._widths)
            return Surface(
                *look_up_kernel.projected(
                    seen, moving, self.triplane, self.config["fold"], projection
                )
            )
        return self._projected(
            plain_folded_control(seen, self.triplane, self.config["fold"], moving)
        )

    def look_up_parts(
        self,
        gbuffers: Sequence[GBuffer],
        rays: Sequence[Rays],
        codes: Tensor,
        mean_depths: Sequence[Tensor],
    ) -> Surface:
        """`look_up` for parts of pictures, of which the mean depth of the whole heads is known."""
        seen, moving = self._seen(gbuffers, rays, codes)
        return self._projected(
            plain_folded_control(seen, self.triplane, self.config["fold"], moving, mean_depths)
        )

    def _projected(self, folded: Tensor) -> Surface:
        weight, bias = self._projection()
        projected = functional.conv2d(folded.to(weight), weight[..., None, None], bias)
        return Surface(*projected.split(self._widths, dim=1))

    def _projection(self) -> tuple[Tensor, Tensor]:
        """Weight [out,fold²*E] and bias of `surface`, `texture` and a count of the pixels that show
        the mouth's inside, as one convolution."""
        weights, biases = zip(
            *(layer.parameters() for layer in (self.surface, self.texture)), strict=True
        )
        count = weights[0].new_zeros(1, self.config["fold"] ** 2, sum(self.pixel_channels))
        if self.mouth is not None:
            count[:, :, -1] = 1
        weight = torch.cat([weight.flatten(1) for weight in (*weights, count)])
        return weight, torch.cat([*biases, count.new_zeros(1)])

    def _matrices(self) -> tuple[Tensor, ...]:
        """The projection's bias and, for each part of a pixel's channels, its matrix
        [fold²*E,out]; kept while the weights last."""
        weights = [*self.surface.parameters(), *self.texture.parameters()]
        key = [(weight.data_ptr(), weight._version) for weight in weights]
        if self._kept is None or self._kept[0] != key:
            weight, bias = self._projection()
            pixels = weight.T.unflatten(0, (self.config["fold"] ** 2, -1))
            surface, *moving = (p.flatten(0, 1) for p in pixels.split(self.pixel_channels, dim=1))
            # The product takes a third less time with a multiple of 16 columns.
            self._kept = key, (bias, surface[:, :-1].contiguous(), *moving)
        return self._kept[1]

    def _seen(
        self, gbuffers: Sequence[GBuffer], rays: Sequence[Rays], codes: Tensor
    ) -> tuple[list[GBuffer], list[list[Patch]]]:
        """The surfaces, and features of eyes and teeth."""
        # Where a ray meets a sheet, bfloat16 does not tell.
        with torch.autocast(codes.device.type, enabled=False):
            pictures = zip(gbuffers, rays, codes, strict=True)
            surfaces, moving = zip(*itertools.starmap(self._seen_of_one, pictures), strict=True)
        return list(surfaces), list(moving)

    def _seen_of_one(
        self, gbuffer: GBuffer, rays: Rays, code: Tensor
    ) -> tuple[GBuffer, list[Patch]]:
        sheets = [each for each in (self.eyes, self.mouth) if each is not None]
        parts = [each.parts(code) for each in sheets]
        seen = iter(see(gbuffer, rays, list(itertools.chain(*parts))))
        patches = [
            each.patch([next(seen) for _ in own]) for each, own in zip(sheets, parts, strict=True)
        ]
        if self.mouth is not None:
            teeth = patches[-1]
            gbuffer = self._without_inside(gbuffer, teeth.pixels[teeth.features[:, -1] > 0])
        return gbuffer, patches

    def _without_inside(self, gbuffer: GBuffer, inside: Tensor) -> GBuffer:
        """The pixels [N] of the mouth's inside as one place.

        Each picture shows other parts of that wall, so that its planes would learn by heart what
        stands before it in each training picture, and show noise in others.
        """
        canonical = gbuffer.canonical.clone()
        canonical.view(-1, 3)[inside] = canonical.new_tensor(self.config["mouth_centre"])
        return replace(gbuffer, canonical=canonical)

    def forward(self, latents: Tensor, surface: Surface, codes: Tensor) -> Tensor:
        """Latents [B,C,h,w], what was looked up, and codes [B,E] -> [B,colours,H,W], -1..1
        but for overshoots: the picture over white and its opacity."""
        code = self.expression(codes)
        features, texture, inside = surface
        if self.mouth is not None:
            latents = latents * ~self._in_mouth(inside)
        x = self.enter(latents)
        for number, level in enumerate(self.levels):
            if number > 0:
                x = self.widen[number - 1](x)
            if number == len(self.levels) - 1:
                x = x + features
            x = level(x, code)
        return functional.pixel_shuffle(self.leave(x) + texture, self.config["fold"])

    def smaller(self, factor: int) -> RiggedDecoder:
        """A decoder of pictures 1/`factor` as large from the same latents, as the weights are now.

        Each pixel of the G-buffers that it looks at stands for `factor`² equal ones, and each that
        it draws is the mean of as many. All layers but the last are this decoder's own.
        """
        fold = self.config["fold"]
        if factor < 1 or fold % factor:
            raise AvatarError(f"factor: expected a divisor of the fold {fold}, found {factor}")
        cells = (fold // factor, factor, fold // factor, factor)
        # Weights of inference mode would not tell when they change.
        with torch.inference_mode(False), torch.no_grad():
            with torch.device("meta"):
                small = RiggedDecoder.from_config({**self.config, "fold": fold // factor})
            assert isinstance(small, RiggedDecoder)
            for name in ("triplane", "eyes", "mouth", "expression", "enter", "levels", "widen"):
                setattr(small, name, getattr(self, name))
            blocks = ("surface.", "texture.", "leave.")
            last = {name: w for name, w in self.state_dict().items() if name.startswith(blocks)}
            for name in ("surface.weight", "texture.weight"):
                last[name] = _sums_over_cells(last[name], cells)
            for name in ("texture.weight", "texture.bias", "leave.weight", "leave.bias"):
                last[name] = _means_over_cells(last[name], (self.colours, *cells))
            small.load_state_dict(last, strict=False, assign=True)
        return small

    def with_alpha(self) -> RiggedDecoder:
        """The same decoder with a channel of opacity, which is to be learned: half at first."""
        # Without this entry, in which diffusers notes what it would set back to its defaults.
        config = {name: given for name, given in self.config.items() if name[0] != "_"}
        opaque = RiggedDecoder.from_config({**config, "alpha": True})
        assert isinstance(opaque, RiggedDecoder)
        state = self.state_dict()
        for layer in ("texture", "leave"):
            for name in (f"{layer}.weight", f"{layer}.bias"):
                more = state[name].new_zeros(self.config["fold"] ** 2, *state[name].shape[1:])
                state[name] = torch.cat([state[name], more])
        opaque.load_state_dict(state)
        return opaque

    def _in_mouth(self, inside: Tensor) -> Tensor:
        """[B,1,h,w] bool: latents that see the mouth's inside, or stand beside one that does.

        Those of training pictures know by heart what lies there, which those of other expressions
        only guess. So nothing is learned from them: sheets and code tell it, for both alike.
        """
        seen = functional.max_pool2d(inside, 2 ** len(self.widen))
        return functional.max_pool2d(seen, 3, stride=1, padding=1) > 0


def _sums_over_cells(weight: Tensor, cells: Sequence[int]) -> Tensor:
    """[O,fold²*E,1,1], of the pixels of a block -> [O,(fold/factor)²*E,1,1]."""
    return weight.float().unflatten(1, (*cells, -1)).sum(dim=(2, 4)).flatten(1, 3).to(weight)


def _means_over_cells(weight: Tensor, cells: Sequence[int]) -> Tensor:
    """[colours*fold²,...], for the pixels of a block -> [colours*(fold/factor)²,...]."""
    return weight.float().unflatten(0, cells).mean(dim=(2, 4)).flatten(0, 2).to(weight)


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
