"""The video of a data set's footage."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.synthesis.plan import FOOTAGE, FOOTAGE_FILE, FOOTAGE_FPS
from avatar_viewer.live.movie import open_movie


def write_footage(data: Path) -> str:
    """Write the frames of that split, over white, to the folder's movie; the closing line."""
    records = read_frames(data, FOOTAGE)
    with Image.open(records[0].path) as picture:
        size_px = picture.width
    out = data / FOOTAGE_FILE
    with open_movie(out, FOOTAGE_FPS, (size_px, size_px)) as write:
        for record in records:
            write(record.rgb(size_px))
    return f"Saved {out} ({len(records)} pictures)"
