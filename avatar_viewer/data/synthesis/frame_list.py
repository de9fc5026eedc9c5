"""The list of a data set's finished frames, which only ever grows by whole lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

from avatar_viewer.data.frames import LIST_NAMES
from avatar_viewer.data.synthesis.plan import Shard
from avatar_viewer.errors import AvatarError, one_line


def list_path(folder: Path, shard: Shard) -> Path:
    """Where a shard lists its frames: jobs on several machines never write one file."""
    if shard.count == 1:
        return folder / "frames.jsonl"
    return folder / f"frames.{shard.index}-of-{shard.count}.jsonl"


class FrameList:
    """One shard's list; it knows what all lists of the folder hold."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Cuts off what a killed run left unfinished at the end of the shard's list."""
        self.path = list_path(folder, shard)
        if self.path.is_file():
            _mend(self.path)
        listed = [frame for path in sorted(folder.glob(LIST_NAMES)) for frame in _frames(path)]
        self.done = {frame_id for frame_id, _ in listed}
        """Ids of all finished frames."""
        self.files = [file for _, file in listed]
        """Their pictures, paths in the folder."""

    def add(self, record: dict) -> None:
        """A frame whose picture is on disk."""
        line = (json.dumps(record) + "\n").encode()
        try:
            # One write in append mode: a line is there or not, whatever happens.
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise AvatarError(
                f"{self.path}: expected a writable path, found: {one_line(error)}"
            ) from error
        self.done.add(record["id"])


def _mend(path: Path) -> None:
    """End the last line, or cut it off when it is not whole."""
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    if end == len(text):
        return
    with path.open("rb+") as file:
        try:
            json.loads(text[end:])
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        except ValueError:
            file.truncate(end)


def _frames(path: Path) -> list[tuple[str, str]]:
    """Id and file of each frame."""
    lines = path.read_bytes().split(b"\n")
    frames = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            frames.append((str(record["id"]), str(record.get("file", ""))))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # another process is writing it, or was killed there
                continue
            raise AvatarError(
                f"{path}, line {number}: expected a frame with an id, found: {one_line(error)}"
            ) from error
    return frames
