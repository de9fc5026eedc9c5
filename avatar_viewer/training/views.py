"""Training pictures as a step of an avatar's training takes them: latents, G-buffers, codes.

Each is made once, when it is first asked for, and kept in a folder whose name tells what it was
made from: a run that goes on, or another run of the same data, finds them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.person import Person
from avatar_viewer.diffusion.autoencoder import Autoencoder, encode
from avatar_viewer.digest import digest_of
from avatar_viewer.files import make_folder
from avatar_viewer.stages import GBuffer
from avatar_viewer.training.vae import to_signed
from avatar_viewer.weights import load_tensors, save_tensors

MOST_ZOOM = 1.4


class Batch(NamedTuple):
    """B views on the device that trains."""

    gbuffers: list[GBuffer]
    codes: Tensor
    """[B,E]."""
    latents: Tensor
    """[B,C,h,w]."""


@dataclass(frozen=True)
class ViewOptions:
    """How pictures become views."""

    resolution_px: int
    control_px: int
    """Height of G-buffers, which may be less than the pictures'."""
    zooms: int = 0
    """Random enlargements of each picture, beside the picture itself."""
    seed: int = 0
    keep_gbuffers: bool = True
    """False: they are rasterized anew at each step, which spares the disk."""


class Views:
    """Frames and their enlargements."""

    def __init__(
        self,
        records: Sequence[FrameRecord],
        person: Person,
        vae: Autoencoder,
        folder: Path,
        options: ViewOptions,
    ) -> None:
        """Views are kept below `folder`; the autoencoder's device is where pictures are encoded."""
        self.person, self.vae, self.options = person, vae, options
        self.folder = folder / f"views-{self._digest(records)}"
        make_folder(self.folder)
        self._views = [(record, zoom) for record in records for zoom in self._zooms(record)]

    def __len__(self) -> int:
        return len(self._views)

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """The views of these numbers."""
        records = [self._views[index][0] for index in indices]
        kept = [self._kept(index) for index in indices]
        buffers = [self._gbuffer(i, view) for i, view in zip(indices, kept, strict=True)]
        return Batch(
            [GBuffer(**{n: t.to(device) for n, t in vars(buffer).items()}) for buffer in buffers],
            torch.stack([self.person.expression(r).tensor() for r in records]).to(device),
            torch.stack([view["latents"] for view in kept]).to(device),
        )

    def _zooms(self, record: FrameRecord) -> list[float]:
        """1, and factors that depend on nothing but the seed and the frame's id."""
        rng = np.random.default_rng([self.options.seed, *record.id.encode()])
        return [1.0, *rng.uniform(1.0, MOST_ZOOM, self.options.zooms)]

    def _kept(self, index: int) -> dict[str, Tensor]:
        record, zoom = self._views[index]
        path = self.folder / f"{digest_of(record.id, zoom)}.st"
        if path.is_file():
            return load_tensors(path)
        view = {"latents": self._latents(record, zoom)}
        if self.options.keep_gbuffers:
            view |= packed(self._rasterized(record, zoom))
        save_tensors(view, path)
        return view

    def _gbuffer(self, index: int, view: dict[str, Tensor]) -> GBuffer:
        return unpacked(view) if "mask" in view else self._rasterized(*self._views[index])

    def _rasterized(self, record: FrameRecord, zoom: float) -> GBuffer:
        return self.person.gbuffer(record, self.options.control_px, zoom)

    @torch.no_grad()
    def _latents(self, record: FrameRecord, zoom: float) -> Tensor:
        rgb = torch.from_numpy(record.rgb(self.options.resolution_px, zoom=zoom))
        signed = to_signed(rgb.permute(2, 0, 1)[None]).to(self.vae.device)
        return encode(self.vae, signed)[0].float().cpu()

    def _digest(self, records: Sequence[FrameRecord]) -> str:
        """Of everything that views are made from."""
        poser = self.person.poser
        return digest_of(
            self.options,
            self.vae.state_dict(),
            poser.nphm.state_dict(),
            {"vertices": poser.head.vertices, "identity": poser.identity},
            vars(poser.hull) if poser.hull is not None else {},
            {record.id: self.person.expression(record).tensor() for record in records},
            self.person.head_frame,
            *(part for record in records for part in (record.camera, record.path)),
        )


def packed(gbuffer: GBuffer) -> dict[str, Tensor]:
    """A G-buffer's mask [H,W], and its other channels at the pixels of the mask."""
    rest = {e.name: getattr(gbuffer, e.name) for e in fields(gbuffer) if e.name != "mask"}
    return {"mask": gbuffer.mask} | {name: t[gbuffer.mask] for name, t in rest.items()}


def unpacked(tensors: dict[str, Tensor]) -> GBuffer:
    """The G-buffer that was packed, zero off the mesh."""
    mask = tensors["mask"]
    channels = {}
    for name in [entry.name for entry in fields(GBuffer) if entry.name != "mask"]:
        seen = tensors[name]
        channels[name] = seen.new_zeros((*mask.shape, *seen.shape[1:]))
        channels[name][mask] = seen
    return GBuffer(mask=mask, **channels)
