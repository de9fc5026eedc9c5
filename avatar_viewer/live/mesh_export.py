"""The head in one expression as a mesh file: what `avatar-viewer mesh` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, written_aside

if TYPE_CHECKING:
    from avatar_viewer.head.nphm import NPHM
    from avatar_viewer.stages import HeadMesh

FORMATS = (".glb", ".ply", ".obj")


def export_mesh(out: Path, pad: tuple[float, float], source: str | None = None) -> None:
    """Write the head of an avatar at a place of its pad as GLB, PLY or OBJ, by the exact model.

    Faces and the order of vertices are the same for every expression, so files of two expressions
    correspond vertex by vertex. Raises AvatarError before any work for an unknown suffix, a place
    off the pad or an output that cannot be written.
    """
    import torch

    from avatar_viewer.avatar_folder import load_head, resolve
    from avatar_viewer.avatar_info import read_avatar_info
    from avatar_viewer.config import DEMO_FOLDER
    from avatar_viewer.live.still import Picture

    Picture(pad=pad).check()
    if out.suffix.lower() not in FORMATS:
        raise AvatarError(f"--out: expected a name that ends in {' | '.join(FORMATS)}, found {out}")
    ensure_writable(out)
    folder = resolve(source or str(DEMO_FOLDER), lambda text: None)
    info = read_avatar_info(folder / "avatar.yaml")
    poser = load_head(folder / "head", torch.device("cpu"))
    write_mesh(poser.pose(Picture(pad=pad).request(info).expression), poser.nphm, out)


def write_mesh(mesh: HeadMesh, nphm: NPHM, out: Path) -> None:
    """Vertices, faces and vertex normals in the format of the suffix, in the frame of glTF.

    That is metres, x = subject's left, y = up, z = front, whatever the head model's frame.
    """
    import trimesh

    from avatar_viewer.head.frame import subject_from_head

    turn = subject_from_head(nphm.config["axes"]).T
    exported = trimesh.Trimesh(
        mesh.vertices.numpy() @ turn / nphm.config["units_per_metre"],
        mesh.faces.numpy(),
        vertex_normals=mesh.normals.numpy() @ turn,
        process=False,  # which would merge and reorder vertices
    )
    kind = out.suffix.lower().removeprefix(".")
    options = {
        "glb": {"include_normals": True},
        "obj": {"include_normals": True, "digits": 7},
        "ply": {"vertex_normal": True},
    }
    with written_aside(out) as aside:
        exported.export(aside, file_type=kind, **options[kind])
