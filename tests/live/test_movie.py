"""Movies are read back by PyAV and Pillow."""

import resource
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.movie import check_movie, open_movie

COLOURS = ((220, 40, 30), (30, 200, 60), (40, 60, 210), (240, 240, 240))
SIZE_PX = (48, 32)


def pictures(size_px=SIZE_PX) -> list[np.ndarray]:
    width, height = size_px
    return [np.full((height, width, 3), colour, np.uint8) for colour in COLOURS]


def write(path: Path, fps: float = 25, size_px=SIZE_PX) -> None:
    with open_movie(path, fps, size_px) as write_next:
        for rgb in pictures(size_px):
            write_next(rgb)


@pytest.mark.parametrize(
    ("name", "codec", "size_px"),
    [("a.mp4", "h264", (48, 32)), ("a.webm", "vp9", (48, 32)), ("b.MP4", "h264", (47, 31))],
)
def test_a_video_has_its_pictures_size_and_rate(tmp_path, name, codec, size_px):
    path = tmp_path / name
    write(path, 12.5, size_px)
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.average_rate == 12.5
        assert (stream.codec_context.name, stream.pix_fmt) == (codec, "yuv420p")
        assert (stream.codec_context.width, stream.codec_context.height) == (48, 32)
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(read) == len(COLOURS)
    for rgb, colour in zip(read, COLOURS, strict=True):
        assert np.abs(rgb.astype(int) - colour).max() <= 6
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "paces_ms"),  # a GIF's in hundredths of a second, 4/30 s in all
    [("a.gif", [30, 40, 30, 30]), ("a.webp", [33, 34, 33, 33])],
)
def test_an_animation_keeps_its_pace_and_repeats(tmp_path, name, paces_ms):
    path = tmp_path / name
    write(path, 30)
    with Image.open(path) as image:
        durations_ms = []
        for index, colour in enumerate(COLOURS):
            image.seek(index)
            rgb = np.asarray(image.convert("RGB"))
            durations_ms.append(image.info["duration"])
            assert np.abs(rgb.astype(int) - colour).max() <= 6
        assert image.n_frames == len(COLOURS) and image.info["loop"] == 0
    assert durations_ms == paces_ms


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("shots", [f"shots/000{i}.png" for i in range(4)]),
        ("new/face-%02d.png", [f"new/face-0{i}.png" for i in range(4)]),
        ("%d.png", [f"{i}.png" for i in range(4)]),
    ],
)
def test_pngs_are_exact(tmp_path, name, files):
    write(tmp_path / name)
    found = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert found == [tmp_path / file for file in files]
    for path, rgb in zip(found, pictures(), strict=True):
        assert (np.asarray(Image.open(path)) == rgb).all()


def test_pngs_may_be_transparent_and_others_not(tmp_path):
    rgba = np.arange(32 * 48 * 4, dtype=np.uint64).astype(np.uint8).reshape(32, 48, 4)
    with open_movie(tmp_path / "shots", 25, SIZE_PX) as write_next:
        write_next(rgba)
    assert (np.asarray(Image.open(tmp_path / "shots" / "0000.png")) == rgba).all()
    with pytest.raises(AvatarError, match="x 3, found uint8 48 x 32 x 4"):
        with open_movie(tmp_path / "a.mp4", 25, SIZE_PX) as write_next:
            write_next(rgba)
    with pytest.raises(AvatarError, match=r"transparent: expected a name for PNGs, found .*gif"):
        check_movie(tmp_path / "a.gif", 25, transparent=True)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.webp", "shots", "new/%04d.png"])
def test_nothing_is_left_after_an_error_and_the_old_movie_stays(tmp_path, name):
    path = tmp_path / name
    if path.suffix in (".mp4", ".webm", ".gif", ".webp"):
        path.write_bytes(b"old")
    before = sorted(tmp_path.rglob("*"))
    for error in (ZeroDivisionError, GeneratorExit, KeyboardInterrupt):
        with pytest.raises(error), open_movie(path, 25, SIZE_PX) as write_next:
            write_next(pictures()[0])
            raise error
    with pytest.raises(AvatarError, match="at least one picture"), open_movie(path, 25, SIZE_PX):
        pass
    with pytest.raises(AvatarError, match="expected pictures of uint8 48 x 32"):
        with open_movie(path, 25, SIZE_PX) as write_next:
            write_next(pictures((32, 48))[0])
    assert sorted(tmp_path.rglob("*")) == before
    assert not path.is_file() or path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("a.avi", 25, r"a\.avi: expected a name that ends in \.mp4 | \.webm | \.gif"),
        ("a.png", 25, r"a\.png: expected a name that ends in"),
        ("a%s-%04d.png", 25, "expected a name that ends in"),
        ("none/a.mp4", 25, "expected a writable path"),
        ("none/of/%04d.png", 25, "expected a writable path"),
        ("folder.mp4", 25, "expected a file, found a folder"),
        ("file", 25, "expected a folder for PNGs, found a file"),
        ("full/%04d.png", 25, r"expected no pictures there yet, found 0007\.png"),
        ("full", 25, r"expected no pictures there yet, found 0007\.png"),
        ("a.mp4", 0, "fps: expected more than 0 and at most 240, found 0"),
        ("a.mp4", float("nan"), "fps: expected more than 0"),
        ("a.gif", 60, "fps: expected more than 0 and at most 50, found 60"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_picture(tmp_path, name, fps, message):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "0007.png").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AvatarError, match=message) as caught:
        check_movie(tmp_path / name, fps)
    assert "\n" not in str(caught.value)
    with pytest.raises(AvatarError), open_movie(tmp_path / name, fps, SIZE_PX):
        pytest.fail("opened")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "shots"])
def test_a_full_disk_is_one_line(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # no file may grow beyond this
    try:
        with pytest.raises(AvatarError, match="found: File too large") as caught:
            with open_movie(tmp_path / name, 25, (128, 128)) as write_next:
                for rgb in noise:
                    write_next(rgb)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
