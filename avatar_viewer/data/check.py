"""Everything that is wrong with a data set, in one report, before any work starts.

Every picture is decoded: that alone finds one that was cut short, and takes about 7 ms for a WebP
of 512 pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from avatar_viewer.data.frames import FRAMES_FILE, FrameRecord, no_frames, parse_frames
from avatar_viewer.data.head_frame import read_world_from_head
from avatar_viewer.data.meshes import read_canonical, read_tracked
from avatar_viewer.errors import AvatarError, AvatarErrors, one_line

MOST_PROBLEMS = 20
"""How many are listed; the rest is counted."""


def check_data(
    folder: Path, split: str | None = None, at_least: Mapping[str, int] | None = None
) -> list[FrameRecord]:
    """The records of one split (all when None), in the order of their ids, if nothing is wrong.

    `at_least` says how many frames splits must have: a batch. Raises AvatarError, or AvatarErrors
    with a line for each problem: the file or field, what was expected and what was found.
    """
    records, problems = parse_frames(folder)
    needs = dict(at_least or {})
    if split is not None:
        needs.setdefault(split, 1)
    problems += _counts(folder, records, needs)
    chosen = [record for record in records if split is None or record.split == split]
    problems += _error(lambda: read_world_from_head(folder))
    problems += _pictures(chosen)
    problems += _meshes(folder, chosen)
    if problems:
        raise report(folder, problems)
    return chosen


def report(folder: Path, problems: list[str]) -> AvatarError:
    """One problem as its own line, more of them as a list under a headline."""
    if len(problems) == 1:
        return AvatarError(problems[0])
    lines = [f"{folder}: expected a data set without faults, found {len(problems)}:"]
    lines += problems[:MOST_PROBLEMS]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"and {len(problems) - MOST_PROBLEMS} more")
    return AvatarErrors("\n".join(lines))


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
