"""Training of the head model on registered synthetic heads (paper: NPHM's losses).

Identity SDF and deformation learn together, with one code a person and one z_exp a scan
(auto-decoder). The z_exp start as a fixed orthogonal embedding of the scans' ARKit weights,
``EMBEDDING_SCALE * Q @ (weights - canonical weights)``: the codes are well conditioned from the
first step, the canonical pose is z = 0, and training is free to move them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.data.head_sampler import CANONICAL_WEIGHTS, HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import written_aside
from avatar_viewer.head.nphm import CODES_FILE, NPHM
from avatar_viewer.weights import save_network, save_tensors

EMBEDDING_SCALE = 2.0
HELD_OUT_FRACTION = 0.1
"""Of each person's scans, at least one: they only validate the deformation."""


@dataclass(frozen=True)
class HeadTraining:
    """What `train head` can be told; a run may go on with more steps or another focus."""

    heads: Path = Path("data/heads")
    """Folder that `data heads` wrote."""
    out: Path = Path("runs/head")
    """Checkpoint, and `final/` with the model and its codes."""
    steps: int = 8000
    learning_rate: float = 2e-3
    """Of the networks; it falls exponentially to a hundredth."""
    identities_per_step: int = 6
    scans_per_step: int = 16
    points: int = 256
    """Points of each kind drawn from each identity and scan."""
    focus: float = 0.0
    """Share of the draws kept for identity 0, the avatar's person; the rest goes by scans."""
    seed: int = 0
    save_every: int = 500
    """Steps between checkpoints (and validations)."""


class Heads:
    """All scans as tensors, with the split into training and held-out scans."""

    def __init__(self, scans: list[HeadScans], focus: float = 0.0) -> None:
        def stacked(name: str) -> list[Tensor]:
            return [torch.from_numpy(getattr(head, name)) for head in scans]

        self.canonical, self.normals = stacked("canonical"), stacked("normals")
        self.anchors = torch.stack(stacked("anchors"))
        self.posed, self.weights = stacked("posed"), torch.cat(stacked("weights"))
        self.sdf_points, self.sdf = torch.stack(stacked("sdf_points")), torch.stack(stacked("sdf"))
        self.surface = [mask.nonzero()[:, 0] for mask in stacked("on_surface")]
        counts = torch.tensor([len(posed) for posed in self.posed])
        self.share = (1 - focus) * counts / counts.sum()
        self.share[0] += focus
        """[I] how often each identity is drawn: by its number of scans, and `focus`."""
        self.scan_identity = torch.repeat_interleave(torch.arange(len(counts)), counts)
        self.scan_index = torch.cat([torch.arange(int(count)) for count in counts])
        held = torch.ceil(counts * HELD_OUT_FRACTION)[self.scan_identity]
        held_out = self.scan_index >= counts[self.scan_identity] - held
        single = counts[self.scan_identity] == 1
        self.train_scans = (~held_out | single).nonzero()[:, 0]
        self.held_out_scans = (held_out & ~single).nonzero()[:, 0]
        drawn = (self.share / counts)[self.scan_identity]
        self.scan_share = drawn[self.train_scans]
        """[T] how often each training scan is drawn."""

    def motion(self, scan: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical points [P,3] of one scan at indices [P], and their true offsets."""
        identity = int(self.scan_identity[scan])
        canonical = self.canonical[identity][points]
        return canonical, self.posed[identity][int(self.scan_index[scan])][points] - canonical


class Learner:
    """The model, its codes and their optimizer: everything that a step changes."""

    def __init__(self, config: HeadTraining, heads: Heads, nphm: NPHM) -> None:
        self.nphm, self.step = nphm, 0
        self.random = torch.Generator().manual_seed(config.seed)
        self.embedding = EMBEDDING_SCALE * orthogonal(nphm.expression_dim, heads.weights.shape[1])
        canonical = torch.from_numpy(CANONICAL_WEIGHTS)
        self.linear_codes = (heads.weights - canonical) @ self.embedding.T
        self.expression = self.linear_codes.clone().requires_grad_()
        identity = torch.randn(len(heads.sdf), nphm.identity_dim, generator=self.random)
        self.identity = (0.1 * identity).requires_grad_()
        anchor_layer = nphm.identity_sdf.anchor_mlp[-1]
        assert isinstance(anchor_layer, torch.nn.Linear)
        anchor_layer.bias.data.copy_(heads.anchors.mean(dim=0).flatten())
        rate = config.learning_rate
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(nphm.parameters()), "lr": rate},
                {"params": [self.identity], "lr": rate},
                {"params": [self.expression], "lr": 0.25 * rate},
            ]
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def set_rate(self, progress: float) -> None:
        """Exponential decay to a hundredth over progress 0..1."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * 0.01**progress

    def save(self, path: Path) -> None:
        state = {
            "nphm": self.nphm.state_dict(),
            "identity": self.identity.detach(),
            "expression": self.expression.detach(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "step": self.step,
        }
        with written_aside(path) as aside:
            torch.save(state, aside)

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, weights_only=True)
            self.nphm.load_state_dict(state["nphm"])
            for name in ("identity", "expression"):
                getattr(self, name).data.copy_(state[name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.random.set_state(state["random"])
            self.step = state["step"]
        except Exception as error:  # torch.load raises many kinds for a damaged file
            line = " ".join(str(error).split())[:200]
            raise AvatarError(f"{path}: expected a checkpoint of this training, {line}") from error


def orthogonal(rows: int, columns: int) -> Tensor:
    """A fixed [rows, columns] matrix with orthonormal columns (rows >= columns)."""
    normal = np.random.default_rng(52).normal(size=(rows, columns))
    return torch.from_numpy(np.linalg.qr(normal)[0]).float()


def train_head(
    config: HeadTraining,
    nphm: NPHM | None = None,
    report: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Path:
    """Trains (or goes on training) the head model; returns the folder of the finished one."""
    heads = Heads(load_heads(config.heads), config.focus)
    torch.manual_seed(config.seed)
    learner = Learner(config, heads, nphm or NPHM())
    config.out.mkdir(parents=True, exist_ok=True)
    checkpoint = config.out / "checkpoint.pt"
    if checkpoint.exists():
        learner.load(checkpoint)
        report(f"going on from step {learner.step} of {checkpoint}")
    began, first = time.monotonic(), learner.step
    averages: dict[str, float] = {}
    while learner.step < config.steps:
        losses = training_step(config, heads, learner)
        for name, value in losses.items():
            averages[name] = 0.98 * averages.get(name, value) + 0.02 * value
        if learner.step % 50 == 0:
            seconds = (time.monotonic() - began) / (learner.step - first)
            left = seconds * (config.steps - learner.step) / 60
            values = " ".join(f"{name} {value:.4f}" for name, value in averages.items())
            report(f"step {learner.step}/{config.steps}  {left:.1f} min left  {values}")
        if learner.step % config.save_every == 0 or learner.step == config.steps:
            learner.save(checkpoint)
            save_head(config.out / "final", heads, learner)
            errors = validate(heads, learner)
            report("  ".join(f"{name} {value:.3f} mm" for name, value in errors.items()))
    return config.out / "final"


def training_step(config: HeadTraining, heads: Heads, learner: Learner) -> dict[str, float]:
    """One step of Adam on both networks and all codes; the losses as numbers."""
    learner.set_rate(learner.step / config.steps)
    losses = sdf_losses(config, heads, learner) | deformation_losses(config, heads, learner)
    total = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(total):
        raise AvatarError(f"step {learner.step}: expected a finite loss, found {float(total)}")
    learner.optimizer.zero_grad()
    total.backward()
    learner.optimizer.step()
    learner.step += 1
    return {name: float(value.detach()) for name, value in losses.items()}


def sdf_losses(config: HeadTraining, heads: Heads, learner: Learner) -> dict[str, Tensor]:
    """The identity's losses, weighted, on `identities_per_step` random identities."""
    nphm, random, count = learner.nphm, learner.random, config.points
    chosen = torch.multinomial(heads.share, config.identities_per_step, True, generator=random)
    code = learner.identity[chosen]
    places = [heads.surface[i][_draw(len(heads.surface[i]), count, random)] for i in chosen]
    surface = torch.stack([heads.canonical[i][p] for i, p in zip(chosen, places, strict=True)])
    normals = torch.stack([heads.normals[i][p] for i, p in zip(chosen, places, strict=True)])
    off = _draw(heads.sdf.shape[1], count, random)
    off_points, distance = heads.sdf_points[chosen][:, off], heads.sdf[chosen][:, off]

    free = count // 4  # the gradient is asked for at the surface and at some points beside it
    probes = torch.cat([surface, off_points[:, :free]], dim=1).requires_grad_()
    values = nphm.sdf(probes, code)
    (gradient,) = torch.autograd.grad(values.sum(), probes, create_graph=True)
    off_values = torch.cat([values[:, count:], nphm.sdf(off_points[:, free:], code)], dim=1)
    local = nphm.identity_sdf.local_codes(code)[:, : 2 * nphm.identity_sdf.pairs]
    anchors = nphm.anchors(code)
    return {
        "surface": 2 * values[:, :count].abs().mean(),
        "normal": 0.3 * (gradient[:, :count] - normals).norm(dim=-1).mean(),
        "distance": 2 * (off_values - distance).abs().mean(),
        "eikonal": 0.1 * (gradient.norm(dim=-1) - 1).square().mean(),
        "anchors": 7.5 * (anchors - heads.anchors[chosen]).square().sum(dim=-1).mean(),
        "code": 0.01 * code.square().mean(),
        "symmetry": 0.01 * (local[:, 0::2] - local[:, 1::2]).square().mean(),
    }


def deformation_losses(config: HeadTraining, heads: Heads, learner: Learner) -> dict[str, Tensor]:
    """The expression's losses, weighted, on `scans_per_step` random scans.

    Correspondence is the mean distance rather than its square: millimetres count alike on a still
    forehead and on a wide jaw.
    """
    draws = torch.multinomial(
        heads.scan_share, config.scans_per_step, True, generator=learner.random
    )
    scans = heads.train_scans[draws]
    canonical, offsets = _motions(heads, scans, config.points, learner.random)
    codes = learner.expression[scans]
    moved = learner.nphm.deform(canonical, learner.identity[heads.scan_identity[scans]], codes)
    return {
        "correspondence": 10 * (moved - offsets).norm(dim=-1).mean(),
        "expression": 5e-5 * codes.square().sum(dim=-1).mean(),
    }


def _draw(size: int, count: int, random: torch.Generator) -> Tensor:
    return torch.randint(size, (count,), generator=random)


def _motions(
    heads: Heads, scans: Tensor, count: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Canonical points and true offsets, [S,count,3] each, at random places of each scan."""
    motions = []
    for scan in scans.tolist():
        surface = heads.surface[int(heads.scan_identity[scan])]
        motions.append(heads.motion(scan, surface[_draw(len(surface), count, random)]))
    canonical, offsets = zip(*motions, strict=True)
    return torch.stack(canonical), torch.stack(offsets)


@torch.no_grad()
def validate(heads: Heads, learner: Learner, points: int = 2000) -> dict[str, float]:
    """Mean errors in mm: surface, and deformation of training and of held-out scans.

    Held-out scans take their linear code; `person` is identity 0. The points are fixed.
    """
    nphm, random = learner.nphm, torch.Generator().manual_seed(1)
    to_mm = 1000 / nphm.config["units_per_metre"]
    surface = []
    for identity, places in enumerate(heads.surface):
        probes = heads.canonical[identity][places[_draw(len(places), points, random)]]
        surface.append(nphm.sdf(probes, learner.identity[identity]).abs().mean())
    errors = {"surface": torch.stack(surface).mean(), "surface of person": surface[0]}

    def motion_error(scans: Tensor, codes: Tensor) -> Tensor:
        canonical, offsets = _motions(heads, scans, points, random)
        found = nphm.deform(canonical, learner.identity[heads.scan_identity[scans]], codes[scans])
        return (found - offsets).norm(dim=-1).mean()

    train, held = heads.train_scans, heads.held_out_scans
    errors["motion"] = motion_error(train[:: max(1, len(train) // 60)], learner.expression)
    if len(held):
        person = held[heads.scan_identity[held] == 0]
        errors["held-out motion"] = motion_error(held[:60], learner.linear_codes)
        if len(person):
            errors["held-out of person"] = motion_error(person, learner.linear_codes)
    return {name: float(value) * to_mm for name, value in errors.items()}


def save_head(folder: Path, heads: Heads, learner: Learner) -> None:
    """The model in float32 and all codes beside it (`head.nphm.load_nphm`, `load_codes`)."""
    save_network(learner.nphm, folder, torch.float32)
    codes = {
        "identity": learner.identity.detach(),
        "expression": learner.expression.detach(),
        "scan_identity": heads.scan_identity,
        "embedding": learner.embedding,
        "canonical_weights": torch.from_numpy(CANONICAL_WEIGHTS.copy()),
    }
    save_tensors(codes, folder / CODES_FILE)
