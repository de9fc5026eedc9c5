"""One person, ready to be trained on: the canonical head, and an expression code for every frame.

Codes are fitted to the frames' registered meshes by the correspondence loss (as NPHM tracking
gives them for real people), gaze is put beside them, and both are kept in `codes.safetensors`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import FrameRecord, HeadFrame, read_frames
from avatar_viewer.data.head_frame import PERSON_FILE, read_head_frame
from avatar_viewer.data.makehuman import generator_installed
from avatar_viewer.data.meshes import read_canonical
from avatar_viewer.data.registered import registered_points, surface_places
from avatar_viewer.data.visual_hull import Carving, carve, cut_moving
from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.digest import digest_of
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.arkit import learn_arkit_map
from avatar_viewer.files import make_folder
from avatar_viewer.head.arkit import ARKIT_MAP_FILE, ArkitMap, load_arkit_map, save_arkit_map
from avatar_viewer.head.baked_expressions import bake, snapshot_codes
from avatar_viewer.head.fit import fit_expressions
from avatar_viewer.head.fit_scan import CodePrior, fit_scan
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import CODES_FILE, GAZE_DIM, NPHM, load_codes, load_nphm
from avatar_viewer.head.scan import Scan
from avatar_viewer.head.storage import (
    BAKED_FILE,
    CANONICAL_HEAD_FILE,
    HULL_FILE,
    load_baked,
    load_canonical_head,
    load_hull,
    save_baked,
    save_canonical_head,
    save_hull,
)
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.stages import CanonicalHead, ExpressionCode, GBuffer
from avatar_viewer.weights import load_tensors, save_tensors

PAD_SNAPSHOTS = 500
"""Blends of the frames of pad corners that are baked beside the rest."""
MOST_HULL_EXPRESSIONS = 100
"""How many expressions tell which parts of a head move."""
PERSON_IDENTITY = 0
"""`data heads --person` makes the person the first identity of the codebook."""


class Person:
    """A data set seen through a head model."""

    def __init__(
        self,
        records: list[FrameRecord],
        codes: Tensor,
        poser: HeadPoser,
        head_frame: HeadFrame,
    ) -> None:
        """codes [S,E], z_exp and gaze, in the order of the records."""
        self.records, self.poser, self.head_frame = records, poser, head_frame
        self._codes = {record.id: code for record, code in zip(records, codes, strict=True)}

    @property
    def code_dim(self) -> int:
        return self.poser.nphm.expression_dim + GAZE_DIM

    @property
    def box(self) -> Box:
        """The canonical box, world units."""
        config = self.poser.nphm.config
        return tuple(config["box_min"]), tuple(config["box_max"])

    def frames(self, split: str) -> list[FrameRecord]:
        """The records of one split, at least one."""
        chosen = [record for record in self.records if record.split == split]
        if not chosen:
            found = ", ".join(sorted({record.split for record in self.records}))
            raise AvatarError(f"data: expected frames of split '{split}', found {found}")
        return chosen

    def expression(self, record: FrameRecord) -> ExpressionCode:
        """The fitted code of a frame."""
        return ExpressionCode.from_array(self._codes[record.id])

    def gbuffer(self, record: FrameRecord, size_px: int, zoom: float = 1.0) -> GBuffer:
        """The head as a frame's camera sees it, enlarged about the picture's centre."""
        camera = self.head_frame.camera(record.camera, size_px, zoom)
        return rasterize(self.poser.pose_whole(self.expression(record)), camera)


def load_person(
    data: Path,
    head: Path,
    cache: Path,
    extraction: Extraction | None = None,
    carving: Carving | None = None,
) -> Person:
    """Extract the head, fit a code to every frame and bake them, once; without `carving` the person
    has no hull.

    All is kept below `cache`, in a folder whose name tells what it was made from, as the hull's
    file does.
    """
    nphm = load_nphm(head)
    records = read_frames(data)
    kept = cache / _fit_digest(data, head, records, extraction)
    make_folder(kept)
    if not (kept / CODES_FILE).exists():
        identity = person_identity(nphm, head, data, records)
        canonical = extract_head(nphm, identity, extraction)
        save_canonical_head(kept / CANONICAL_HEAD_FILE, canonical, identity)
        codes = fit_codes(nphm, identity, data, records)
        save_tensors({"codes": codes}, kept / CODES_FILE)
    canonical, identity = load_canonical_head(kept / CANONICAL_HEAD_FILE)
    codes = load_tensors(kept / CODES_FILE)["codes"]
    if not (kept / BAKED_FILE).exists():
        print("baking expressions", flush=True)
        snapshots = person_snapshots(records, codes[:, :-GAZE_DIM], load_codes(head)["expression"])
        save_baked(kept / BAKED_FILE, bake(nphm, canonical, identity, snapshots))
    baked = load_baked(kept / BAKED_FILE, canonical)
    poser = HeadPoser(nphm, canonical, identity, vertex_normals, baked=baked)
    person = Person(records, codes, poser, read_head_frame(data, nphm))
    if carving is not None:
        seen = [part for r in person.frames("train") for part in (r.camera, r.path)]
        hull = kept / f"{digest_of(carving, *seen)}-{HULL_FILE}"
        if not hull.exists():
            print("carving the hull", flush=True)
            save_hull(hull, person_hull(person, carving))
        poser.hull = load_hull(hull)
    if (kept / ARKIT_MAP_FILE).exists():
        poser.arkit_map = load_arkit_map(kept)
    elif (learned := person_arkit_map(person, head)) is not None:
        poser.arkit_map = learned
        save_arkit_map(learned, kept)
    return person


def _fit_digest(
    data: Path, head: Path, records: list[FrameRecord], extraction: Extraction | None
) -> str:
    """Of all that codes, baked expressions and ARKit map are made from."""
    meshes = list(dict.fromkeys(r.mesh for r in records if r.mesh is not None))
    number: dict[Path | None, int] = {mesh: index for index, mesh in enumerate(meshes)}
    told = [(r.id, r.split, r.kind, r.expression, r.gaze, number.get(r.mesh)) for r in records]
    canonical = vars(read_canonical(data)) if meshes else {}
    return digest_of(
        extraction or Extraction(),
        *sorted(path for path in head.iterdir() if path.is_file()),
        data / PERSON_FILE,
        told,
        {name: torch.from_numpy(array) for name, array in canonical.items()},
        *meshes,
    )


def person_of(avatar: Avatar, data: Path, split: str) -> Person:
    """A split of a data set with an avatar's own head, to render its frames; checks the data.

    Expression codes are fitted to tracked meshes where the data has them. ARKit weights go through
    the avatar's own map, or, where its folder has none, through the package `anny`.
    """
    records = check_data(data, split)
    poser = avatar.head
    if records[0].mesh is None and poser.arkit_map is not None:
        weights = torch.from_numpy(np.stack([record.weights() for record in records]))
        codes = torch.cat([poser.arkit_map.codes(weights), _gaze(records)], dim=1)
    elif records[0].mesh is None and not generator_installed():
        raise AvatarError(
            f"{data}: expected tracked meshes, an avatar with an ARKit map "
            f"(head/{ARKIT_MAP_FILE}) or the package anny, found ARKit weights alone; "
            "pip install avatar-viewer[synthetic]"
        )
    else:
        codes = fit_codes(poser.nphm, poser.identity, data, records)
    return Person(records, codes, poser, read_head_frame(data, poser.nphm))


def person_hull(person: Person, carving: Carving) -> CanonicalHead:
    """What the training frames' silhouettes show around the head, and no expression moves."""
    train = person.frames("train")
    hull = carve(train, person.head_frame, carving)
    poser = person.poser
    with torch.no_grad():
        offsets = torch.stack(
            [
                poser.nphm.deform(
                    poser.head.vertices, poser.identity, person.expression(r).tensor()[:-GAZE_DIM]
                )
                for r in train[:: -(-len(train) // MOST_HULL_EXPRESSIONS)]
            ]
        )
    return cut_moving(hull, poser.head, offsets, mm=person.head_frame.units_per_metre / 1000)


def person_identity(nphm: NPHM, head: Path, data: Path, records: list[FrameRecord]) -> Tensor:
    """[D]: of a tracked person fitted to the canonical mesh, else that of `data heads --person`."""
    codebook = load_codes(head)["identity"]
    if records[0].mesh is None:
        return codebook[PERSON_IDENTITY]
    mesh = read_canonical(data)
    vertices = read_head_frame(data, nphm).points(mesh.vertices)
    corners, shares = surface_places(mesh, vertices, nphm)
    points = (vertices[corners] * shares[..., None]).sum(axis=1)
    print("fitting the identity to the canonical mesh", flush=True)
    fit = fit_scan(nphm, Scan(torch.from_numpy(points).float()), CodePrior.of(codebook))
    distance_mm = fit.residual_mm[~fit.residual_mm.isnan()].mean()
    print(f"identity: mean distance of the canonical mesh {distance_mm:.2f} mm", flush=True)
    return fit.identity.detach()


def person_arkit_map(person: Person, head: Path) -> ArkitMap | None:
    """ARKit weights -> codes, learned from the training frames; None where they have no weights.

    The head model's own map, learned from its training scans, tells what the frames do not show.
    Prints how far vertices lie from where the fitted codes put them.
    """
    # No weights at all are a neutral face, unless a mesh tells the expression.
    with_weights = [r for r in person.records if r.mesh is None or r.expression]
    train = [record for record in with_weights if record.split == "train"]
    if not train:
        return None
    prior = load_arkit_map(head) if (head / ARKIT_MAP_FILE).exists() else None
    weights = torch.from_numpy(np.stack([record.weights() for record in train]))
    codes = torch.stack([person.expression(record).tensor() for record in train])
    arkit_map = learn_arkit_map(weights, codes[:, :-GAZE_DIM], prior=prior)
    others = [record for record in with_weights if record.split != "train"]
    errors = [
        f"{arkit_error_mm(person, arkit_map, chosen):.2f} mm on {len(chosen)} {what} frames"
        for what, chosen in (("training", train), ("other", others))
        if chosen
    ]
    print(f"ARKit map: mean error {', '.join(errors)}", flush=True)
    return arkit_map


@torch.no_grad()
def arkit_error_mm(person: Person, arkit_map: ArkitMap, records: list[FrameRecord]) -> float:
    """Mean distance of the head's vertices from those of the fitted codes, over at most 100 frames,
    in millimetres."""
    poser = person.poser
    vertices, distances = poser.head.vertices, []
    for record in records[:: -(-len(records) // 100)]:
        fitted = person.expression(record).tensor()
        mapped = arkit_map.codes(torch.from_numpy(record.weights()))
        offsets = [poser.nphm.deform(vertices, poser.identity, z) for z in (fitted, mapped)]
        distances.append((offsets[0] - offsets[1]).norm(dim=-1).mean())
    return float(torch.stack(distances).mean()) * 1000 / poser.nphm.config["units_per_metre"]


def person_snapshots(records: list[FrameRecord], z: Tensor, codebook: Tensor) -> Tensor:
    """z_exp to bake: of frames [S,E], of the head model's training, and blends as on the pad."""
    corners = [index for index, record in enumerate(records) if record.kind.startswith("corner")]
    snapshots = [snapshot_codes(torch.cat([z, codebook]))]
    if corners:
        snapshots.append(snapshot_codes(z[corners], PAD_SNAPSHOTS))
    return torch.cat(snapshots)


def fit_codes(nphm: NPHM, identity: Tensor, data: Path, records: list[FrameRecord]) -> Tensor:
    """[S,E] expression codes, z_exp and gaze, of frames with registered meshes; on the CPU."""
    points = registered_points(nphm, data, records)
    z, error_mm = fit_expressions(
        nphm, identity, points.canonical.to(identity.device), points.posed.to(identity.device)
    )
    print(f"expression codes: mean error {error_mm.mean():.2f} mm, worst {error_mm.max():.2f} mm")
    return torch.cat([z.cpu()[points.row_of_frame], _gaze(records)], dim=1)


def _gaze(records: list[FrameRecord]) -> Tensor:
    return torch.from_numpy(np.stack([record.gaze_code() for record in records]))
