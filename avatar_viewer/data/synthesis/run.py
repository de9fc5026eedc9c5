"""`data synthesize`: draws planned frames into a data set, one Blender a core; a run goes on."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from avatar_viewer.data.makehuman import MakeHuman
from avatar_viewer.data.synthesis.frame_list import FrameList
from avatar_viewer.data.synthesis.person_file import SyntheticPerson, as_text, person_of
from avatar_viewer.data.synthesis.picture import write_frame
from avatar_viewer.data.synthesis.plan import SPLITS, PlannedFrame, Shard, planned_frames
from avatar_viewer.data.synthesis.renderer import Renderer, blender_version
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable, make_folder, written_aside

SIZES_PX = (16, 4096)


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What is to be drawn; raises AvatarError for what makes no sense."""

    out: Path
    frames: int
    """How many frames of the split the whole data set gets, over all shards."""
    split: str = "train"
    seed: int = 0
    shard: str = "1/1"
    """"I/N": every N-th frame, from the I-th on."""
    size: int = 512
    """Width and height, pixels."""
    samples: int = 8
    """A pixel."""
    workers: int | None = None
    """Processes; one a core when None."""
    person: Path | None = None
    """A person.json or its folder."""
    stranger: int | None = None
    """Seed of a random adult to draw."""
    blender_python: Path | None = None
    """An interpreter that has bpy; this one when None."""

    def __post_init__(self) -> None:
        if self.person is not None and self.stranger is not None:
            raise AvatarError("--stranger: expected none beside --person, found both")
        least_of = {"frames": 1, "samples": 1, "workers": 1, "seed": 0, "stranger": 0}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise AvatarError(f"--{name}: expected {least} or more, found {value}")
        if not SIZES_PX[0] <= self.size <= SIZES_PX[1]:
            raise AvatarError(f"--size: expected {SIZES_PX[0]} to {SIZES_PX[1]}, found {self.size}")
        if self.split not in SPLITS:
            raise AvatarError(f"--split: expected {', '.join(SPLITS)}, found '{self.split}'")
        Shard.parse(self.shard)


def synthesize(wanted: Synthesis) -> None:
    """Draw what is not there yet."""
    shard = Shard.parse(wanted.shard)
    makehuman = MakeHuman()
    person = person_of(wanted.out, wanted.person, makehuman, wanted.stranger)
    listed = FrameList(wanted.out, shard)
    _check_size(wanted, listed)
    planned = planned_frames(wanted.split, wanted.seed, wanted.frames, person.eye_centre_m, shard)
    missing = [frame for frame in planned if frame.id not in listed.done]
    if not missing:
        print("all frames are there")
        return
    python = str(wanted.blender_python or sys.executable)
    version = blender_version(python)
    make_folder(wanted.out / "frames")
    ensure_writable(listed.path)
    print(f"{len(missing)} frames to draw by Blender {version}", flush=True)
    if not (wanted.out / "person.json").is_file():
        with written_aside(wanted.out / "person.json") as aside:
            aside.write_text(as_text(person), encoding="utf-8")
    _Drawing(wanted, missing, listed, makehuman, person).run()


def _check_size(wanted: Synthesis, listed: FrameList) -> None:
    """Against the first picture that can be opened: training takes pictures of one size only."""
    for file in listed.files:
        try:
            with Image.open(wanted.out / file) as picture:
                there = picture.width
        except OSError:
            continue
        if there != wanted.size:
            raise AvatarError(
                f"--size: expected {there}, as the pictures in {wanted.out} have, "
                f"found {wanted.size}"
            )
        return


class _Drawing:
    """Frames that several processes share: each takes the next one when it is free."""

    def __init__(
        self,
        wanted: Synthesis,
        frames: list[PlannedFrame],
        listed: FrameList,
        makehuman: MakeHuman,
        person: SyntheticPerson,
    ) -> None:
        self._wanted, self._listed = wanted, listed
        self._total, self._done = len(frames), 0
        self._frames: Iterator[PlannedFrame] = iter(frames)
        self._first_question = {
            "data": str(makehuman.folder),
            "targets": person.targets,
            "look": person.look,
            "size": wanted.size,
            "samples": wanted.samples,
        }
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._renderers: list[Renderer] = []

    def run(self) -> None:
        workers = min(self._wanted.workers or cores(), self._total)
        with ThreadPoolExecutor(workers) as pool:
            working = [pool.submit(self._work) for _ in range(workers)]
            try:
                for worker in as_completed(working):
                    worker.result()
            finally:  # an error of one, or Ctrl-C, ends them all at once
                self._stopped.set()
                with self._lock:
                    for renderer in self._renderers:
                        renderer.stop()

    def _work(self) -> None:
        python = str(self._wanted.blender_python or sys.executable)
        with Renderer(python, self._first_question) as renderer:
            with self._lock:
                self._renderers.append(renderer)
            while not self._stopped.is_set():
                with self._lock:
                    frame = next(self._frames, None)
                if frame is None:
                    return
                started = time.perf_counter()
                record = frame.record(self._wanted.size)
                png = renderer.render(frame, self._wanted.size)
                write_frame(png, self._wanted.out / record["file"])
                with self._lock:
                    self._listed.add(record)
                    self._done += 1
                    seconds = time.perf_counter() - started
                    print(
                        f"{self._done}/{self._total} {frame.id} {frame.kind} {seconds:.1f} s",
                        flush=True,
                    )


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
