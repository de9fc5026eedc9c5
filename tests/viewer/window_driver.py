"""The real window in its own process, driven by X events and read by pixels."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from close_button import press_close_button
from fake_avatar import INFO, draw
from PIL import Image, ImageGrab

import avatar_viewer
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.pad_panel import pixel_from_pad
from avatar_viewer.viewer.state import ViewerState
from avatar_viewer.viewer.window import MARGIN_PX, SIDE_PX, SIZE_PX, TITLE

TIMEOUT_S = 30
VIEW_PX = (SIZE_PX[0] - SIDE_PX - 3 * MARGIN_PX, SIZE_PX[1] - 2 * MARGIN_PX)
PICTURE_PX = min(VIEW_PX)
PICTURE_ORIGIN = (
    MARGIN_PX + (VIEW_PX[0] - PICTURE_PX) // 2,
    MARGIN_PX + (VIEW_PX[1] - PICTURE_PX) // 2,
)
SIDE_LEFT = SIZE_PX[0] - SIDE_PX
PAD_ORIGIN = (SIDE_LEFT, 2 * MARGIN_PX)


class WindowDriver:
    def __init__(self, source: str, folder: Path, command: list[str] | None = None) -> None:
        """`command` opens the window; by default, one with a fake avatar (`run_window.py`)."""
        self.folder = folder
        self.source = source
        self.state = ViewerState.of(source, INFO, ExpressionSpace())
        """What the window should show; a test changes it along with the window."""
        cwd = folder / "broken avatar"
        cwd.mkdir(exist_ok=True)
        root = str(Path(avatar_viewer.__file__).parents[1])
        run_window = str(Path(__file__).with_name("run_window.py"))
        self.process = subprocess.Popen(
            command or [sys.executable, run_window, source, str(folder)],
            env={
                **os.environ,
                **{"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
                "XDG_CONFIG_HOME": str(folder / "config"),
            },
            cwd=cwd,
        )
        pid = str(self.process.pid)
        search = ("search", "--sync", "--onlyvisible", "--all", "--pid", pid, "--name", TITLE)
        self.window = self.xdotool(*search).split()[0]
        self.xdotool("windowmove", self.window, "0", "0")
        self.xdotool("windowfocus", "--sync", self.window)

    def reset(self) -> None:
        """Bring the window and `state` back to where they began, but for layer and settings."""
        self.key("r", "c")
        self.state = ViewerState.of(self.source, INFO, ExpressionSpace())
        self.wait_for_picture()

    def xdotool(self, *args: str) -> str:
        command = ["xdotool", *args]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        ).stdout

    def move_mouse(self, x: float, y: float) -> None:
        self.xdotool("mousemove", "--window", self.window, str(round(x)), str(round(y)))

    def drag(self, start, end, button: int = 1) -> None:
        """In a few moves, as a hand would."""
        self.press(start, button)
        for part in (0.2, 0.5, 1):
            self.move_mouse(*(a + (b - a) * part for a, b in zip(start, end, strict=True)))
            time.sleep(0.05)
        self.xdotool("mouseup", str(button))

    def press(self, position, button: int = 1) -> None:
        self.move_mouse(*position)
        time.sleep(0.15)
        self.xdotool("mousedown", str(button))
        time.sleep(0.15)

    def click(self, x: float, y: float) -> None:
        self.press((x, y))
        self.xdotool("mouseup", "1")

    def key(self, *keys: str) -> None:
        """Press and release each, as long as a quick hand holds it: what comes and goes between two
        drawings is not always seen."""
        for key in keys:
            self.xdotool("keydown", key)
            time.sleep(0.06)
            self.xdotool("keyup", key)
            time.sleep(0.05)

    def type(self, text: str) -> None:
        self.xdotool("type", "--delay", "30", text)

    def close(self) -> dict:
        """Close the window; what it had counted."""
        press_close_button(int(self.window))
        assert self.process.wait(TIMEOUT_S) == 0
        return json.loads((self.folder / "counts.json").read_text())

    def __enter__(self) -> "WindowDriver":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def capture(self) -> np.ndarray:
        """The window's pixels, uint8 [H,W,3]."""
        assert self.process.poll() is None, "the window has ended"
        screen = ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB")
        return np.asarray(screen)[: SIZE_PX[1], : SIZE_PX[0]]

    def picture(self) -> np.ndarray:
        left, top = PICTURE_ORIGIN
        return self.capture()[top : top + PICTURE_PX, left : left + PICTURE_PX]

    def still_picture(self, captures: int = 12) -> np.ndarray:
        """The picture once so many captures in a row have been alike."""
        last = self.picture()
        still = 0

        def settled() -> bool:
            nonlocal last, still
            now = self.picture()
            still = still + 1 if np.array_equal(now, last) else 0
            last = now
            return still >= captures

        self.wait(settled, "a picture at rest")
        return last

    def wait(self, condition, what: str):
        """Until the condition holds; its value."""
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        path = self.folder / "failure.png"
        Image.fromarray(self.capture()).save(path)
        raise AssertionError(f"the window did not show {what}: see {path}")

    def wait_for_picture(self) -> None:
        """Until the window shows exactly what `state` says."""
        size = (PICTURE_PX, PICTURE_PX)
        expected = Image.fromarray(draw(self.state.request())).resize(size)

        def shown() -> bool:
            difference = np.abs(np.asarray(expected, int) - self.picture()).max(-1)
            # The window filters a little differently at the disc's edge.
            alike = (difference > 30).mean() < 0.01
            if not alike:
                self.key("Escape")  # a message may lie over it
            return alike

        self.wait(shown, f"{self.state.session}")

    def wait_for_message(self, is_error: bool = False) -> None:
        """Until there is one over the view's lower left corner, which is then put away."""
        colour = theme.current().error if is_error else theme.current().text
        corner = (slice(SIZE_PX[1] // 2, None), slice(SIDE_LEFT // 2))
        self.wait(lambda: close_to(self.capture()[corner], colour).sum() > 20, f"text in {colour}")
        self.key("Escape")

    def on_pad(self, x: float, y: float) -> tuple[float, float]:
        left, top = PAD_ORIGIN
        dx, dy = pixel_from_pad(x, y)
        return left + dx, top + dy

    def in_picture(self, x: float, y: float) -> tuple[float, float]:
        left, top = PICTURE_ORIGIN
        return left + x * PICTURE_PX, top + y * PICTURE_PX


def close_to(rgb: np.ndarray, colour) -> np.ndarray:
    """[H,W] bool: which pixels have that colour, nearly."""
    return np.abs(rgb.astype(int) - np.asarray(colour)).max(-1) <= 8
