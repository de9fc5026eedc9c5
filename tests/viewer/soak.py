"""Random use of the real window for a while: it must not crash, hang or grow.

    python tests/viewer/soak.py [--minutes 30] [--seed 0]        (under Xvfb: make soak)

The window runs in its own process on a fake avatar, and is clicked, dragged, typed at, resized and
given other avatars and broken files, by X events. It reports that it is alive, and its memory,
every second.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from window_driver import SIZE_PX, WindowDriver

from avatar_viewer.viewer.actions import all_actions
from avatar_viewer.viewer.window import MIN_SIZE_PX

HANG_S = 30.0
"""Without a sign of life for so long, the window hangs."""
SETTLED_PART = 0.2
"""Memory grows from the end of this part of the time."""
MOST_GROWTH_MB = 20.0
X_NAMES = {
    **{"Prior": "Prior", "Next": "Next", "Spacebar": "space", "Slash": "slash"},
    **{"Comma": "comma", "Period": "period"},
}


@dataclass(frozen=True)
class Report:
    """What came of it."""

    minutes: float
    inputs: int
    first_mb: float
    last_mb: float
    turns: int

    @property
    def growth_mb(self) -> float:
        return self.last_mb - self.first_mb


class Soak:
    """A person without a plan."""

    def __init__(self, window: WindowDriver, folder: Path, seed: int) -> None:
        self._window, self._random = window, random.Random(seed)
        self._files = _broken_files(folder)
        self.inputs = 0

    def act(self) -> None:
        """One random deed."""
        deeds: dict[Callable[[], None], int] = {
            self._drag: 8,
            self._click: 8,
            self._double_click: 2,
            self._wheel: 4,
            self._key: 8,
            self._type: 3,
            self._open: 2,
            self._resize: 2,
            self._wait: 1,
        }
        (deed,) = self._random.choices(list(deeds), list(deeds.values()))
        deed()
        self.inputs += 1

    def _place(self) -> tuple[int, int]:
        return self._random.randrange(SIZE_PX[0]), self._random.randrange(SIZE_PX[1])

    def _drag(self) -> None:
        button = str(self._random.choice((1, 1, 1, 2, 3)))
        self._window.move_mouse(*self._place())
        self._window.xdotool("mousedown", button)
        for _ in range(self._random.randrange(1, 8)):
            self._window.move_mouse(*self._place())
            time.sleep(0.03)
        self._window.xdotool("mouseup", button)

    def _click(self) -> None:
        self._window.move_mouse(*self._place())
        self._window.xdotool("click", str(self._random.choice((1, 1, 1, 3))))

    def _double_click(self) -> None:
        self._window.move_mouse(*self._place())
        self._window.xdotool("click", "--repeat", "2", "--delay", "80", "1")

    def _wheel(self) -> None:
        self._window.move_mouse(*self._place())
        times = str(self._random.randrange(1, 20))
        self._window.xdotool("click", "--repeat", times, "--delay", "20", self._random.choice("45"))

    def _key(self) -> None:
        keys = [_x_keys(action.keys) for action in all_actions() if action.keys]
        self._window.xdotool("key", self._random.choice([*keys, "Escape", "Return", "Tab"]))

    def _type(self) -> None:
        texts = ("-1", "1e999", "0", "99999999999999999999", "nan", "..", "é", "smile", "a.mp4")
        self._window.xdotool("type", "--delay", "5", self._random.choice(texts))
        self._window.xdotool("key", self._random.choice(("Return", "Escape", "Tab")))

    def _open(self) -> None:
        """Another avatar, or a file, by way of the source field."""
        from test_real_window import SOURCE_FIELD

        given = self._random.choice(("demo", "other", "slow", "broken", *map(str, self._files)))
        self._window.xdotool("key", "Escape")
        self._window.click(*SOURCE_FIELD)
        self._window.xdotool("key", "ctrl+a")
        self._window.xdotool("type", "--delay", "2", given)
        self._window.xdotool("key", "Return")

    def _resize(self) -> None:
        sizes = zip(MIN_SIZE_PX, SIZE_PX, strict=True)
        width, height = (self._random.randint(least, most) for least, most in sizes)
        if self._random.random() < 0.5:
            width, height = SIZE_PX
        self._window.xdotool("windowsize", self._window.window, str(width), str(height))

    def _wait(self) -> None:
        time.sleep(self._random.random() * 2)


def soak(minutes: float, seed: int, folder: Path) -> Report:
    """Use a window for so long; AssertionError where it ends or hangs."""
    alive = folder / "alive.json"
    command = [sys.executable, str(Path(__file__).with_name("run_window.py")), "demo", str(folder)]
    with WindowDriver("demo", folder, [*command, str(minutes * 60 + 120)]) as window:
        window.wait_for_picture()
        person = Soak(window, folder, seed)
        began, settled = time.monotonic(), None
        while (elapsed_s := time.monotonic() - began) < minutes * 60:
            try:
                person.act()
            except subprocess.CalledProcessError as error:
                assert window.process.poll() is None, f"the window ended: {error}"
            assert window.process.poll() is None, f"the window ended: {window.process.returncode}"
            silent_s = time.time() - alive.stat().st_mtime
            assert silent_s < HANG_S, f"no sign of life for {silent_s:.0f} s"
            if settled is None and elapsed_s > SETTLED_PART * minutes * 60:
                settled = json.loads(alive.read_text())
        last = json.loads(alive.read_text())
        assert settled is not None
        mb = (settled["resident_mb"], last["resident_mb"])
        return Report(minutes, person.inputs, *mb, last["turns"])


def _x_keys(keys: str) -> str:
    """An action's keys as xdotool writes them."""
    *modifiers, key = keys.split("+")
    return "+".join((*map(str.lower, modifiers), X_NAMES.get(key, key)))


def _broken_files(folder: Path) -> list[Path]:
    """Files that can be opened, cut or wrong."""
    contents = {
        "cut.png": b"\x89PNG\r\n\x1a\n\0\0",
        "list.yaml": b"- 1\n- 2\n",
        "fields.yaml": b"format_version: 1\navatar: [1]\n",
        "newer.yaml": b"format_version: 99\n",
        "deep.yaml": b"[" * 5000,
        "bytes.yaml": bytes(range(256)) * 100,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = soak(given.minutes, given.seed, Path(temporary))
    print(report, f"growth {report.growth_mb:+.1f} MB (bound {MOST_GROWTH_MB:g})")
    sys.exit(report.growth_mb > MOST_GROWTH_MB)
