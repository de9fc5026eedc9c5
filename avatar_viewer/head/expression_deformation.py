"""The expression's forward deformation: canonical point -> offset to the posed point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avatar_viewer.head.identity_sdf import place_features


class Prepared(NamedTuple):
    """Canonical points of a person."""

    places: Tensor
    """[B,P,H], what a network makes of them alone."""
    identity: Tensor
    """[B,S], squeezed."""


class Deformation(nn.Module, ABC):
    """Canonical points to offsets, in two steps: one person's points are moved many times."""

    @abstractmethod
    def prepared(self, points: Tensor, identity: Tensor) -> Prepared:
        """What no expression changes: points [B,P,3], identity (code and anchors, [B,I])."""

    @abstractmethod
    def of_prepared(self, prepared: Prepared, expression: Tensor) -> Tensor:
        """z_exp [B,E] -> offsets [B,P,3] of the points that were prepared."""


class ExpressionDeformation(Deformation):
    """An MLP over points, conditioned on the identity (squeezed) and on z_exp.

    The codes do not travel with the points: once per code a linear layer turns them into what is
    added in every hidden layer, and into a gain for each feature of the last one, so that a point
    costs only its own few matrix products.
    """

    def __init__(
        self,
        identity_dim: int,
        expression_dim: int,
        *,
        squeezed_dim: int,
        hidden: int,
        layers: int,
        frequencies: int,
    ) -> None:
        super().__init__()
        self.hidden, self.frequencies = hidden, frequencies
        self.compressor = nn.Linear(identity_dim, squeezed_dim)
        self.point = nn.Linear(3 + 6 * frequencies, hidden, bias=False)
        self.middle = nn.ModuleList(
            nn.Linear(hidden, hidden, bias=False) for _ in range(layers - 1)
        )
        self.condition = nn.Linear(squeezed_dim + expression_dim, (layers + 1) * hidden)
        self.out = nn.Linear(hidden, 3)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def prepared(self, points: Tensor, identity: Tensor) -> Prepared:
        places = self.point(place_features(points, self.frequencies))
        return Prepared(places, self.compressor(identity))

    def of_prepared(self, prepared: Prepared, expression: Tensor) -> Tensor:
        codes = torch.cat([prepared.identity, expression], dim=-1)
        *shifts, gain = self.condition(codes)[:, None].split(self.hidden, dim=-1)
        h = F.relu(prepared.places + shifts[0])
        for layer, shift in zip(self.middle, shifts[1:], strict=True):
            h = F.relu(layer(h) + shift)
        return self.out(h * (1 + gain))
