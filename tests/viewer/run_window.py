"""Runs the real window on a fake avatar, for the tests that drive it from outside.

    python run_window.py SOURCE FOLDER [SECONDS]

Screenshots go to FOLDER. Every second alive.json is written there, and counts.json when the window
is closed; it closes itself after so many seconds.
"""

import json
import os
import sys
import time
from pathlib import Path

from avatar_viewer.memory import resident_mb
from avatar_viewer.viewer.window import ViewerWindow


def load(source, progress, notify):
    from fake_avatar import load_fake

    return load_fake(source, progress, notify)


class Heart:
    """Says that the window is alive."""

    def __init__(self, path: Path) -> None:
        self._path, self._beat_s, self._turns = path, 0.0, 0

    def beat(self) -> None:
        self._turns += 1
        if time.monotonic() - self._beat_s > 1:
            self._beat_s = time.monotonic()
            resident, _ = resident_mb(os.getpid())
            aside = self._path.with_suffix(".aside")
            aside.write_text(json.dumps({"turns": self._turns, "resident_mb": resident}))
            aside.replace(self._path)


def main(source: str, folder: Path, seconds: float) -> None:
    window = ViewerWindow(load, folder / "config", folder)
    window.open()
    window.app.load(source)
    heart, end_s = Heart(folder / "alive.json"), time.monotonic() + seconds
    while window.is_open and time.monotonic() < end_s:
        window.turn()
        heart.beat()
    counts = {"uploads": window.uploads, "submissions": window.app.submissions}
    window.close()
    (folder / "counts.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 120)
