"""What a run of training tells: log.jsonl, TensorBoard, a progress bar."""

from __future__ import annotations

import json
import math
import socket
import time
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_viewer.files import make_folder, writing, written_aside


class RunLog:
    """log.jsonl, and the same for TensorBoard where it is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        """Drops what was logged after the checkpoint of `step`, as it is done again."""
        self.path = folder / "log.jsonl"
        with writing(self.path):
            lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            with written_aside(self.path) as aside:
                aside.write_bytes(b"".join(line + b"\n" for line in kept))
        try:
            self.board = Board(folder / "tensorboard", step)
        except ImportError:
            self.board = None

    def write(self, step: int, figures: dict[str, float]) -> None:
        line = {"step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()}
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in figures.items():
                self.board.figure(step, name, value)

    def picture(self, step: int, path: Path) -> None:
        if self.board is not None and path.is_file():
            self.board.picture(step, path)


def _step_of(line: bytes) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut off by a kill


class Board:
    """A TensorBoard file of one process; ImportError where TensorBoard is not installed.

    Its own writer writes from a thread, where a full disk ends in a traceback.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from torch.utils.tensorboard import RecordWriter, summary

        self.records, self.summary, self.events = RecordWriter, summary, event_pb2
        make_folder(folder)
        self.path = folder / f"events.out.tfevents.{time.time():.3f}.{socket.gethostname()}"
        self._write(0, file_version="brain.Event:2")
        # Hides what earlier files hold of later steps, which are done again.
        self._write(step + 1, session_log={"status": "START"})

    def figure(self, step: int, name: str, value: float) -> None:
        self._write(step, summary=self.summary.scalar(name, value))

    def picture(self, step: int, path: Path) -> None:
        rgb = np.asarray(Image.open(path))
        self._write(step, summary=self.summary.image("samples", rgb, dataformats="HWC"))

    def _write(self, step: int, **content: object) -> None:
        event = self.events.Event(wall_time=time.time(), step=step, **content)  # pyright: ignore
        with writing(self.path), self.path.open("ab") as file:
            self.records(file).write(event.SerializeToString())


def progress_bar(total: int, initial: int, *, shown: bool):
    """tqdm where the [train] extra is installed; the log file tells the same."""
    if not shown:
        return _Silent()
    try:
        from tqdm import tqdm
    except ImportError:
        return _Silent()
    return tqdm(total=total, initial=initial, mininterval=5, dynamic_ncols=True)


class _Silent:
    def update(self, n: int) -> None: ...
    def set_postfix_str(self, text: str) -> None: ...
    def close(self) -> None: ...
