"""Registered synthetic heads on disk, to train the head model on.

They need `pip install avatar-viewer[synthetic]` to be made, not to be read. One safetensors file
holds one identity (`head_sampler.HeadScans`); `heads.yaml` lists them.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file, safe_open, save_file

from avatar_viewer.data.head_frame import PERSON_FILE
from avatar_viewer.data.head_sampler import CANONICAL_WEIGHTS, HeadSampler, HeadScans
from avatar_viewer.data.makehuman import random_identity
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import make_folder, written_aside
from avatar_viewer.head.arkit_units import ARKIT_UNITS, unit_weights
from avatar_viewer.head.frame import BOX_MAX, BOX_MIN, UNITS_PER_METRE
from avatar_viewer.weights import read_json

FORMAT = 2
PERSON_EXPRESSIONS = 10
"""The named person gets this many times the expressions of a random identity."""


def random_expressions(rng: np.random.Generator, count: int) -> np.ndarray:
    """[count,52] mixtures of three to ten units, most of them symmetric; the first is neutral."""
    scans = [unit_weights({})]
    while len(scans) < count:
        units = rng.choice(ARKIT_UNITS, rng.integers(3, 11), replace=False)
        mixture = {str(unit): float(rng.beta(1.2, 1.4)) for unit in units}
        if rng.random() < 0.7:
            for unit in [name for name in mixture if name.endswith("Left")]:
                other = unit.removesuffix("Left") + "Right"
                if other in ARKIT_UNITS and not unit.startswith(("jaw", "mouthLeft")):
                    mixture[other] = mixture[unit]
        if "mouthClose" in mixture:
            mixture["mouthClose"] = min(mixture["mouthClose"], 0.85 * mixture.get("jawOpen", 0.0))
        scans.append(unit_weights(mixture))
    return np.stack(scans[:count])


def read_person(person: Path) -> dict[str, float]:
    """Identity targets (file: weight) of a person's folder (`person.json`)."""
    file = person / PERSON_FILE
    description = read_json(file)
    try:
        targets = description["identity"]["targets"]
        return {str(path): float(weight) for path, weight in targets.items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise AvatarError(
            f"{file}: expected a person with identity.targets (file: weight), found {found}"
        ) from error


def sample_heads(
    out: Path,
    identities: int = 48,
    expressions: int = 12,
    seed: int = 0,
    held_out: int = 0,
    person: Path | None = None,
) -> None:
    """Writes one `head_NNN.safetensors` an identity and `heads.yaml` into `out`.

    The last `held_out` identities are kept from training: `evaluate head` judges on them. A
    person's folder, when given, becomes identity 0, with ten times the expressions. Heads that are
    already there (same seed and counts) are kept, so a killed run goes on.
    """
    if identities < 1 or expressions < 1:
        raise AvatarError("identities, expressions: expected 1 or more, found less")
    if not 0 <= held_out < identities:
        raise AvatarError(f"held_out: expected 0 to {identities - 1}, found {held_out}")
    make_folder(out)
    sampler = HeadSampler()
    names = []
    for index in range(identities):
        rng = np.random.default_rng((seed, index))
        targets = random_identity(rng, sampler.makehuman)
        count = expressions
        if person is not None and index == 0:
            targets, count = read_person(person), expressions * PERSON_EXPRESSIONS
        recipe = json.dumps([FORMAT, seed, index, count, targets], sort_keys=True)
        path = out / f"head_{index:03d}.safetensors"
        names.append(path.name)
        if _recipe_of(path) == recipe:
            continue
        scans = sampler.scans(targets, random_expressions(rng, count), rng)
        arrays = {entry.name: getattr(scans, entry.name) for entry in fields(scans)}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        with written_aside(path) as aside:
            save_file(arrays, aside, {"recipe": recipe})
        print(f"head {index + 1}/{identities}", flush=True)
    index_text = yaml.safe_dump(
        {
            "format": FORMAT,
            "heads": names,
            "held_out": names[identities - held_out :],
            "units": list(ARKIT_UNITS),
            "canonical_weights": CANONICAL_WEIGHTS.tolist(),
            "units_per_metre": UNITS_PER_METRE,
            "box": [list(BOX_MIN), list(BOX_MAX)],
            "seed": seed,
        }
    )
    with written_aside(out / "heads.yaml") as aside:
        aside.write_text(index_text)


def _recipe_of(path: Path) -> str | None:
    try:
        with safe_open(path, "np") as file:
            return (file.metadata() or {}).get("recipe")
    except (OSError, SafetensorError):
        return None


def load_heads(
    folder: Path, part: Literal["train", "held_out"], most: int | None = None
) -> list[HeadScans]:
    """The heads that `sample_heads` wrote for training, or those it held out: in order, the first
    `most` of them or all."""
    index = folder / "heads.yaml"
    try:
        listed = yaml.safe_load(index.read_text())
        held_out = set(listed.get("held_out", ()))
        names = [name for name in listed["heads"] if (name in held_out) == (part == "held_out")]
        heads = [HeadScans(**load_file(folder / name)) for name in names[:most]]
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError, SafetensorError) as error:
        raise AvatarError(
            f"{index}: expected heads written by `data heads`, found {one_line(error)}"
        ) from error
    if not heads:
        raise AvatarError(f"{index}: expected heads of part '{part}', found none")
    return heads
