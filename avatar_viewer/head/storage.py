"""A person's canonical head and identity code in one safetensors file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import CanonicalHead
from avatar_viewer.weights import load_tensors, save_tensors

CANONICAL_HEAD_FILE = "canonical_head.safetensors"


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
    vertices, faces, identity = (tensors[name] for name in ("vertices", "faces", "identity"))
    try:
        head = CanonicalHead(vertices.float(), faces.int())
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}") from error
    if len(faces) == 0 or int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise AvatarError(
            f"{path}: expected faces of vertices 0 to {len(vertices) - 1}, found others or none"
        )
    if identity.ndim != 1:
        raise AvatarError(
            f"{path}: expected an identity code [D], found shape {tuple(identity.shape)}"
        )
    return head, identity.float()
