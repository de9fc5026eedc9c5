"""Expression codes of registered point clouds, by the correspondence loss."""

from __future__ import annotations

import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM


def fit_expressions(
    nphm: NPHM,
    identity: Tensor,
    canonical_points: Tensor,
    posed_points: Tensor,
    *,
    initial: Tensor | None = None,
    steps: int = 200,
    points: int = 128,
) -> tuple[Tensor, Tensor]:
    """z_exp of S scans of one person, and how well they fit.

    identity [D]; canonical_points [N,3] and posed_points [S,N,3] in world units; initial [S,E]
    (zeros when absent: the canonical pose). Every step draws the same `points` of all scans.
    -> codes [S,E], mean error [S] in millimetres over all points.
    """
    scans, count = posed_points.shape[:2]
    if canonical_points.shape != (count, 3):
        raise AvatarError(
            f"canonical_points: expected shape ({count}, 3), found {tuple(canonical_points.shape)}"
        )
    random = torch.Generator().manual_seed(0)
    start = torch.zeros(scans, nphm.expression_dim) if initial is None else initial.clone()
    codes = start.to(identity).requires_grad_()
    optimizer = torch.optim.Adam([codes], lr=0.05)
    offsets = posed_points - canonical_points
    everyone = identity.expand(scans, -1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        chosen = torch.randint(count, (points,), generator=random)
        batch = canonical_points[chosen].expand(scans, -1, -1)
        moved = nphm.deform(batch, everyone, codes)
        # The sum, not the mean, over scans: each code then learns as if it were alone.
        loss = (moved - offsets[:, chosen]).norm(dim=-1).mean(dim=1) + 5e-5 * codes.square().sum(1)
        (codes.grad,) = torch.autograd.grad(loss.sum(), codes)
        optimizer.step()
    return codes.detach(), fit_error_mm(nphm, identity, canonical_points, posed_points, codes)


@torch.no_grad()
def fit_error_mm(
    nphm: NPHM, identity: Tensor, canonical_points: Tensor, posed_points: Tensor, codes: Tensor
) -> Tensor:
    """[S] mean distance between posed and decoded points, in millimetres."""
    errors = [
        (points + nphm.deform(points, identity, code) - posed).norm(dim=-1).mean()
        for points, posed, code in zip(
            [canonical_points] * len(codes), posed_points, codes, strict=True
        )
    ]
    return torch.stack(errors) * 1000 / nphm.config["units_per_metre"]
