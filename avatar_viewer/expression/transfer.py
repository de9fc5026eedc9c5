"""From a recording of another person to a file of this avatar's expressions: `transfer`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from avatar_viewer.avatar_folder import load_head, resolve
from avatar_viewer.data.meshes import read_mesh
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.expression.fit import read_landmarks
from avatar_viewer.expression.from_meshes import fit_person
from avatar_viewer.expression.livelink import read_units, sequence_of_units
from avatar_viewer.expression.motion import smoothed
from avatar_viewer.expression.sequence import ExpressionSequence, save_sequence
from avatar_viewer.files import ensure_writable
from avatar_viewer.head.arkit import ARKIT_MAP_FILE, ArkitMap
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import load_codes
from avatar_viewer.head.scan import UNITS, read_scan

SUFFIXES = (".obj", ".ply")
MOST_VERTICES = 20_000
MESH_FPS = 30.0
"""Of meshes, which do not tell."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Meshes:
    """Where tracked meshes are, a frame each."""

    folder: Path
    unit: str = "m"
    landmarks: Path | None = None
    """YAML as of `expression.fit`, of the frame in which the face rests; without it the meshes lie
    in the head model's frame."""


@dataclass(frozen=True)
class Options:
    """How a recording becomes a sequence."""

    neutral: int | None = None
    """Number of a frame in which the face rests."""
    fps: float | None = None
    """Expressions in a second; None is the recording's own."""
    smooth: bool = True


def transfer_units(
    recording: Path, out: Path, avatar: str | Path, options: Options
) -> ExpressionSequence:
    """A CSV of ARKit weights (`livelink.read_units`) as the avatar's expressions, saved."""
    ensure_writable(out)
    units = read_units(recording)
    folder = resolve(avatar, lambda text: None)
    arkit_map = arkit_map_of(_head(folder), folder)
    sequence = sequence_of_units(
        units, arkit_map, source=recording.name, neutral=options.neutral, fps=options.fps
    )
    return _saved(sequence, out, options)


def transfer_meshes(
    meshes: Meshes, out: Path, avatar: str | Path, options: Options, say: Say = lambda text: None
) -> ExpressionSequence:
    """Another person's tracked meshes as the avatar's expressions, saved to `out`.

    In the frame `neutral`, or the first, the face must rest: that tells who it is.
    """
    ensure_writable(out)
    files, rest = mesh_files(meshes.folder), options.neutral or 0
    if not 0 <= rest < len(files):
        raise AvatarError(f"neutral: expected 0 to {len(files) - 1}, found {rest}")
    folder = resolve(avatar, lambda text: None)
    head, codes = _head(folder), load_codes(folder / "head")
    to_units = UNITS[meshes.unit] * head.nphm.config["units_per_metre"]
    scan = read_scan(files[rest], head.nphm.config["units_per_metre"], meshes.unit)
    if meshes.landmarks is not None:
        found = read_landmarks(meshes.landmarks, head.nphm, to_units)
        scan = replace(scan, landmarks=found)
    frames = read_vertices(files, to_units)
    say("fitting the identity to the face at rest")
    person = fit_person(
        head.nphm,
        (CodePrior.of(codes["identity"]), CodePrior.of(codes["expression"])),
        None if head.arkit_map is None else head.arkit_map.offset,
        scan,
        frames[rest],
    )
    say(f"fitting expressions to {len(frames)} meshes")
    fit = person.fit(frames)
    say(f"distance: mean {fit.error_mm.mean():.2f} mm, worst frame {fit.error_mm.max():.2f} mm")
    sequence = fit.sequence(options.fps or MESH_FPS, meshes.folder.name)
    return _saved(sequence, out, options)


def arkit_map_of(head: HeadPoser, folder: Path) -> ArkitMap:
    """AvatarError where the avatar has none."""
    if head.arkit_map is None:
        expected = f"an avatar with an ARKit map (head/{ARKIT_MAP_FILE})"
        raise AvatarError(f"{folder}: expected {expected}, found none")
    return head.arkit_map


def mesh_files(folder: Path) -> list[Path]:
    """The folder's meshes by the numbers in their names; raises AvatarError without any."""
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{folder}: expected a folder of meshes, found: {found}") from error
    if not files:
        raise AvatarError(f"{folder}: expected meshes ({', '.join(SUFFIXES)}), found none")

    def order(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", path.stem)
        return [(int(part) if part.isdigit() else -1, part) for part in parts]

    return sorted(files, key=order)


def read_vertices(files: list[Path], scale: float) -> np.ndarray:
    """[T,N,3] float32: the same vertices of each mesh, times `scale`; raises AvatarError."""
    first = read_mesh(files[0])
    chosen = np.random.default_rng(0).permutation(len(first.vertices))[:MOST_VERTICES]
    frames = []
    for path in files:
        mesh = read_mesh(path)
        if len(mesh.vertices) != len(first.vertices) or not np.array_equal(mesh.faces, first.faces):
            expected = f"{len(first.vertices)} vertices and the faces of {files[0].name}"
            found = f"{len(mesh.vertices)} vertices and other faces"
            raise AvatarError(f"{path}: expected {expected}, found {found}")
        frames.append((mesh.vertices[chosen] * scale).astype(np.float32))
    return np.stack(frames)


def _head(folder: Path) -> HeadPoser:
    return load_head(folder / "head", torch.device("cpu"))


def _saved(sequence: ExpressionSequence, out: Path, options: Options) -> ExpressionSequence:
    sequence = smoothed(sequence) if options.smooth else sequence
    save_sequence(sequence, out)
    return sequence
