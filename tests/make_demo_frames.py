"""Chooses a few of the demo avatar's training frames for `test_demo_avatar.py`: the four corners of
the pad, and some others.

    python tests/make_demo_frames.py DATA_FOLDER

Writes tests/demo_frames: each frame's true picture, and the request of its expression and view.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from PIL import Image

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER, to_plain
from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.head_frame import read_head_frame
from avatar_viewer.data.person import Person, fit_codes
from avatar_viewer.stages import RenderRequest

OUT = Path(__file__).parent / "demo_frames"
OTHERS = 4


def main(data: Path) -> None:
    avatar = Avatar.load(DEMO_FOLDER)
    nphm, identity = avatar.head.nphm, avatar.head.identity
    every = read_frames(data, "train")
    corners = [
        next(r for r in every if r.kind == f"corner: {corner.name}")
        for corner in avatar.info.corners
    ]
    records = corners + every[1 :: len(every) // OTHERS][:OTHERS]
    codes = fit_codes(nphm, identity, data, records)
    person = Person(records, codes, avatar.head, read_head_frame(data, nphm))
    size = avatar.info.resolution_px
    entries = []
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for record in records:
        camera = person.head_frame.camera(record.camera, size)
        request = RenderRequest(person.expression(record), camera, steps=avatar.info.steps)
        name = f"{record.id}.webp"
        Image.fromarray(record.rgb(size)).save(OUT / name, quality=90)
        entries.append({"file": name, "request": to_plain(request)})
    (OUT / "frames.json").write_text(json.dumps(entries))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
