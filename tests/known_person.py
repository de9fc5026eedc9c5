"""A data set of discs, whose codes are looked up: no mesh is registered to its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import tiny_person

from avatar_viewer.avatar import Avatar
from avatar_viewer.data.check import check_data
from avatar_viewer.data.head_frame import HeadFrame
from avatar_viewer.data.person import Person
from avatar_viewer.evaluation import images


def know_codes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the codes' fit in `evaluate`, for a folder of `write_tiny_frames`."""
    monkeypatch.setattr(images, "person_of", known_codes(folder))


def known_codes(folder: Path) -> Callable[[Avatar, Path, str], Person]:
    """What stands in for `person_of`."""

    def person_of(avatar: Avatar, data: Path, split: str) -> Person:
        person = tiny_person(folder)
        records = check_data(data, split)
        codes = torch.stack([person.expression(record).tensor() for record in records])
        return Person(records, codes, avatar.head, HeadFrame((0.0, 0.0, 0.0), 1.0))

    return person_of
