"""One person, ready to be trained on: the canonical head, and an expression code for every frame.

Codes are fitted to the frames' registered meshes by the correspondence loss (as NPHM tracking
gives them for real people), gaze is put beside them, and both are kept in `codes.safetensors`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.data.frames import FrameRecord, HeadFrame, read_frames
from avatar_viewer.data.heads import HeadSampler, read_person
from avatar_viewer.data.makehuman import gaze_of_weights, unit_weights
from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.baked_expressions import bake, snapshot_codes
from avatar_viewer.head.fit import fit_expressions
from avatar_viewer.head.frame import ORIGIN_FROM_EYES_M
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import GAZE_DIM, NPHM, load_codes, load_nphm
from avatar_viewer.head.storage import (
    BAKED_FILE,
    CANONICAL_HEAD_FILE,
    load_baked,
    load_canonical_head,
    save_baked,
    save_canonical_head,
)
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.stages import ExpressionCode, GBuffer
from avatar_viewer.weights import load_tensors, read_json, save_tensors

PAD_SNAPSHOTS = 500
"""Blends of the frames of pad corners that are baked beside the rest."""
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
        return rasterize(self.poser.pose(self.expression(record)), camera)


def load_person(
    data: Path, head: Path, cache: Path, extraction: Extraction | None = None
) -> Person:
    """Extract the head, fit a code to every frame and bake them, once; then read `cache`."""
    nphm = load_nphm(head)
    records = read_frames(data)
    if not (cache / "codes.safetensors").exists():
        cache.mkdir(parents=True, exist_ok=True)
        identity = load_codes(head)["identity"][PERSON_IDENTITY]
        canonical = extract_head(nphm, identity, extraction)
        save_canonical_head(cache / CANONICAL_HEAD_FILE, canonical, identity)
        codes = fit_codes(nphm, identity, data, records)
        save_tensors({"codes": codes}, cache / "codes.safetensors")
    canonical, identity = load_canonical_head(cache / CANONICAL_HEAD_FILE)
    codes = load_tensors(cache / "codes.safetensors")["codes"]
    if not (cache / BAKED_FILE).exists():
        print("baking expressions", flush=True)
        snapshots = person_snapshots(records, codes[:, :-GAZE_DIM], load_codes(head)["expression"])
        save_baked(cache / BAKED_FILE, bake(nphm, canonical, identity, snapshots))
    baked = load_baked(cache / BAKED_FILE, canonical)
    if len(codes) != len(records):
        raise AvatarError(
            f"{cache / 'codes.safetensors'}: expected codes of {len(records)} frames,"
            f" found {len(codes)}; remove the file to fit them again"
        )
    poser = HeadPoser(nphm, canonical, identity, vertex_normals, baked=baked)
    return Person(records, codes, poser, read_head_frame(data, nphm))


def person_snapshots(records: list[FrameRecord], z: Tensor, codebook: Tensor) -> Tensor:
    """z_exp to bake: of frames [S,E], of the head model's training, and blends as on the pad."""
    corners = [index for index, record in enumerate(records) if record.kind.startswith("corner")]
    snapshots = [snapshot_codes(torch.cat([z, codebook]))]
    if corners:
        snapshots.append(snapshot_codes(z[corners], PAD_SNAPSHOTS))
    return torch.cat(snapshots)


def fit_codes(nphm: NPHM, identity: Tensor, data: Path, records: list[FrameRecord]) -> Tensor:
    """[S,E] expression codes, z_exp and gaze, of frames with registered meshes."""
    weights = np.stack([unit_weights(record.expression) for record in records])
    canonical, posed = HeadSampler().registered_points(read_person(data), weights)
    z, error_mm = fit_expressions(
        nphm, identity, torch.from_numpy(canonical), torch.from_numpy(posed)
    )
    print(f"expression codes: mean error {error_mm.mean():.2f} mm, worst {error_mm.max():.2f} mm")
    return torch.cat([z, torch.from_numpy(gaze_of_weights(weights)).float()], dim=1)


def read_head_frame(data: Path, nphm: NPHM) -> HeadFrame:
    """Where the head's frame lies among the data set's cameras."""
    person = read_json(data / "person.json")
    try:
        eyes_m = np.asarray(person["mesh"]["eye_centre_m"], dtype=np.float64)
        x, y, z = (eyes_m + ORIGIN_FROM_EYES_M).tolist()
    except (KeyError, TypeError, ValueError) as error:
        raise AvatarError(
            f"{data / 'person.json'}: expected mesh.eye_centre_m (3 numbers), found none"
        ) from error
    return HeadFrame((x, y, z), nphm.config["units_per_metre"])
