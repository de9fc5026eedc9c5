"""Pictures, one after another, to a movie or a folder of PNGs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import ensure_writable, written_aside

FORMATS = ".mp4 | .webm | .gif | .webp | -%04d.png | no suffix for a folder of PNGs"
MAX_FPS = 240
ANIMATIONS = (".gif", ".webp")
MAX_ANIMATION_FPS = 50
"""Many programs show faster ones slowly."""
WEBP_QUALITY = 80

Size = tuple[int, int]
"""Width and height, pixels."""
Write: TypeAlias = Callable[[np.ndarray], None]
"""Takes the next picture: uint8 [H,W,3], or [H,W,4] where it goes to PNGs."""


class Codec(NamedTuple):
    """How a kind of movie is written."""

    container: str
    name: str
    options: dict[str, str]


CODECS = {
    ".mp4": Codec("mp4", "libx264", {"crf": "16", "preset": "medium"}),
    ".webm": Codec("webm", "libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}),
}


def check_movie(path: Path, fps: float, transparent: bool = False) -> None:
    """Raise AvatarError now for what `open_movie` could not write, before long work."""
    suffix = path.suffix.lower()
    most = MAX_ANIMATION_FPS if suffix in ANIMATIONS else MAX_FPS
    if not 0 < fps <= most:
        raise AvatarError(f"fps: expected more than 0 and at most {most}, found {fps:g}")
    if suffix in CODECS or suffix in ANIMATIONS:
        if transparent:
            raise AvatarError(f"transparent: expected a name for PNGs, found {path}")
        ensure_writable(path)
        return
    folder, pattern = _folder_and_pattern(path)
    if folder.is_file():
        raise AvatarError(f"{path}: expected a folder for PNGs, found a file")
    ensure_writable(folder / (pattern % 0) if folder.is_dir() else folder)
    taken = re.compile(re.sub(r"%0?\d*d", r"\\d+", re.escape(pattern)))
    for file in folder.iterdir() if folder.is_dir() else ():
        if taken.fullmatch(file.name):
            raise AvatarError(f"{path}: expected no pictures there yet, found {file.name}")


@contextmanager
def open_movie(path: Path, fps: float, size_px: Size) -> Iterator[Write]:
    """Gives what writes picture after picture; the movie is there once the block has succeeded.

    The kind goes by the name: `.mp4` is H.264, `.webm` VP9, both with even sides (a last row or
    column is doubled); `.gif` and `.webp` repeat without end; `name-%04d.png`, or a folder without
    a suffix, is a PNG for each picture.
    After an error in the block nothing is left. Raises AvatarError in one line.
    """
    check_movie(path, fps)
    suffix, count = path.suffix.lower(), 0
    kinds = dict.fromkeys(ANIMATIONS, _open_animation) | dict.fromkeys(CODECS, _open_video)
    open_kind = kinds.get(suffix, _open_pngs)
    channels = (3, 4) if open_kind is _open_pngs else (3,)
    opened: AbstractContextManager[Write] = open_kind(path, fps, size_px)
    with opened as write_next:

        def write(pixels: np.ndarray) -> None:
            nonlocal count
            height, width, depth = pixels.shape
            if (width, height) != size_px or depth not in channels or pixels.dtype != np.uint8:
                found = f"{pixels.dtype} {width} x {height} x {depth}"
                expected = f"uint8 {size_px[0]} x {size_px[1]} x {channels[-1]}"
                raise AvatarError(f"{path}: expected pictures of {expected}, found {found}")
            write_next(pixels)
            count += 1

        yield write
        if count == 0:
            raise AvatarError(f"{path}: expected at least one picture, found none")


@contextmanager
def _open_video(path: Path, fps: float, size_px: Size) -> Iterator[Write]:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    codec, (width, height) = CODECS[path.suffix.lower()], size_px
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    with written_aside(path) as aside:
        try:
            with av.open(str(aside), "w", format=codec.container) as container:
                stream = container.add_stream(
                    codec.name, Fraction(fps).limit_denominator(1001), dict(codec.options)
                )
                assert isinstance(stream, av.VideoStream)
                stream.width, stream.height = width + width % 2, height + height % 2
                stream.pix_fmt = "yuv420p"
                # BT.709 throughout, and said so: otherwise players guess by the size.
                context = stream.codec_context
                context.colorspace = context.color_primaries = context.color_trc = 1
                context.color_range = ColorRange.MPEG

                def write(rgb: np.ndarray) -> None:
                    frame = av.VideoFrame.from_ndarray(np.pad(rgb, odd, "edge"), format="rgb24")
                    frame = frame.reformat(
                        format="yuv420p",
                        dst_colorspace=Colorspace.ITU709,
                        dst_color_range=ColorRange.MPEG,
                    )
                    container.mux(stream.encode(frame))

                yield write
                container.mux(stream.encode(None))
        except av.FFmpegError as error:
            found = error.strerror or one_line(error)
            raise AvatarError(f"{path}: expected a movie to be written, found: {found}") from error


@contextmanager
def _open_animation(path: Path, fps: float, size_px: Size) -> Iterator[Write]:
    pictures: list[Image.Image] = []
    gif = path.suffix.lower() == ".gif"

    def write(rgb: np.ndarray) -> None:
        picture = Image.fromarray(rgb)
        pictures.append(picture.quantize() if gif else picture)

    yield write
    if not pictures:
        return
    # A GIF counts in hundredths of a second: what is lost on one picture the next one gets.
    tick_ms = 10 if gif else 1
    ends = [round(1000 / tick_ms * i / fps) for i in range(len(pictures) + 1)]
    durations_ms = [tick_ms * (end - start) for start, end in pairwise(ends)]
    first, *others = pictures
    with written_aside(path) as aside:
        first.save(
            aside,
            format="GIF" if gif else "WEBP",
            save_all=True,
            append_images=others,
            duration=durations_ms,
            loop=0,
            **({} if gif else {"quality": WEBP_QUALITY}),
        )


@contextmanager
def _open_pngs(path: Path, fps: float, size_px: Size) -> Iterator[Write]:
    folder, pattern = _folder_and_pattern(path)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    count = 0

    def write(pixels: np.ndarray) -> None:
        nonlocal count
        Image.fromarray(pixels).save(aside / (pattern % count), compress_level=4)
        count += 1

    try:
        aside.mkdir()
        yield write
        if count > 0:
            folder.mkdir(exist_ok=True)
        for file in sorted(aside.iterdir()):
            os.replace(file, folder / file.name)
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{path}: expected a writable path, found: {found}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _folder_and_pattern(path: Path) -> tuple[Path, str]:
    """Where PNGs go, and their names as a pattern of their number."""
    if path.suffix == "":
        return path.resolve(), "%04d.png"
    places = re.findall(r"%0?\d*d", path.name)
    if path.suffix.lower() != ".png" or path.name.count("%") != 1 or len(places) != 1:
        raise AvatarError(f"{path}: expected a name that ends in {FORMATS}, found another")
    return path.parent.resolve(), path.name
