"""A data set of discs, whose codes are looked up: no mesh is registered to its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import tiny_person

from avatar_viewer.data.frames import HeadFrame
from avatar_viewer.evaluation import images


def know_codes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the codes' fit in `evaluate`, for a folder of `write_tiny_frames`."""
    person = tiny_person(folder)

    def fit_codes(nphm, identity, data, records):
        return torch.stack([person.expression(record).tensor() for record in records])

    monkeypatch.setattr(images, "fit_codes", fit_codes)
    monkeypatch.setattr(
        images, "read_head_frame", lambda data, nphm: HeadFrame((0.0, 0.0, 0.0), 1.0)
    )
