"""The codebooks of the head model, and the codes that training starts from.

Registered heads allow a start that random codes do not: identity codes begin as principal
components of the shape, whole for the global code and around its anchor for each local one, and
expression codes as a fixed rotation of the ARKit weights. Networks then see well-spread,
meaningful codes from the first step, and nearby shapes have nearby codes, which is what fitting
unseen heads lives on. Training is free to move them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor, nn

from avatar_viewer.data.head_sampler import CANONICAL_WEIGHTS
from avatar_viewer.head.identity_sdf import IdentitySDF

CODE_SCALE = 0.1
"""Standard deviation of an identity code's numbers. Small, so that the points lead at first: with
0.1 the surface error after 600 steps was 2.7 mm, with 1 it was 3.8 mm or worse."""
EMBEDDING_SCALE = 2.0
GLOBAL_SITES, LOCAL_SITES = 2000, 400
"""How many registered points the components are taken from: of all, and around each anchor."""


class Codebooks(nn.Module):
    """One code a training identity [I,D] and one z_exp a scan [S,E]."""

    def __init__(self, identity: Tensor, expression: Tensor) -> None:
        super().__init__()
        self.identity = nn.Parameter(identity.clone())
        self.expression = nn.Parameter(expression.clone())


def orthogonal(rows: int, columns: int) -> Tensor:
    """A fixed [rows, columns] matrix with orthonormal columns (rows >= columns)."""
    normal = np.random.default_rng(52).normal(size=(rows, columns))
    return torch.from_numpy(np.linalg.qr(normal)[0]).float()


def linear_expression_codes(weights: Tensor, expression_dim: int) -> Tensor:
    """ARKit weights [S,52] -> codes [S,E]; the canonical pose is zero."""
    embedding = EMBEDDING_SCALE * orthogonal(expression_dim, weights.shape[1])
    return (weights - torch.from_numpy(CANONICAL_WEIGHTS)) @ embedding.T


def shape_identity_codes(canonical: Tensor, anchors: Tensor, sdf: IdentitySDF) -> Tensor:
    """Registered points [I,N,3] and anchors [I,A,3] -> identity codes [I,D]."""
    mean = canonical.mean(dim=0)
    sites = torch.linspace(0, len(mean) - 1, min(GLOBAL_SITES, len(mean))).long()
    whole = components(canonical[:, sites].flatten(1), sdf.global_dim + sdf.local_dim)
    codes = [whole[:, : sdf.global_dim]]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    tree = KDTree(mean.numpy())
    middle = anchors.mean(dim=0)

    def around(anchor: int, places: Tensor) -> Tensor:
        return canonical[:, places] - anchors[:, anchor, None]

    for left in range(0, 2 * sdf.pairs, 2):
        places = _nearest(tree, middle[left])
        mirrored = torch.from_numpy(tree.query((mean[places] * flip).numpy())[1])
        sides = [around(left, places), around(left + 1, mirrored) * flip]
        # Members of a pair share their network, so they share their components too.
        both = components(torch.cat(sides).flatten(1), sdf.local_dim)
        codes += list(both.chunk(2))
    for anchor in range(2 * sdf.pairs, sdf.anchor_count):
        places = _nearest(tree, middle[anchor])
        codes.append(components(around(anchor, places).flatten(1), sdf.local_dim))
    codes.append(whole[:, sdf.global_dim :])  # of the global member
    return CODE_SCALE * torch.cat(codes, dim=1)


def _nearest(tree: KDTree, point: Tensor) -> Tensor:
    return torch.from_numpy(tree.query(point.numpy(), k=min(LOCAL_SITES, tree.n))[1])


def components(rows: Tensor, count: int) -> Tensor:
    """The first principal components of [R,C] rows, each of unit variance: [R,count].

    Zero where there are fewer than `count`.
    """
    centred = (rows - rows.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    strongest = vectors.flip(1)[:, :count]
    present = values.flip(0)[:count] > 1e-9 * values[-1].clamp(min=1e-12)
    found = strongest * present * len(rows) ** 0.5
    return torch.nn.functional.pad(found, (0, count - found.shape[1])).float()
