"""Learnable features on three planes, rigged to the head's surface (paper, section 3.2)."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

Box = tuple[tuple[float, float, float], tuple[float, float, float]]

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
"""xy, xz and yz: the coordinates that index each plane."""


class TriPlane(ModelMixin, ConfigMixin):
    """Canonical coordinates -> features: three bilinear look-ups, concatenated, no MLP after."""

    @register_to_config
    def __init__(
        self,
        channels: int = 16,
        resolution: int = 512,
        box_min: tuple[float, float, float] = (-1.0, -1.0, -1.0),
        box_max: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """`channels` per plane; the box of canonical space that the planes span, world units."""
        super().__init__()
        self.planes = nn.Parameter(torch.randn(3, channels, resolution, resolution))
        self._texels: tuple[tuple[int, int], Tensor] | None = None

    @property
    def box(self) -> Box:
        """What the planes span."""
        return self.config["box_min"], self.config["box_max"]

    @property
    def texels(self) -> Tensor:
        """[3,R,R,channels] the planes with each texel's channels together; kept while they last."""
        key = (self.planes.data_ptr(), self.planes._version)
        if self._texels is None or self._texels[0] != key:
            self._texels = key, self.planes.detach().permute(0, 2, 3, 1).contiguous()
        return self._texels[1]

    @property
    def features(self) -> int:
        """Channels of the concatenated feature."""
        return 3 * self.config["channels"]

    def forward(self, canonical: Tensor) -> Tensor:
        """[N,3] canonical coordinates, world units -> [N, 3 * channels]."""
        low = canonical.new_tensor(self.config["box_min"])
        high = canonical.new_tensor(self.config["box_max"])
        signed = (canonical - low) / (high - low) * 2 - 1
        grid = torch.stack([signed[:, axes] for axes in PLANE_AXES]).to(self.planes.dtype)
        sampled = functional.grid_sample(
            self.planes, grid[:, None], padding_mode="border", align_corners=True
        )
        return sampled[:, :, 0].flatten(0, 1).T
