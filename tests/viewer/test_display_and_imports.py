import os
import subprocess
import sys
from pathlib import Path

import pytest

import avatar_viewer
from avatar_viewer.errors import AvatarError
from avatar_viewer.viewer.actions import all_actions, help_groups
from avatar_viewer.viewer.display import require_display

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X is Linux's")


@linux
@pytest.mark.parametrize("display", [None, "", ":987", "nonsense"])
def test_without_a_display_one_line_names_the_command_that_needs_none(monkeypatch, display):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(AvatarError, match="avatar-viewer render --out") as caught:
        require_display()
    assert "\n" not in str(caught.value)


@linux
def test_wayland_alone_is_not_enough(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(AvatarError, match="XWayland"):
        require_display()


@linux
def test_the_window_refuses_instead_of_aborting_the_process():
    code = "from avatar_viewer.viewer.window import run\nrun('demo')"
    environment = {**os.environ, "PYTHONPATH": str(Path(avatar_viewer.__file__).parents[1])}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "AvatarError: DISPLAY: expected" in done.stderr


def test_the_window_needs_no_heavy_import():
    code = (
        "import sys, avatar_viewer.viewer.window\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'numba')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(avatar_viewer.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


def test_every_key_has_one_action_and_a_line_of_help():
    keys = [action.shown_keys for action in all_actions() if action.keys]
    assert len(set(keys)) == len(keys)
    assert {key for lines in help_groups().values() for key, _ in lines} >= set(keys)
