"""Everything that is wrong with a data set, in one report, before any work starts.

Every picture is decoded: that alone finds one that was cut short, and takes about 7 ms for a WebP
of 512 pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from avatar_viewer.data.frames import FRAMES_FILE, FrameRecord, no_frames, parse_frames
from avatar_viewer.data.head_frame import read_world_from_head
from avatar_viewer.data.meshes import read_canonical, read_tracked
from avatar_viewer.errors import AvatarError, one_line, raise_all


def check_data(
    folder: Path, split: str | None = None, at_least: Mapping[str, int] | None = None
) -> list[FrameRecord]:
    """The records of one split (all when None), in the order of their ids, if nothing is wrong.

    `at_least` says how many frames splits must have: a batch. Raises AvatarError, or AvatarErrors
    with a line for each problem: the file or field, what was expected and what was found.
    """
    records, problems = _checked(folder, split, at_least or {})
    raise_all(f"{folder}: expected a data set without faults", problems)
    return records


def check_people(folders: Sequence[Path], split: str, at_least: int) -> None:
    """`check_data` of a split of several data sets, which together must have so many frames."""
    found, problems = 0, []
    for folder in folders:
        try:
            records, faults = _checked(folder, split, {})
        except AvatarError as error:
            records, faults = [], [str(error)]
        found += len(records)
        problems += faults
    if found < at_least:
        problems.append(
            f"data: expected {at_least} or more frames of split '{split}' (a batch) in all, "
            f"found {found}"
        )
    raise_all("data: expected data sets without faults", problems)


def _checked(
    folder: Path, split: str | None, at_least: Mapping[str, int]
) -> tuple[list[FrameRecord], list[str]]:
    """The records of one split (all when None), and everything that is wrong."""
    records, problems = parse_frames(folder)
    needs = dict(at_least)
    if split is not None:
        needs.setdefault(split, 1)
    problems += _counts(folder, records, needs)
    chosen = [record for record in records if split is None or record.split == split]
    problems += _error(lambda: read_world_from_head(folder))
    problems += _pictures(chosen)
    problems += _meshes(folder, chosen)
    return chosen, problems


def _counts(folder: Path, records: list[FrameRecord], needs: Mapping[str, int]) -> Iterator[str]:
    if not records:
        yield no_frames(folder, next(iter(needs), None), records)
        return
    counts = Counter(record.split for record in records)
    for split, least in needs.items():
        if counts[split] == 0:
            yield no_frames(folder, split, records)
        elif counts[split] < least:
            yield (
                f"{folder / FRAMES_FILE}: expected {least} or more frames of split '{split}' "
                f"(a batch), found {counts[split]}"
            )


def _pictures(records: list[FrameRecord]) -> Iterator[str]:
    sizes: dict[Path, tuple[int, int]] = {}
    for path in dict.fromkeys(record.path for record in records):
        try:
            with Image.open(path) as picture:
                picture.load()
                sizes[path] = picture.size
        except FileNotFoundError:
            yield f"{path}: expected a picture, found no file"
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            yield f"{path}: expected a readable picture, found: {one_line(error)}"
    if not sizes:
        return
    (width, height), _ = Counter(sizes.values()).most_common(1)[0]
    size = f"{width}x{width} pixels"
    size += " as most pictures have" if width == height else ", a square"
    for path, found in sizes.items():
        if found != (width, width):
            yield f"{path}: expected {size}, found {found[0]}x{found[1]} pixels"


def _meshes(folder: Path, records: list[FrameRecord]) -> Iterator[str]:
    tracked = [record.mesh for record in records if record.mesh is not None]
    if not tracked:
        return
    for record in records:
        if record.mesh is None:
            yield (
                f"{folder / FRAMES_FILE}, frame '{record.id}': expected a mesh as "
                f"{len(tracked)} other frames have, found none"
            )
    try:
        vertices = len(read_canonical(folder).vertices)
    except AvatarError as error:
        yield str(error)
        return
    for path in dict.fromkeys(tracked):
        yield from _error(lambda path=path: read_tracked(path, vertices))


def _error(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except AvatarError as error:
        return [str(error)]
    return []
