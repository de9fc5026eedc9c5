"""A person's canonical head with its identity code, baked expressions and hull, as files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.baked_expressions import BakedExpressions
from avatar_viewer.stages import CanonicalHead
from avatar_viewer.weights import load_tensors, save_tensors

CANONICAL_HEAD_FILE = "canonical_head.safetensors"
BAKED_FILE = "baked_expressions.safetensors"
HULL_FILE = "hull.safetensors"


def save_canonical_head(path: Path, head: CanonicalHead, identity: Tensor) -> None:
    """Writes vertices [V,3], faces [F,3] and the identity code [D]."""
    save_tensors(
        {"vertices": head.vertices, "faces": head.faces, "identity": identity.detach()}, path
    )


def load_canonical_head(path: Path) -> tuple[CanonicalHead, Tensor]:
    """The head and its identity code; AvatarError names the file and what is wrong with it."""
    tensors = load_tensors(path)
    if missing := {"vertices", "faces", "identity"} - tensors.keys():
        raise AvatarError(f"{path}: expected {', '.join(sorted(missing))}, found none")
    identity = tensors["identity"]
    if identity.ndim != 1:
        raise AvatarError(
            f"{path}: expected an identity code [D], found shape {tuple(identity.shape)}"
        )
    return _mesh(path, tensors), identity.float()


def save_hull(path: Path, hull: CanonicalHead) -> None:
    """Writes vertices [V,3] and faces [F,3]."""
    save_tensors({"vertices": hull.vertices, "faces": hull.faces}, path)


def load_hull(path: Path) -> CanonicalHead:
    """What keeps still around a head; AvatarError names the file and what is wrong with it."""
    tensors = load_tensors(path)
    if missing := {"vertices", "faces"} - tensors.keys():
        raise AvatarError(f"{path}: expected {', '.join(sorted(missing))}, found none")
    return _mesh(path, tensors)


def _mesh(path: Path, tensors: dict[str, Tensor]) -> CanonicalHead:
    vertices, faces = tensors["vertices"], tensors["faces"]
    try:
        mesh = CanonicalHead(vertices.float(), faces.int())
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}") from error
    if len(faces) == 0 or int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise AvatarError(
            f"{path}: expected faces of vertices 0 to {len(vertices) - 1}, found others or none"
        )
    return mesh


def save_baked(path: Path, baked: BakedExpressions) -> None:
    """Writes mean and modes in float16, of which they are precise to a few micrometres."""
    tensors = dict(vars(baked))
    save_tensors(tensors | {name: tensors[name].half() for name in ("mean", "modes")}, path)


def load_baked(path: Path, head: CanonicalHead) -> BakedExpressions:
    """Baked expressions of this head; AvatarError names the file and what is wrong with it."""
    tensors = load_tensors(path)
    names = [entry.name for entry in fields(BakedExpressions)]
    if missing := set(names) - tensors.keys():
        raise AvatarError(f"{path}: expected {', '.join(sorted(missing))}, found none")
    found = {name: tensors[name].float() for name in names} | {
        "controls": tensors["controls"].long()
    }
    try:
        baked = BakedExpressions(**found)
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}") from error
    if len(baked.mean) != len(head.vertices):
        raise AvatarError(
            f"{path}: expected offsets of {len(head.vertices)} vertices, found {len(baked.mean)}"
        )
    return baked
