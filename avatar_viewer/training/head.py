"""Training of the head model on registered synthetic heads (paper: NPHM's losses).

Identity SDF and deformation learn together with one code a person and one z_exp a scan
(auto-decoder, see `head_codes` for where the codes start).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from avatar_viewer.data.head_sampler import DETAIL_ANCHORS
from avatar_viewer.data.heads import load_heads
from avatar_viewer.expression.arkit import learn_arkit_map
from avatar_viewer.files import written_aside
from avatar_viewer.head.arkit import save_arkit_map
from avatar_viewer.head.identity_sdf import IdentitySDF
from avatar_viewer.head.nphm import CODES_FILE, NPHM, load_nphm
from avatar_viewer.training.head_codes import (
    Codebooks,
    linear_expression_codes,
    shape_identity_codes,
)
from avatar_viewer.training.head_data import Heads
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.weights import save_network, save_tensors


@dataclass(frozen=True)
class HeadSize:
    """Sizes of the networks; see `head.nphm.NPHM`."""

    global_dim: int = 64
    local_dim: int = 16
    expression_dim: int = 56
    sdf_hidden: int = 64
    sdf_nearest: int = 6
    sdf_frequencies: int = 4
    squeezed_dim: int = 64
    deform_hidden: int = 160
    deform_layers: int = 4
    deform_frequencies: int = 5


@dataclass(frozen=True)
class HeadTraining:
    """What `train head` can be told."""

    loop: LoopConfig
    heads: Path = Path("data/heads")
    """Folder that `data heads` wrote."""
    out: Path = Path("runs/head")
    """State, logs, validations, and `final/` with the model and its codes."""
    start: Path | None = None
    """A trained head model's folder, whose networks are trained on with codebooks that start anew;
    `size` is then its. With learning rates of 0 only the codebooks are learned."""
    size: HeadSize = field(default_factory=HeadSize)
    deformation_learning_rate: float = 3e-3
    """Lower than the distance network's: with 1e-2 the deformation diverged after 3000 steps."""
    code_learning_rate: float = 2e-4
    """Of the codebooks: low, for they start where they belong."""
    identities_per_step: int = 6
    scans_per_step: int = 16
    points: int = 256
    """Points of each kind drawn from each identity and scan."""
    focus: float = 0.0
    """Share of the draws kept for identity 0, the avatar's person."""


def train_head(config: HeadTraining, nphm: NPHM | None = None) -> Path:
    """Trains (or goes on training) the head model; returns the folder of the finished one."""
    torch.manual_seed(config.loop.seed)
    heads = Heads(load_heads(config.heads, "train"), config.focus)
    if config.start is not None:
        nphm = load_nphm(config.start).train().requires_grad_(True)
    else:
        nphm = nphm or NPHM(**vars(config.size), detail_anchors=DETAIL_ANCHORS)
        anchor_layer = nphm.identity_sdf.anchor_mlp[-1]
        assert isinstance(anchor_layer, torch.nn.Linear)
        anchor_layer.bias.data.copy_(heads.anchors.mean(dim=0).flatten())
    assert isinstance(nphm.identity_sdf, IdentitySDF)
    codes = Codebooks(
        shape_identity_codes(heads.canonical, heads.anchors, nphm.identity_sdf),
        linear_expression_codes(heads.weights, nphm.expression_dim),
    )
    modules = {
        "identity_sdf": nphm.identity_sdf,
        "deformation": nphm.deformation,
        "codes": codes,
    }
    rates = {
        "deformation": config.deformation_learning_rate,
        "codes": config.code_learning_rate,
    }
    run = Run(config.out, modules, config.loop, rates)
    scan_share = heads.scan_share()

    def loss(step: int, random: torch.Generator) -> Tensor:
        identities = torch.multinomial(
            heads.share, config.identities_per_step, True, generator=random
        )
        scans = heads.train_scans[
            torch.multinomial(scan_share, config.scans_per_step, True, generator=random)
        ]
        terms = identity_losses(heads, nphm, codes, identities, config.points, random)
        terms |= expression_losses(heads, nphm, codes, scans, config.points, random)
        return torch.stack(list(terms.values())).sum()

    def validate_and_save(path: Path) -> None:
        errors_mm = validate(heads, nphm, codes)
        print("  ".join(f"{name} {value:.3f} mm" for name, value in errors_mm.items()), flush=True)
        with written_aside(path.with_suffix(".json")) as aside:
            aside.write_text(json.dumps(errors_mm))
        save_head(config.out / "final", heads, nphm, codes)

    run.train(loss, validate_and_save)
    return config.out / "final"


def identity_losses(
    heads: Heads,
    nphm: NPHM,
    codes: Codebooks,
    identities: Tensor,
    points: int,
    random: torch.Generator,
) -> dict[str, Tensor]:
    """The identity's losses, weighted (paper: NPHM, section 4.1)."""
    code = codes.identity[identities.to(codes.identity.device)]
    surface, normals = (t.to(code) for t in heads.surfaces(identities, points, random))
    off_points, distance = (t.to(code) for t in heads.distances(identities, points, random))
    free = points // 4  # the gradient is asked for at the surface and at some points beside it
    probes = torch.cat([surface, off_points[:, :free]], dim=1).requires_grad_()
    values = nphm.sdf(probes, code)
    (gradient,) = torch.autograd.grad(values.sum(), probes, create_graph=True)
    off_values = torch.cat([values[:, points:], nphm.sdf(off_points[:, free:], code)], dim=1)
    assert isinstance(nphm.identity_sdf, IdentitySDF)
    local = nphm.identity_sdf.local_codes(code)[:, : 2 * nphm.identity_sdf.pairs]
    anchors = heads.anchors[identities].to(code)
    return {
        "surface": 2 * values[:, :points].abs().mean(),
        "normal": 0.3 * (gradient[:, :points] - normals).norm(dim=-1).mean(),
        "distance": 2 * (off_values - distance).abs().mean(),
        "eikonal": 0.1 * (gradient.norm(dim=-1) - 1).square().mean(),
        "anchors": 7.5 * (nphm.anchors(code) - anchors).square().sum(dim=-1).mean(),
        "code": 0.01 * code.square().mean(),
        "symmetry": 0.01 * (local[:, 0::2] - local[:, 1::2]).square().mean(),
    }


def expression_losses(
    heads: Heads,
    nphm: NPHM,
    codes: Codebooks,
    scans: Tensor,
    points: int,
    random: torch.Generator,
) -> dict[str, Tensor]:
    """The expression's losses, weighted (paper: NPHM, section 4.2).

    Correspondence is the mean distance rather than its square: millimetres count alike on a still
    forehead and on a wide jaw.
    """
    device = codes.identity.device
    canonical, offsets = (t.to(device) for t in heads.motions(scans, points, random))
    z = codes.expression[scans.to(device)]
    identity = codes.identity[heads.scan_identity[scans].to(device)]
    moved = nphm.deform(canonical, identity, z)
    return {
        "correspondence": 10 * (moved - offsets).norm(dim=-1).mean(),
        "expression": 5e-5 * z.square().sum(dim=-1).mean(),
    }


@torch.no_grad()
def validate(heads: Heads, nphm: NPHM, codes: Codebooks, points: int = 2000) -> dict[str, float]:
    """Mean errors in mm: surface, and deformation of training and of held-out scans.

    Held-out scans take their linear code; `person` is identity 0. The points are fixed.
    """
    random, device = torch.Generator().manual_seed(1), codes.identity.device
    to_mm = 1000 / nphm.config["units_per_metre"]
    linear = linear_expression_codes(heads.weights, nphm.expression_dim).to(device)

    def surface_error(identities: Tensor) -> Tensor:
        found = [
            nphm.sdf(heads.surfaces(row, points, random)[0][0].to(device), codes.identity[row[0]])
            for row in identities[:, None]
        ]
        return torch.cat(found).abs().mean()

    def motion_error(scans: Tensor, z: Tensor) -> Tensor:
        canonical, offsets = (t.to(device) for t in heads.motions(scans, points, random))
        identity = codes.identity[heads.scan_identity[scans].to(device)]
        return (nphm.deform(canonical, identity, z[scans]) - offsets).norm(dim=-1).mean()

    everyone = torch.arange(len(heads.surface))
    train, held = heads.train_scans, heads.held_out_scans
    errors = {
        "surface": surface_error(everyone[:: max(1, len(everyone) // 60)]),
        "surface of person": surface_error(torch.tensor([0])),
        "motion": motion_error(train[:: max(1, len(train) // 60)], codes.expression),
    }
    if len(held):
        errors["held-out motion"] = motion_error(held[:: max(1, len(held) // 60)], linear)
        if len(person := held[heads.scan_identity[held] == 0]):
            errors["held-out of person"] = motion_error(person, linear)
    return {name: float(value) * to_mm for name, value in errors.items()}


def save_head(folder: Path, heads: Heads, nphm: NPHM, codes: Codebooks) -> None:
    """The model in float32, all codes (`head.nphm.load_codes`) and the ARKit map beside it."""
    save_network(nphm, folder, torch.float32)
    codebooks = {
        "identity": codes.identity.detach().cpu(),
        "expression": codes.expression.detach().cpu(),
    }
    save_tensors({name: book.half() for name, book in codebooks.items()}, folder / CODES_FILE)
    train = heads.train_scans
    save_arkit_map(learn_arkit_map(heads.weights[train], codebooks["expression"][train]), folder)
