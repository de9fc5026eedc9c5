"""The head in one expression as a mesh file: what `avatar-viewer mesh` does."""

from __future__ import annotations

from pathlib import Path

from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.stages import HeadMesh

FORMATS = (".glb", ".ply", ".obj")


def export_mesh(out: Path, pad: tuple[float, float], source: str | None = None) -> None:
    """Write the head of an avatar at a place of its pad as GLB, PLY or OBJ, in metres.

    Axes are the head model's own. Faces and the order of vertices are the same for every
    expression, so files of two expressions correspond vertex by vertex. Raises AvatarError before
    any work for an unknown suffix, a place off the pad or an output that cannot be written.
    """
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.config import DEMO_FOLDER
    from avatar_viewer.live.still import Picture

    Picture(pad=pad).check()
    if out.suffix.lower() not in FORMATS:
        raise AvatarError(f"--out: expected a name that ends in {' | '.join(FORMATS)}, found {out}")
    ensure_writable(out)
    avatar = Avatar.load(source or str(DEMO_FOLDER))
    mesh = avatar.head.pose(Picture(pad=pad).request(avatar.info).expression)
    write_mesh(mesh, avatar.head.nphm.config["units_per_metre"], out)


def write_mesh(mesh: HeadMesh, units_per_metre: float, out: Path) -> None:
    """Vertices in metres, faces and vertex normals, in the format of the suffix."""
    import trimesh

    exported = trimesh.Trimesh(
        mesh.vertices.cpu().numpy() / units_per_metre,
        mesh.faces.cpu().numpy(),
        vertex_normals=mesh.normals.cpu().numpy(),
        process=False,  # which would merge and reorder vertices
    )
    kind = out.suffix.lower().removeprefix(".")
    options = {"obj": {"include_normals": True, "digits": 7}, "ply": {"vertex_normal": True}}
    content = exported.export(file_type=kind, **options.get(kind, {"include_normals": True}))
    with written_aside(out) as aside:
        if isinstance(content, str):
            aside.write_text(content, encoding="utf-8")
        else:
            aside.write_bytes(content)
