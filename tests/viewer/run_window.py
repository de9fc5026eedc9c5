"""Runs the real window on a fake avatar, for the tests that drive it from outside.

    python run_window.py SOURCE FOLDER

Screenshots go to FOLDER; when the window is closed, counts.json is written there.
"""

import json
import sys
from pathlib import Path

from avatar_viewer.viewer.window import ViewerWindow


def load(source, progress, notify):
    from fake_avatar import load_fake

    return load_fake(source, progress, notify)


def main(source: str, folder: Path) -> None:
    window = ViewerWindow(load, folder / "config", folder)
    window.open()
    window.app.load(source)
    window.loop(exit_after_s=120)
    counts = {"uploads": window.uploads, "submissions": window.app.submissions}
    window.close()
    (folder / "counts.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
