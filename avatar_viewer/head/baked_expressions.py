"""A person's expressions baked to a few modes, so that a drag costs little on a CPU.

The offsets of all vertices are nearly a combination of few modes. The exact network is asked at a
few control vertices only, and the modes' coefficients follow from those by least squares ("gappy
POD": Everson and Sirovich 1995; control vertices by pivoted QR, as Q-DEIM: Drmac and Gugercin
2016). No second network is learned: what the exact one says at the control vertices holds, also
for codes far from those that were baked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import qr
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM
from avatar_viewer.stages import CanonicalHead

RANK = 64
SNAPSHOTS = 1000


@dataclass(frozen=True)
class BakedExpressions:
    """What moves one canonical head; lengths in world units."""

    controls: Tensor
    """[K] int64, numbers of the vertices at which the exact network is asked."""
    mean: Tensor
    """[V,3], the mean offset."""
    modes: Tensor
    """[R,V,3], in the order of their strength."""
    solve: Tensor
    """[R,3K], offsets of the control vertices from their mean -> coefficients of the modes."""

    def __post_init__(self) -> None:
        rank, vertices = len(self.modes), len(self.mean)
        for name, expected in (
            ("mean", (vertices, 3)),
            ("modes", (rank, vertices, 3)),
            ("solve", (rank, 3 * len(self.controls))),
        ):
            found = tuple(getattr(self, name).shape)
            if found != expected:
                raise AvatarError(f"{name}: expected shape {expected}, found {found}")
        if (
            len(self.controls)
            and not 0 <= int(self.controls.min()) <= int(self.controls.max()) < vertices
        ):
            raise AvatarError(f"controls: expected vertices 0 to {vertices - 1}, found others")

    def offsets(self, nphm: NPHM, head: CanonicalHead, identity: Tensor, z: Tensor) -> Tensor:
        """z_exp [E] -> about what `nphm.deform` says of all vertices: [V,3]."""
        return self.spread(nphm.deform(head.vertices[self.controls], identity, z))

    def spread(self, exact: Tensor) -> Tensor:
        """Offsets of the control vertices [K,3] -> those of all, [V,3]."""
        coefficients = self.solve @ (exact - self.mean[self.controls]).flatten()
        moved = torch.addmv(self.mean.flatten(), self.modes.flatten(1).T, coefficients)
        return moved.view_as(self.mean)

    def to(self, device: torch.device) -> BakedExpressions:
        """The same on another device."""
        return BakedExpressions(**{name: t.to(device) for name, t in vars(self).items()})


@torch.no_grad()
def bake(
    nphm: NPHM, head: CanonicalHead, identity: Tensor, codes: Tensor, rank: int = RANK
) -> BakedExpressions:
    """Modes of the offsets that the z_exp `codes` [S,E] give: `rank`, or as many as there are."""
    offsets = torch.stack([nphm.deform(head.vertices, identity, z).flatten() for z in codes])
    mean = offsets.mean(dim=0)
    centred = (offsets - mean).double()
    # The modes by the small Gram matrix of the snapshots (method of snapshots, Sirovich 1987).
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    strongest = [i for i in range(len(values) - 1, -1, -1) if values[i] > 1e-10 * values[-1]][:rank]
    # Scaled to the snapshots' standard deviation, the modes keep their precision in float16.
    weights = vectors[:, strongest].T / len(codes) ** 0.5
    modes = weights @ centred
    unit = modes / modes.norm(dim=1, keepdim=True)
    pivots = qr(unit.numpy(), mode="economic", pivoting=True)[-1]
    controls = torch.from_numpy(np.unique(pivots[: len(modes)] // 3)).long()
    modes = modes.view(len(modes), -1, 3)
    solve = torch.linalg.pinv(modes[:, controls].flatten(1).T)
    return BakedExpressions(controls, mean.view(-1, 3), modes.float(), solve.float())


def snapshot_codes(codes: Tensor, count: int = SNAPSHOTS) -> Tensor:
    """z_exp [S,E] -> `count` codes: at most half are drawn from them, the rest blends of four."""
    random = torch.Generator().manual_seed(0)
    drawn = codes[torch.randperm(len(codes), generator=random)[: count // 2]]
    count = count - len(drawn)
    four = codes[torch.randint(len(codes), (count, 4), generator=random)]
    shares = torch.rand(count, 4, generator=random).log().neg()  # uniform over the simplex
    shares = shares / shares.sum(dim=1, keepdim=True)
    return torch.cat([drawn, (four * shares[..., None]).sum(dim=1)])


@torch.no_grad()
def baking_error_mm(
    baked: BakedExpressions, nphm: NPHM, head: CanonicalHead, identity: Tensor, codes: Tensor
) -> tuple[float, float]:
    """Mean and largest distance of baked from exact vertices over the codes [S,E], millimetres."""
    errors = torch.stack(
        [
            (baked.offsets(nphm, head, identity, z) - nphm.deform(head.vertices, identity, z)).norm(
                dim=1
            )
            for z in codes
        ]
    )
    to_mm = 1000 / nphm.config["units_per_metre"]
    return float(errors.mean()) * to_mm, float(errors.max()) * to_mm
