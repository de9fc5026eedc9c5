"""Registered heads as tensors, and the random draws of a training step."""

from __future__ import annotations

import torch
from torch import Tensor

from avatar_viewer.data.head_sampler import HeadScans

HELD_OUT_FRACTION = 0.1
"""Of each person's scans, at least one: they only validate the deformation."""


class Heads:
    """All training identities, with the split into training and held-out scans."""

    def __init__(self, scans: list[HeadScans], focus: float = 0.0) -> None:
        """`focus` is the share of all draws that is kept for identity 0."""

        def stacked(name: str) -> list[Tensor]:
            return [torch.from_numpy(getattr(head, name)) for head in scans]

        self.canonical, self.normals = torch.stack(stacked("canonical")), stacked("normals")
        self.anchors = torch.stack(stacked("anchors"))
        self.posed, self.weights = stacked("posed"), torch.cat(stacked("weights"))
        self.sdf_points, self.sdf = torch.stack(stacked("sdf_points")), torch.stack(stacked("sdf"))
        self.surface = [mask.nonzero()[:, 0] for mask in stacked("on_surface")]
        counts = torch.tensor([len(posed) for posed in self.posed])
        self.share = torch.full((len(counts),), (1 - focus) / len(counts))
        self.share[0] += focus
        """[I] how often each identity is drawn."""
        self.scan_identity = torch.repeat_interleave(torch.arange(len(counts)), counts)
        self.scan_index = torch.cat([torch.arange(int(count)) for count in counts])
        held = torch.ceil(counts * HELD_OUT_FRACTION)[self.scan_identity]
        held_out = self.scan_index >= counts[self.scan_identity] - held
        single = counts[self.scan_identity] == 1
        self.train_scans = (~held_out | single).nonzero()[:, 0]
        self.held_out_scans = (held_out & ~single).nonzero()[:, 0]

    def scan_share(self) -> Tensor:
        """[T] how often each training scan is drawn: every scan alike but for the focus."""
        scans = self.scan_identity[self.train_scans]
        counts = torch.bincount(scans, minlength=len(self.share))
        focus = (self.share[0] - self.share[-1]) if len(self.share) > 1 else 0.0
        share = torch.full((len(scans),), float(1 - focus) / len(scans))
        return share + (scans == 0) * focus / counts[0]

    def motion(self, scan: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical points [P,3] of one scan at indices [P], and their true offsets."""
        identity = int(self.scan_identity[scan])
        canonical = self.canonical[identity][points]
        return canonical, self.posed[identity][int(self.scan_index[scan])][points] - canonical

    def motions(self, scans: Tensor, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Canonical points and true offsets, [S,count,3] each, at random places of each scan."""
        motions = []
        for scan in scans.tolist():
            surface = self.surface[int(self.scan_identity[scan])]
            motions.append(self.motion(scan, surface[draw(len(surface), count, random)]))
        canonical, offsets = zip(*motions, strict=True)
        return torch.stack(canonical), torch.stack(offsets)

    def surfaces(
        self, identities: Tensor, count: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Canonical surface points and their normals, [I,count,3] each, at random places."""
        points, normals = [], []
        for identity in identities.tolist():
            surface = self.surface[identity]
            places = surface[draw(len(surface), count, random)]
            points.append(self.canonical[identity][places])
            normals.append(self.normals[identity][places])
        return torch.stack(points), torch.stack(normals)

    def distances(
        self, identities: Tensor, count: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Points in the box [I,count,3] and their true signed distances [I,count]."""
        places = draw(self.sdf.shape[1], count, random)
        rows = identities[:, None]
        return self.sdf_points[rows, places], self.sdf[rows, places]


def draw(size: int, count: int, random: torch.Generator) -> Tensor:
    """[count] random places below `size`."""
    return torch.randint(size, (count,), generator=random)
