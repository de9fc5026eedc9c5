"""Training pictures as a rigged decoder's training takes them, whole or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.frames import FrameRecord
from avatar_viewer.data.person import Person
from avatar_viewer.diffusion.autoencoder import encode, pixels_per_latent
from avatar_viewer.digest import digest_of
from avatar_viewer.files import make_folder
from avatar_viewer.stages import Camera, GBuffer, RenderRequest
from avatar_viewer.training.vae import to_signed
from avatar_viewer.training.views import packed, unpacked
from avatar_viewer.weights import load_tensors, save_tensors

Source = Literal["quick", "full", "encoded"]
"""Whence latents are: few denoising steps, all of them, or the true picture through the encoder."""


class Shots:
    """A split's pictures with what the decoder is given for them, each made when first asked for.

    Latents, which cost most, are kept in `folder`.
    """

    def __init__(self, avatar: Avatar, person: Person, folder: Path) -> None:
        self.avatar, self.person, self.folder = avatar, person, folder
        make_folder(folder)
        self.size_px = avatar.info.resolution_px
        self.pixels_per_latent = pixels_per_latent(avatar.vae)
        self._pictures: dict[int, Tensor] = {}
        self._gbuffers: dict[int, dict[str, Tensor]] = {}
        frame = person.head_frame
        self._names = [
            digest_of(
                frame, record.camera, record.path, {"code": person.expression(record).tensor()}
            )
            for record in person.records
        ]

    def __len__(self) -> int:
        return len(self.person.records)

    def picture(self, index: int) -> Tensor:
        """[4,H,W] in -1..1: the picture over white, and its opacity."""
        if index not in self._pictures:
            record = self.person.records[index]
            picture = np.dstack([record.rgb(self.size_px), record.opacity(self.size_px)])
            self._pictures[index] = torch.from_numpy(picture).permute(2, 0, 1)
        return to_signed(self._pictures[index])

    def gbuffer(self, index: int) -> GBuffer:
        if index not in self._gbuffers:
            record = self.person.records[index]
            self._gbuffers[index] = packed(self.person.gbuffer(record, self.size_px))
        return unpacked(self._gbuffers[index])

    def camera(self, index: int) -> Camera:
        return self.person.head_frame.camera(self.person.records[index].camera, self.size_px)

    def code(self, index: int) -> Tensor:
        """[E]."""
        return self.person.expression(self.person.records[index]).tensor()

    def latents(self, index: int, source: Source) -> Tensor:
        """[C,h,w]."""
        path = self.folder / f"{self._names[index]}-{source}.st"
        if not path.is_file():
            record = self.person.records[index]
            save_tensors({"latents": self._latents(index, record, source)}, path)
        return load_tensors(path)["latents"]

    @torch.no_grad()
    def _latents(self, index: int, record: FrameRecord, source: Source) -> Tensor:
        if source == "encoded":
            return encode(self.avatar.vae, self.picture(index)[None, :3])[0]
        info = self.avatar.info
        request = RenderRequest(
            self.person.expression(record),
            self.person.head_frame.camera(record.camera, self.size_px),
            steps=info.quick_steps if source == "quick" else info.steps,
            sampler=info.sampler,
        )
        return self.avatar.latents(request)[0].clone()


@dataclass(frozen=True)
class Window:
    """A square part of a picture; its corner and size are multiples of a latent's, in pixels."""

    index: int
    y: int
    x: int
    size: int

    def of_picture(self, picture: Tensor) -> Tensor:
        """Of [C,H,W]."""
        return picture[:, self.y : self.y + self.size, self.x : self.x + self.size]

    def of_latents(self, latents: Tensor, factor: int) -> Tensor:
        """Of [C,H/factor,W/factor]."""
        y, x, size = (number // factor for number in (self.y, self.x, self.size))
        return latents[:, y : y + size, x : x + size]

    def of_image(self, image: Tensor) -> Tensor:
        """Of [H,W] or [H,W,C]."""
        return image[self.y : self.y + self.size, self.x : self.x + self.size]


def latents_digest(avatar: Avatar) -> str:
    """Of what all latents depend on, besides their frames."""
    head, info = avatar.head, avatar.info
    return digest_of(
        (info.resolution_px, info.steps, info.quick_steps, info.sampler),
        avatar.denoiser.state_dict(),
        avatar.vae.state_dict(),
        head.nphm.state_dict(),
        {"identity": head.identity},
        vars(head.head),
        vars(head.hull) if head.hull is not None else {},
    )
