"""Videos that are written here by PyAV, with pictures that tell their number by their colour."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avatar_viewer.data import video as module
from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError

BRIGHTNESS = 25
"""Of one picture more than of the one before."""


def write(path: Path, times_ms: list[int], *, turned_deg: int = 0, size_px=(64, 32)) -> Path:
    """Picture i is grey, i % 10 times BRIGHTNESS, with a white corner at the top left."""
    width, height = size_px
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 1000, {"crf": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turned_deg:
            stream.set_display_rotation(turned_deg)
        for index, time_ms in enumerate(times_ms):
            rgb = np.full((height, width, 3), index % 10 * BRIGHTNESS, np.uint8)
            rgb[: height // 4, : width // 4] = 255
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(video: VideoFile, first: int = 0) -> list[int]:
    return [round(int(rgb[-1, -1, 0]) / BRIGHTNESS) for rgb in video.pictures(first)]


def test_an_even_video_keeps_its_pictures(tmp_path: Path):
    video = VideoFile(write(tmp_path / "even.mp4", [0, 40, 80, 120, 160]), fps=25)
    assert numbers(video) == [0, 1, 2, 3, 4]
    assert numbers(video, first=3) == [3, 4]
    assert numbers(video, first=5) == []
    assert video.count in (4, 5)


def test_its_own_rate_is_taken(tmp_path: Path):
    video = VideoFile(write(tmp_path / "even.mp4", list(range(0, 800, 80))))
    assert video.fps == pytest.approx(12.5, rel=0.12)  # one long last picture more or less
    fast = VideoFile(write(tmp_path / "fast.mp4", list(range(0, 60, 5))))
    assert fast.fps == module.MOST_FPS


def test_uneven_times_become_even(tmp_path: Path):
    uneven = write(tmp_path / "uneven.mp4", [0, 30, 210, 240, 400])
    # At 0, 100, 200, 300 and 400 ms, each with what is shown half a period later at the most.
    assert numbers(VideoFile(uneven, fps=10)) == [1, 1, 3, 3, 4]


def test_a_slower_rate_leaves_pictures_out(tmp_path: Path):
    path = write(tmp_path / "even.mp4", list(range(0, 320, 40)))
    assert numbers(VideoFile(path, fps=12.5)) == [1, 3, 5, 7]


def corner(rgb: np.ndarray) -> tuple[bool, bool]:
    """Whether the white corner is at the bottom, and whether it is at the right."""
    row, column = np.argwhere(rgb[..., 0] > 200).mean(axis=0) / rgb.shape[:2]
    return bool(row > 0.5), bool(column > 0.5)


@pytest.mark.parametrize(
    ("turned_deg", "shape", "where"),
    [
        (0, (32, 64, 3), (False, False)),
        (90, (64, 32, 3), (True, False)),
        (180, (32, 64, 3), (True, True)),
        (-90, (64, 32, 3), (False, True)),
    ],
)
def test_phones_hold_videos_upright(tmp_path: Path, turned_deg, shape, where):
    """A turn is counter-clockwise: 90 degrees carry the top left corner to the bottom left."""
    path = write(tmp_path / "turned.mp4", [0, 40], turned_deg=turned_deg)
    rgb = next(VideoFile(path, fps=25).pictures())
    assert (rgb.shape, corner(rgb)) == (shape, where)


def test_large_pictures_are_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_SIDE_PX", 16)
    rgb = next(VideoFile(write(tmp_path / "large.mp4", [0])).pictures())
    assert rgb.shape == (8, 16, 3)


def test_one_picture_is_a_video(tmp_path: Path):
    assert numbers(VideoFile(write(tmp_path / "one.mp4", [0]), fps=25))[0] == 0


def test_other_files_are_refused_in_one_line(tmp_path: Path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for path in (text, tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(AvatarError, match=r"^\S+: expected a video, found: \S.*$"):
            VideoFile(path)
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", 8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(AvatarError, match=r"^\S+: expected a video, found no pictures in it$"):
        VideoFile(sound)
    with pytest.raises(AvatarError, match="fps: expected more than 0 and at most 60, found 0"):
        VideoFile(sound, fps=0)
