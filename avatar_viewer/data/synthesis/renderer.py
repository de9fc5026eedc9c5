"""Blender in a process of its own, asked for one picture after another."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from avatar_viewer.data.synthesis.plan import PlannedFrame
from avatar_viewer.errors import AvatarError, one_line

PACKAGE = Path(__file__).parents[2]
# Only this package is put before that interpreter's own: a path to the folder it lies in could
# bring in another NumPy beside it.
START = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
folder = sys.argv[1]
spec = spec_from_file_location("avatar_viewer", folder + "/__init__.py")
sys.modules["avatar_viewer"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["avatar_viewer"])
from avatar_viewer.data.synthesis.blender import main
main()
"""
PROBE = "import bpy, scipy; print('blender', bpy.app.version_string)"
PROBE_LIMIT_S = 120


def environment() -> dict[str, str]:
    """For the process: it keeps to one core."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def blender_version(python: str) -> str:
    """Of the Blender that a Python interpreter has; raises AvatarError if it has none."""
    found = None
    try:
        asked = subprocess.run(
            [python, "-c", PROBE],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=PROBE_LIMIT_S,
        )
        answers = [line for line in asked.stdout.splitlines() if line.startswith("blender ")]
        if asked.returncode == 0 and answers:
            return answers[-1].removeprefix("blender ")
        silent = f"a program that does not answer (exit code {asked.returncode})"
        found = _last_line(asked.stderr) or silent
    except (OSError, subprocess.SubprocessError) as error:
        found = one_line(error)
    raise AvatarError(
        f"--blender-python {python}: expected a Python with bpy and scipy "
        f"(pip install bpy==4.5.15 scipy, in an environment of its own), found: {found}"
    )


class Renderer:
    """One such process; a context manager. It works on one core."""

    def __init__(self, python: str, person: dict[str, Any]) -> None:
        """person: what `blender` reads first."""
        self._folder = tempfile.TemporaryDirectory(prefix="avatar-viewer-")
        self._png = Path(self._folder.name) / "picture.png"
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, "-c", START, str(PACKAGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
        self._ask(person)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self._folder.cleanup()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def render(self, frame: PlannedFrame, size_px: int) -> Path:
        """The picture as Blender leaves it: a PNG that the next one replaces."""
        camera = frame.record(size_px)["camera"]
        self._ask(
            {
                "id": frame.id,
                "expression": frame.expression,
                "camera_from_world": camera["camera_from_world"],
                "fov_deg": camera["fov_deg"],
                "png": str(self._png),
            }
        )
        return self._png

    def _ask(self, question: dict[str, Any]) -> None:
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            answer = ""
        if not answer:
            self._process.wait()
            self._log.seek(0)
            found = _last_line(self._log.read()) or "its end, without a message"
            raise AvatarError(f"Blender: expected a picture, found: {found}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
