"""Codes of a head that was not trained on, from a scan without correspondences.

Identity and expression, or either of them, are found by gradient descent through the head model:
scan points are carried back to canonical pose and there must have distance zero (paper: NPHM,
section 5). Codes are searched for among those that the training codes make plausible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_viewer.head.nphm import NPHM
from avatar_viewer.head.scan import Scan

BATCH = 1000
"""Points a step."""
STEPS = 400
LEARNING_RATE = 0.1
"""In standard deviations of the training codes; it falls to zero."""
POSE_LEARNING_RATE = 0.005
"""In radians and world units."""
NORMAL_STEP_MM = 2.0
"""How far beside the surface the distance is asked for, where normals are known."""
IMPLAUSIBILITY = 1e-6
"""Weight of the squared standard deviations, beside millimetres of distance."""
OUTLIER_MM = 5.0
"""Errors beyond this count ever less (Cauchy's loss): a scan has hair, clothes and holes."""
BACK_STEPS = 8
LOST_MM = 0.5
"""A point that is not back in canonical pose up to this does not count."""


@dataclass(frozen=True)
class CodePrior:
    """The Gaussian of a codebook: ``code = mean + whitened @ axes``."""

    mean: Tensor
    """[D]."""
    axes: Tensor
    """[R,D], principal axes times their standard deviation."""

    @staticmethod
    def of(codes: Tensor) -> CodePrior:
        """From a codebook [I,D]."""
        mean = codes.mean(dim=0)
        _, deviations, axes = torch.linalg.svd(codes - mean, full_matrices=False)
        deviations = deviations / max(1, len(codes) - 1) ** 0.5
        kept = deviations > 1e-3 * deviations[0]
        return CodePrior(mean, axes[kept] * deviations[kept, None])

    def code(self, whitened: Tensor) -> Tensor:
        """[R] -> [D]."""
        return self.mean + whitened @ self.axes


@dataclass(frozen=True)
class Fit:
    """What `fit_scan` found."""

    identity: Tensor
    """[D]."""
    expression: Tensor | None
    """z_exp [E]; None for a scan in canonical pose."""
    head_from_scan: Tensor
    """[4,4] the rigid motion that carried the scan into the head's frame."""
    residual_mm: Tensor
    """[N] distance of every point of the scan from the fitted surface; NaN where a point could not
    be carried back to canonical pose."""


def fit_scan(
    nphm: NPHM,
    scan: Scan,
    identity: Tensor | CodePrior,
    expression: Tensor | CodePrior | None = None,
    *,
    align: bool = False,
    steps: int = STEPS,
) -> Fit:
    """Fit what is given as a prior, keep what is given as a code.

    Without `expression` the scan is in canonical pose. Landmarks are anchors, moved by the
    expression. `align` lets the scan move rigidly too: from where its landmarks lie on those of
    the mean head, or, with fewer than three, from where it is.
    """
    random = torch.Generator().manual_seed(0)
    mean = identity.mean if isinstance(identity, CodePrior) else identity
    start = landmark_alignment(nphm.anchors(mean).detach(), scan) if align else torch.eye(4)
    sources = (identity, expression)
    whitened = [
        torch.zeros(len(source.axes) if isinstance(source, CodePrior) else 0, requires_grad=True)
        for source in sources
    ]
    pose = torch.zeros(6, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": whitened}, {"params": [pose]}])
    for step in range(steps):
        left = 1 - step / steps
        for group, rate in zip(
            optimizer.param_groups, (LEARNING_RATE, POSE_LEARNING_RATE * align), strict=True
        ):
            group["lr"] = rate * left
        codes = [_code(*pair) for pair in zip(sources, whitened, strict=True)]
        moved = carried(scan, rigid(pose) @ start)
        chosen = torch.randint(len(scan.points), (BATCH,), generator=random)
        loss = _distance_mm(nphm, moved, chosen, codes) + _landmarks_mm(nphm, moved, codes)
        loss = loss + IMPLAUSIBILITY * torch.cat(whitened).square().sum()
        unknowns = [*whitened, pose]
        gradients = torch.autograd.grad(loss, unknowns, materialize_grads=True)
        for unknown, gradient in zip(unknowns, gradients, strict=True):
            unknown.grad = gradient
        optimizer.step()
    with torch.no_grad():
        found, z = (_code(*pair) for pair in zip(sources, whitened, strict=True))
        assert found is not None
        motion = rigid(pose) @ start
        residual = residual_mm(nphm, carried(scan, motion).points, found, z)
        return Fit(found, z, motion, residual)


def rigid(pose: Tensor) -> Tensor:
    """Rotation vector and translation [6] -> [4,4]."""
    x, y, z, *_ = pose
    zero = torch.zeros(())
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    top = torch.cat([torch.linalg.matrix_exp(cross), pose[3:, None]], dim=1)
    return torch.cat([top, torch.tensor([[0.0, 0.0, 0.0, 1.0]])])


def carried(scan: Scan, motion: Tensor) -> Scan:
    """The scan after a rigid motion [4,4]."""
    rotation, translation = motion[:3, :3], motion[:3, 3]
    return Scan(
        scan.points @ rotation.T + translation,
        None if scan.normals is None else scan.normals @ rotation.T,
        {anchor: rotation @ place + translation for anchor, place in scan.landmarks.items()},
    )


def landmark_alignment(anchors: Tensor, scan: Scan) -> Tensor:
    """[4,4] the rigid motion that carries the scan's landmarks best onto anchors [A,3].

    The identity where there are fewer than three (Kabsch 1976).
    """
    motion = torch.eye(4)
    if len(scan.landmarks) < 3:
        return motion
    source = torch.stack(list(scan.landmarks.values()))
    target = anchors[list(scan.landmarks)]
    u, _, vt = torch.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    flip = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt).sign())]))
    motion[:3, :3] = u @ flip @ vt
    motion[:3, 3] = target.mean(0) - motion[:3, :3] @ source.mean(0)
    return motion


def _code(source: Tensor | CodePrior | None, whitened: Tensor) -> Tensor | None:
    return source.code(whitened) if isinstance(source, CodePrior) else source


def _distance_mm(nphm: NPHM, scan: Scan, chosen: Tensor, codes: list[Tensor | None]) -> Tensor:
    """How far the chosen points are from the surface, and beside it from where they should be."""
    identity, z = codes
    assert identity is not None
    to_mm = 1000 / nphm.config["units_per_metre"]
    points, shift = scan.points[chosen], torch.zeros(len(chosen))
    if scan.normals is not None:  # a third each on, outside and inside the surface
        shift = (torch.arange(len(chosen)) % 3 - 1) * NORMAL_STEP_MM / to_mm
        points = points + shift[:, None] * scan.normals[chosen]
    canonical, lost = carried_back(nphm, points, identity, z)
    error_mm = (nphm.sdf(canonical, identity) - shift).abs()[~lost] * to_mm
    return (OUTLIER_MM * torch.log1p(error_mm / OUTLIER_MM)).mean()


def _landmarks_mm(nphm: NPHM, scan: Scan, codes: list[Tensor | None]) -> Tensor:
    identity, z = codes
    assert identity is not None
    if not scan.landmarks:
        return torch.zeros(())
    anchors = nphm.anchors(identity)[list(scan.landmarks)]
    if z is not None:
        anchors = anchors + nphm.deform(anchors, identity, z)
    distance = (anchors - torch.stack(list(scan.landmarks.values()))).norm(dim=1).mean()
    return 0.1 * distance * 1000 / nphm.config["units_per_metre"]


def carried_back(
    nphm: NPHM, posed: Tensor, identity: Tensor, z: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Canonical points [N,3] that the expression moves to `posed`, and which were not found [N].

    The fixed point of ``x = posed - deform(x)``; its last step carries the gradient to the codes.
    """
    if z is None:
        return posed, torch.zeros(len(posed), dtype=torch.bool)
    with torch.no_grad():
        found = posed
        for _ in range(BACK_STEPS):
            found = 0.5 * found + 0.5 * (posed - nphm.deform(found, identity, z))
    canonical = posed - nphm.deform(found, identity, z)
    to_mm = 1000 / nphm.config["units_per_metre"]
    return canonical, (canonical.detach() - found).norm(dim=1) * to_mm > LOST_MM


@torch.no_grad()
def residual_mm(nphm: NPHM, points: Tensor, identity: Tensor, z: Tensor | None) -> Tensor:
    """[N] distance of posed points from the surface, NaN where they cannot be carried back."""
    rows = []
    for chunk in points.split(1 << 12):
        canonical, lost = carried_back(nphm, chunk, identity, z)
        distance = nphm.sdf(canonical, identity).abs() * 1000 / nphm.config["units_per_metre"]
        rows.append(distance.masked_fill(lost, float("nan")))
    return torch.cat(rows)
