"""The paper's own networks of an NPHM, as the public weights have them (evaluation mode).

Everything that such a checkpoint's result depends on is here: the order of the codes, the mirrored
members, the blend and the constant outside. See `head.nphm_import` for the files.

The last member is the constant 1 here, which is what the public code says it means in evaluation
mode. Its assignment has another axis: it sets all members of the last *point* of each call, and
evaluates the last member's network elsewhere. The distances of the two readings are apart by the
background's share of the blend, at most 0.0021, times how far that network is from 1: nothing
where an anchor is near, but more than 1e-4 where all are a third of a unit or more away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avatar_viewer.head.expression_deformation import Deformation, Prepared

VARIANCE = 0.1**2
BACKGROUND = math.exp(-0.2 / VARIANCE)
"""Weight of the constant 1, which says "outside" where no anchor is near."""
NEGLIGIBLE = 1e-6
"""A member with a smaller share of the blend is not evaluated."""


def softplus(values: Tensor) -> Tensor:
    return F.softplus(values, beta=100)


def layer_widths(inputs: int, hidden: int, layers: int, outputs: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear layer: the one before the skip leaves room for the input."""
    before_skip = layers // 2 - 1
    widths = [inputs] + [hidden] * layers + [outputs]
    return [
        (widths[k], widths[k + 1] - (inputs if k == before_skip else 0)) for k in range(layers + 1)
    ]


def skip_mlp(x: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """[N,inputs] through linear layers (weight [out,in], bias [out]), the input again halfway."""
    first = x
    for index, (weight, bias) in enumerate(layers):
        if index == (len(layers) - 1) // 2:
            x = torch.cat([x, first], dim=-1) / math.sqrt(2)
        x = F.linear(x, weight, bias)
        if index < len(layers) - 1:
            x = softplus(x)
    return x


class PaperIdentitySDF(nn.Module):
    """Identity code [global, members x local] -> anchors, and points -> signed distance.

    Members 2k and 2k+1 (k < pairs) mirror each other and share weights; `middles` follow; the last
    member's network is not evaluated: in evaluation mode it is the constant 1.
    """

    def __init__(
        self,
        global_dim: int,
        local_dim: int,
        *,
        pairs: int,
        middles: int,
        hidden: int,
        layers: int,
        anchor_hidden: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.global_dim, self.local_dim, self.pairs = global_dim, local_dim, pairs
        self.anchor_count = 2 * pairs + middles
        self.members = self.anchor_count + 1
        widths = layer_widths(3 + global_dim + local_dim, hidden, layers, 1)
        nets = self.members - pairs
        self.weights = nn.ParameterList(torch.randn(nets, o, i) / i**0.5 for i, o in widths)
        self.biases = nn.ParameterList(torch.zeros(nets, o) for _, o in widths)
        sizes = [global_dim, *anchor_hidden, 3 * self.anchor_count]
        linear = [nn.Linear(i, o) for i, o in pairwise(sizes)]
        self.anchor_mlp = nn.Sequential(
            *(module for layer in linear[:-1] for module in (layer, nn.ReLU())), linear[-1]
        )
        self.register_buffer("mean_anchors", torch.zeros(self.anchor_count, 3))
        self.mean_anchors: Tensor

    @property
    def identity_dim(self) -> int:
        return self.global_dim + self.members * self.local_dim

    def anchors(self, identity: Tensor) -> Tensor:
        """[B,D] -> [B,A,3]."""
        return self.mean_anchors + self.anchor_mlp(identity[:, : self.global_dim]).unflatten(
            1, (-1, 3)
        )

    def forward(self, points: Tensor, identity: Tensor) -> Tensor:
        """points [B,P,3], identity [B,D] -> signed distance [B,P], positive outside."""
        local = points[:, :, None] - self.anchors(identity)[:, None]
        weight = torch.exp(-(local.norm(dim=-1) + 1e-5).square() / VARIANCE)
        total = weight.sum(dim=-1) + BACKGROUND + 1e-6
        shared = identity[:, : self.global_dim]
        codes = identity[:, self.global_dim :].unflatten(1, (self.members, self.local_dim))
        distance = BACKGROUND / total
        for member in range(self.anchor_count):
            share = weight[..., member] / total
            batch, place = (share > NEGLIGIBLE).nonzero(as_tuple=True)
            mirrored = member < 2 * self.pairs and member % 2 == 1
            side = local.new_tensor([-1.0 if mirrored else 1.0, 1.0, 1.0])
            x = [local[batch, place, member] * side, shared[batch], codes[batch, member]]
            value = skip_mlp(torch.cat(x, dim=1), self._network(member)).squeeze(1)
            distance = distance.index_put((batch, place), share[batch, place] * value, True)
        return distance

    def _network(self, member: int) -> list[tuple[Tensor, Tensor]]:
        net = member // 2 if member < 2 * self.pairs else member - self.pairs
        return [(w[net], b[net]) for w, b in zip(self.weights, self.biases, strict=True)]


class PaperDeformation(Deformation):
    """An MLP over points, conditioned on the squeezed identity and on z_exp."""

    def __init__(
        self, identity_dim: int, expression_dim: int, *, squeezed_dim: int, hidden: int, layers: int
    ) -> None:
        super().__init__()
        self.compressor = nn.Linear(identity_dim, squeezed_dim)
        widths = layer_widths(3 + squeezed_dim + expression_dim, hidden, layers, 3)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in widths)

    def prepared(self, points: Tensor, identity: Tensor) -> Prepared:
        return Prepared(points, self.compressor(identity))

    def of_prepared(self, prepared: Prepared, expression: Tensor) -> Tensor:
        codes = torch.cat([prepared.identity, expression], dim=-1)
        points = prepared.places
        x = torch.cat([points, codes[:, None].expand(-1, points.shape[1], -1)], dim=-1)
        return skip_mlp(x, [(layer.weight, layer.bias) for layer in self.layers])  # pyright: ignore
