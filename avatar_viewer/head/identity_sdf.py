"""The identity's signed distance: an ensemble of small networks around anchors (paper: NPHM).

Members 2k and 2k+1 (k < pairs) mirror each other: they share weights, and the second sees its
points with x mirrored. `middles` members lie on the plane of symmetry; the last member is global.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def activation_function(name: str):
    """`softplus` (beta 100, smooth normals) or `relu` (many times faster on a CPU)."""
    return F.relu if name == "relu" else lambda x: F.softplus(x, beta=100)


class IdentitySDF(nn.Module):
    """identity code [global + members x local] -> anchors, and points -> signed distance."""

    net_of_member: Tensor
    """[members] which weights each member uses."""
    mirror: Tensor
    """[members] 1 where a member sees its points with x mirrored."""

    def __init__(  # noqa: PLR0913 - the sizes of a network
        self,
        global_dim: int,
        local_dim: int,
        *,
        pairs: int,
        middles: int,
        hidden: int,
        nearest: int,
        frequencies: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.global_dim, self.local_dim = global_dim, local_dim
        self.pairs, self.anchor_count = pairs, 2 * pairs + middles
        self.members = self.anchor_count + 1
        self.nearest = min(nearest, self.anchor_count)
        self.frequencies = frequencies
        self.sigma, self.global_sigmas = 0.1, 3.0
        self.activate = activation_function(activation)
        member = torch.arange(self.members)
        self.register_buffer(
            "net_of_member",
            torch.where(member < 2 * pairs, member // 2, member - pairs),
            persistent=False,
        )
        self.register_buffer(
            "mirror", ((member < 2 * pairs) & (member % 2 == 1)).float(), persistent=False
        )
        nets, code = self.members - pairs, global_dim + local_dim
        place = 3 + 6 * frequencies
        self.point0, self.point2 = _stacked(nets, place, hidden), _stacked(nets, place, hidden)
        with torch.no_grad():  # detail comes after the shape
            self.point0[:, 3:] *= 0.1
            self.point2[:, 3:] *= 0.1
        self.code0, self.code2 = _stacked(nets, code, hidden), _stacked(nets, code, hidden)
        self.weight1, self.weight2 = _stacked(nets, hidden, hidden), _stacked(nets, hidden, hidden)
        self.weight3, self.out = _stacked(nets, hidden, hidden), _stacked(nets, hidden, 1)
        self.bias = nn.Parameter(torch.empty(4, nets, hidden).uniform_(-0.5, 0.5))
        self.out_bias = nn.Parameter(torch.zeros(nets, 1))
        self.anchor_mlp = nn.Sequential(
            nn.Linear(global_dim, 64), nn.ReLU(), nn.Linear(64, 3 * self.anchor_count)
        )

    @property
    def identity_dim(self) -> int:
        return self.global_dim + self.members * self.local_dim

    def local_codes(self, identity: Tensor) -> Tensor:
        """[B,D] -> [B,members,local]."""
        return identity[:, self.global_dim :].unflatten(1, (self.members, self.local_dim))

    def anchors(self, identity: Tensor) -> Tensor:
        """[B,D] -> [B,A,3], from the global code alone."""
        return self.anchor_mlp(identity[:, : self.global_dim]).unflatten(1, (-1, 3))

    def forward(self, points: Tensor, identity: Tensor) -> Tensor:
        """points [B,P,3], identity [B,D] -> signed distance [B,P], positive outside."""
        anchors = self.anchors(identity)
        member, weight = self._blend(points, anchors)
        origins = torch.cat([anchors, torch.zeros_like(anchors[:, :1])], dim=1)
        row = member + self.members * torch.arange(len(points), device=points.device)[:, None, None]
        local = points[:, :, None] - origins.flatten(0, 1)[row]
        scale = torch.where(member == self.anchor_count, 2.0, 0.5 / self.sigma)[..., None]
        flip = torch.stack([1 - 2 * self.mirror, *2 * [torch.ones_like(self.mirror)]], dim=-1)
        places = place_features((local * scale * flip[member]).flatten(0, 2), self.frequencies)
        values = self._members(places, member.flatten(), row.flatten(), identity)
        return (values.view_as(weight) * weight).sum(dim=-1)

    def _blend(self, points: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest members and the global one, [B,P,K+1], with Gaussian weights that sum to 1.

        The weight of the next member, the first that is left out, is subtracted from all, so a
        member fades out before it is exchanged for another and the distance has no jumps.
        """
        squared = (points[:, :, None] - anchors[:, None]).square().sum(dim=-1)
        count = min(self.nearest + 1, self.anchor_count)
        squared, member = squared.topk(count, dim=-1, largest=False)
        weight = torch.exp(-squared / (2 * self.sigma**2))
        if count > self.nearest:
            weight = weight[..., :-1] - weight[..., -1:]
            member = member[..., :-1]
        constant = torch.full_like(weight[..., :1], math.exp(-(self.global_sigmas**2) / 2))
        weight = torch.cat([weight, constant], dim=-1)
        everywhere = torch.full_like(member[..., :1], self.anchor_count)
        return torch.cat([member, everywhere], dim=-1), weight / weight.sum(dim=-1, keepdim=True)

    def _members(self, places: Tensor, member: Tensor, row: Tensor, identity: Tensor) -> Tensor:
        """Member values [R] at place features [R,C]; rows of one network are evaluated together."""
        net = self.net_of_member[member]
        order = net.argsort()
        counts = torch.bincount(net, minlength=len(self.out)).tolist()
        shift0, shift2 = self._code_shifts(identity)
        chunks = zip(
            places[order].split(counts),
            shift0[row[order]].split(counts),
            shift2[row[order]].split(counts),
            *(w.unbind() for w in (self.point0, self.weight1, self.bias[1], self.point2)),
            *(w.unbind() for w in (self.weight2, self.weight3, self.bias[3], self.out)),
            self.out_bias.unbind(),
            strict=True,
        )
        values = []
        for x, s0, s2, p0, w1, b1, p2, w2, w3, b3, out, out_bias in chunks:
            h = self.activate(torch.addmm(s0, x, p0))
            h = self.activate(torch.addmm(b1, h, w1))
            h = self.activate(torch.addmm(torch.addmm(s2, x, p2), h, w2))
            h = self.activate(torch.addmm(b3, h, w3))
            values.append(torch.addmm(out_bias, h, out).squeeze(1))
        return torch.cat(values)[order.argsort()]

    def _code_shifts(self, identity: Tensor) -> tuple[Tensor, Tensor]:
        """What each member's code adds in layers 0 and 2, once per code: 2 x [B * members, H]."""
        local = self.local_codes(identity)
        shared = identity[:, None, : self.global_dim].expand(-1, self.members, -1)
        code = torch.cat([shared, local], dim=-1)
        shifts = (
            torch.einsum("bmc,mch->bmh", code, weight[self.net_of_member])
            + bias[self.net_of_member]
            for weight, bias in ((self.code0, self.bias[0]), (self.code2, self.bias[2]))
        )
        first, second = (shift.flatten(0, 1) for shift in shifts)
        return first, second


def place_features(points: Tensor, frequencies: int) -> Tensor:
    """[...,3] -> [...,3 + 6 * frequencies]: points, and sines and cosines of so many octaves."""
    octaves = math.pi * 2.0 ** torch.arange(frequencies, device=points.device)
    phases = (points[..., None] * octaves).flatten(-2)
    return torch.cat([points, phases.sin(), phases.cos()], dim=-1)


def _stacked(nets: int, inputs: int, outputs: int) -> nn.Parameter:
    """Weights of `nets` linear layers, He-initialised."""
    return nn.Parameter(torch.randn(nets, inputs, outputs) * math.sqrt(2 / inputs))
