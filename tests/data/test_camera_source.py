"""Cameras that are made up here, and videos in a camera's place."""

import errno
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from test_video import BRIGHTNESS, write

from avatar_viewer.data import camera_source as module
from avatar_viewer.data.camera_source import CameraSource, Device, VideoEnded, devices
from avatar_viewer.errors import AvatarError


class FakeContainer:
    """Gives grey pictures 1 to `count`, then waits for `goes_on`, then ends by `error`."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.given, self.goes_on, self.closed = threading.Event(), threading.Event(), False
        self.streams = SimpleNamespace(video=[SimpleNamespace(thread_type="AUTO")])

    def decode(self, stream):
        assert stream.thread_type == "SLICE"
        for number in range(1, self.count + 1):
            rgb = np.full((4, 6, 3), number, np.uint8)
            yield av.VideoFrame.from_ndarray(rgb, format="rgb24")
        self.given.set()
        self.goes_on.wait(20)
        if self.error is not None:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True


def opened(monkeypatch, container: FakeContainer) -> CameraSource:
    monkeypatch.setattr(module, "_open_device", lambda name: container)
    return CameraSource("fake")


def test_the_newest_picture_waits_and_older_ones_are_dropped(monkeypatch):
    source = opened(monkeypatch, container := FakeContainer(5))
    assert container.given.wait(20)
    picture = source.newest()
    assert (picture.number, picture.rgb.shape, int(picture.rgb.max())) == (5, (4, 6, 3), 5)
    container.goes_on.set()
    source.close()
    assert container.closed


@pytest.mark.parametrize("error", [None, OSError(errno.ENODEV, "No such device")])
def test_an_unplugged_camera_is_told(monkeypatch, error):
    source = opened(monkeypatch, container := FakeContainer(1, error))
    assert source.newest().number == 1
    container.goes_on.set()
    with pytest.raises(AvatarError, match=r"^fake: expected pictures .*it was unplugged") as found:
        source.newest(after=1)
    assert not isinstance(found.value, VideoEnded) and container.closed
    source.close()


def test_a_silent_camera_is_told(monkeypatch):
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    source = opened(monkeypatch, container := FakeContainer(0))
    with pytest.raises(AvatarError, match=r"^fake: expected pictures .* found none for 0.05 s$"):
        source.newest()
    container.goes_on.set()
    source.close()


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (errno.ENOENT, r"found no such device; there is /dev/video7$"),
        (errno.EBUSY, r"found it in use by another program$"),
        (errno.EACCES, r"found no permission to use it; add yourself to the group video$"),
        (errno.EIO, r"found none that opens \(Input/output error\)$"),
    ],
)
def test_a_camera_that_does_not_open_is_explained(monkeypatch, number, found):
    def fail(url, **_):
        raise OSError(number, "Input/output error")

    monkeypatch.setattr(av, "open", fail)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "_linux_devices", lambda: [Device("/dev/video7", "a camera")])
    with pytest.raises(AvatarError, match=rf"^9: expected a camera or a video file, {found}"):
        CameraSource("9")


def test_no_name_is_no_camera():
    with pytest.raises(AvatarError, match=r"^webcam: expected a device or a video file"):
        CameraSource(" ")


def test_a_camera_without_the_wanted_mode_gives_its_own(monkeypatch):
    asked = []

    def open_(url, format, options):
        asked.append((url, format, options))
        if options:
            raise OSError(errno.EIO, "no such mode")
        return FakeContainer(1)

    monkeypatch.setattr(av, "open", open_)
    monkeypatch.setattr(sys, "platform", "linux")
    assert module._open_device("2").count == 1
    assert asked == [("/dev/video2", "v4l2", module.WANTED), ("/dev/video2", "v4l2", {})]


def test_cameras_go_by_number_on_other_systems(monkeypatch):
    monkeypatch.setattr(module, "devices", lambda: [Device("one", "One"), Device("two", "Two")])
    monkeypatch.setattr(sys, "platform", "win32")
    assert [module._url(name) for name in ("1", "two")] == ["video=two", "video=two"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert [module._url(name) for name in ("0", "5")] == ["one", "5"]


def test_the_kernel_lists_cameras(monkeypatch, tmp_path: Path):
    for name, label, index in (("video10", "B", 0), ("video2", "A", 0), ("video3", "A", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{label}\n")
        (tmp_path / name / "index").write_text(f"{index}\n")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "LINUX_DEVICES", tmp_path)
    assert devices() == [Device("/dev/video2", "A"), Device("/dev/video10", "B")]
    monkeypatch.setattr(module, "LINUX_DEVICES", tmp_path / "none")
    assert devices() == []


def test_a_video_is_played_in_real_time(tmp_path: Path):
    source = CameraSource(str(write(tmp_path / "even.mp4", list(range(0, 400, 40)))))
    seen = [source.newest()]
    with pytest.raises(VideoEnded, match=r"even.mp4: the video has ended$"):
        while True:
            seen.append(source.newest(seen[-1].number))
    source.close()
    for picture in seen:  # its own rate on average is a little more
        behind = picture.number - 1 - round(int(picture.rgb[-1, -1, 0]) / BRIGHTNESS)
        assert 0 <= behind <= 1
    steps = np.diff([picture.taken_s for picture in seen])
    numbers = np.diff([picture.number for picture in seen])
    assert steps == pytest.approx(numbers * steps[0] / numbers[0])


def test_a_video_can_be_left(tmp_path: Path):
    source = CameraSource(str(write(tmp_path / "long.mp4", list(range(0, 40_000, 4000)))))
    assert source.newest().number == 1
    source.close()
    assert not source._thread.is_alive()


def test_other_files_are_no_cameras(tmp_path: Path):
    (text := tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(AvatarError, match=r"text.mp4: expected a video, found: "):
        CameraSource(str(text))
