"""What other people's meshes and weights make of an avatar whose true motion is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from avatar_viewer.avatar_folder import load_head
from avatar_viewer.data.head_sampler import HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.data.synthesis.made_up_motion import MadeUpMotion
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation.known_motion import KnownMotion
from avatar_viewer.expression.from_meshes import fit_person
from avatar_viewer.expression.livelink import UnitRecording, sequence_of_units
from avatar_viewer.expression.motion import smoothed
from avatar_viewer.expression.sequence import ExpressionSequence
from avatar_viewer.expression.transfer import arkit_map_of
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM, load_codes
from avatar_viewer.head.scan import Scan

FPS = 30.0
"""Of the motion of meshes and weights."""
MESH_NOISE_MM, WEIGHT_NOISE = 0.2, 0.01
"""Standard deviations of what a tracker adds to each coordinate, and to each weight."""
REST_WEIGHT, GAIN = 0.1, (0.9, 1.1)
"""A phone gives a face at rest up to so much of a unit, and more or less of the rest."""
HEAD_TURN_DEG = 10.0
OTHER_PERSON_MM = 1.0
"""Further from the avatar's surface the first head is somebody else."""


class Codes(NamedTuple):
    """What one source says of a person: of its scans [S,E], and of its motion [T,E]."""

    still: Tensor
    moving: Tensor
    trembling: Tensor
    """Of its motion, not smoothed."""


@dataclass(frozen=True)
class Stage:
    """The avatar's head, and how it truly moves."""

    head: HeadPoser
    arkit_map: ArkitMap
    priors: tuple[CodePrior, CodePrior]
    truth: KnownMotion

    @torch.no_grad()
    def offsets(self, codes: Tensor, chosen: np.ndarray) -> np.ndarray:
        """[T,N,3] of the avatar's chosen points by codes, head units."""
        points = torch.from_numpy(self.truth.canonical[chosen])
        deform, identity = self.head.nphm.deform, self.head.identity
        return torch.stack([deform(points, identity, z) for z in codes]).numpy()


def load_stage(folder: Path, heads: Path) -> Stage:
    """AvatarError unless the first of the heads is the avatar's person."""
    head = load_head(folder / "head", torch.device("cpu"))
    codes, (person,) = load_codes(folder / "head"), load_heads(heads, "train", 1)
    truth = KnownMotion(person, head.nphm.config["units_per_metre"])
    skin = torch.from_numpy(truth.canonical[truth.skin])
    with torch.no_grad():
        distance = float(head.nphm.sdf(skin, head.identity).abs().mean()) * truth.to_mm
    if distance > OTHER_PERSON_MM:
        expected = "the avatar's person as the first head (data heads --person)"
        raise AvatarError(f"{heads}: expected {expected}, found one {distance:.1f} mm beside it")
    priors = CodePrior.of(codes["identity"]), CodePrior.of(codes["expression"])
    return Stage(head, arkit_map_of(head, folder), priors, truth)


def mesh_codes(
    stage: Stage, person: HeadScans, motion: MadeUpMotion, rng: np.random.Generator
) -> Codes:
    """Of the person's registered points, trembling, on a head that turns; the first scan rests.

    Neither normals nor faces are used, and no template: vertices correspond among frames alone.
    """
    surface = person.on_surface > 0
    others = person.posed[:, surface]
    moving = person.canonical[surface] + stage.truth.offsets(motion.weights, surface)
    moving = moving + rng.normal(size=moving.shape) * MESH_NOISE_MM / stage.truth.to_mm
    moving = turned(moving)
    nphm, rest = stage.head.nphm, stage.arkit_map.offset
    scan = Scan(torch.from_numpy(others[0]))
    fitted = fit_person(nphm, stage.priors, rest, scan, others[0])
    still = fitted.fit(others)
    sequence = fitted.fit(moving.astype(np.float32)).sequence(FPS, "made up")
    return Codes(still.codes, *_both(sequence))


def unit_codes(
    stage: Stage, person: HeadScans, motion: MadeUpMotion, rng: np.random.Generator
) -> Codes:
    """Of weights as a phone gives them, calibrated by a face at rest."""
    rest = rng.uniform(0, REST_WEIGHT, motion.weights.shape[1])
    gain = rng.uniform(*GAIN, motion.weights.shape[1])

    def seen(weights: np.ndarray) -> ExpressionSequence:
        given = rest + gain * weights + WEIGHT_NOISE * rng.normal(size=weights.shape)
        recording = UnitRecording(np.arange(len(given)) / FPS, np.clip(given, 0, 1), FPS)
        return sequence_of_units(recording, stage.arkit_map, source="made up", neutral=0)

    # Five rows at rest before, by which they are calibrated.
    still = seen(np.concatenate([np.zeros((5, len(rest))), person.weights]))
    return Codes(z_exp(still)[5:], *_both(seen(motion.weights)))


def turned(frames: np.ndarray) -> np.ndarray:
    """Frames [T,N,3] of a head that turns and nods."""
    angle = HEAD_TURN_DEG * np.sin(np.arange(len(frames)) / 9)
    turns = Rotation.from_euler("YX", np.stack([angle, angle[::-1] / 2], axis=1), degrees=True)
    return frames @ turns.as_matrix().transpose(0, 2, 1)


def _both(sequence: ExpressionSequence) -> tuple[Tensor, Tensor]:
    """z_exp smoothed, and as they were."""
    return z_exp(smoothed(sequence)), z_exp(sequence)


def z_exp(sequence: ExpressionSequence) -> Tensor:
    """[T,E]."""
    return torch.from_numpy(sequence.codes[:, :-GAZE_DIM])
