"""How fast the whole is in its window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from avatar_viewer.config import RuntimeName
from avatar_viewer.errors import AvatarError
from avatar_viewer.live.bench.frames import percentile

WINDOW_DRAG_S = 8.0


def window_figures(source: str, runtime: RuntimeName) -> dict[str, Any] | None:
    """What `viewer.measured_drag` finds in a window of its own; None where none can open."""
    if not os.environ.get("DISPLAY"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        words = (source, str(WINDOW_DRAG_S), str(path), str(time.time()), runtime)
        done = subprocess.run(
            [sys.executable, "-m", "avatar_viewer.viewer.measured_drag", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise AvatarError(f"bench: the window failed: {' '.join(last)}")
        figures = json.loads(path.read_text())
    shown_ms = figures.pop("shown_ms")
    return {
        **figures,
        "shown_p50_ms": percentile(shown_ms, 50),
        "shown_p95_ms": percentile(shown_ms, 95),
        "rest_core_percent": 100 * figures["rest_core_share"],
    }
