"""Names after what things were made from."""

from __future__ import annotations

from pathlib import Path

import torch

from avatar_viewer.digest import digest_of


def test_equal_parts_have_equal_names(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"1")
    parts = (tmp_path / "file", {"a": torch.ones(2, 3).T, "b": None}, ("text", 1.5))
    again = (tmp_path / "file", {"a": torch.ones(3, 2), "b": None}, ("text", 1.5))
    assert digest_of(*parts) == digest_of(*again)


def test_each_part_counts(tmp_path: Path):
    path = tmp_path / "file"
    names = {digest_of(path)}
    for content in (b"", b"x", b"y"):
        path.write_bytes(content)
        names.add(digest_of(path))
    numbers = torch.arange(6.0)
    tensors = (
        numbers,
        numbers + 1,
        numbers.view(2, 3),
        numbers.double(),
        numbers.bfloat16(),
        torch.tensor(0.0),
        torch.zeros(0),
    )
    names |= {digest_of({"a": tensor}) for tensor in tensors}
    names |= {digest_of({"b": numbers}), digest_of(1), digest_of(1, 1), digest_of("1"), digest_of()}
    assert len(names) == 4 + len(tensors) + 5
