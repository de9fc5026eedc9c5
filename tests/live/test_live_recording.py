from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stepwise_avatar import INFO, REQUEST

from avatar_viewer.errors import AvatarError
from avatar_viewer.live import live_recording
from avatar_viewer.live.live_recording import LiveRecording
from avatar_viewer.live.session import Session
from avatar_viewer.stages import Frame

SESSION = Session.of("demo", INFO)


def frame(level: int) -> Frame:
    return Frame(REQUEST, np.full((8, 8, 3), level, np.uint8))


def levels(folder) -> list[int]:
    return [int(np.asarray(Image.open(file))[0, 0, 0]) for file in sorted(folder.iterdir())]


def test_pictures_last_as_long_as_they_were_shown(tmp_path):
    recording = LiveRecording(tmp_path / "shots", 10, (8, 8), start_s=100)
    for now_s, level in ((100, 1), (100.02, 2), (100.31, 3), (100.35, 3), (100.62, 4)):
        recording.show(frame(level), SESSION, now_s)
    recording.finish(100.91)
    recording.finish(200)
    recording.show(frame(9), SESSION, 300)
    recording.join()
    assert recording.ended and recording.error == ""
    assert levels(tmp_path / "shots") == [2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert recording.count == 9


def test_a_moment_is_one_picture(tmp_path):
    recording = LiveRecording(tmp_path / "shots", 10, (8, 8), start_s=0)
    recording.show(frame(5), SESSION, 0)
    recording.finish(0.01)
    recording.join()
    assert levels(tmp_path / "shots") == [5]


def test_the_background_is_there_and_other_sizes_are_resized(tmp_path):
    recording = LiveRecording(tmp_path / "shots", 10, (6, 4), start_s=0)
    clear = Frame(REQUEST, np.full((8, 8, 3), 255, np.uint8), opacity=np.zeros((8, 8), np.uint8))
    recording.show(clear, replace(SESSION, background=(10, 20, 30)), 0)
    recording.finish(0.1)
    recording.join()
    (file,) = (tmp_path / "shots").iterdir()
    pixels = np.asarray(Image.open(file))
    assert pixels.shape == (4, 6, 3) and (pixels == (10, 20, 30)).all()


def test_a_slow_disk_stalls_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(live_recording, "MOST_WAITING", 0)
    recording = LiveRecording(tmp_path / "shots", 10, (8, 8), start_s=0)
    recording.show(frame(1), SESSION, 0)
    recording.show(frame(2), SESSION, 1)
    recording.show(frame(3), SESSION, 2)
    assert recording.count == 0
    recording.finish(3)
    recording.join()
    assert levels(tmp_path / "shots") == [3] * 30  # as long as it took, whatever was left out


def test_errors_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(AvatarError, match="expected a name that ends in"):
        LiveRecording(tmp_path / "a.avi", 10, (8, 8), start_s=0)
    for error, message in (
        (AvatarError("disk: expected room,\nfound none"), "disk: expected room, found none"),
        (ZeroDivisionError("oops"), f"{tmp_path / 'shots'}: ZeroDivisionError: oops"),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(live_recording, "composited", fail)
        recording = LiveRecording(tmp_path / "shots", 10, (8, 8), start_s=0)
        recording.show(frame(1), SESSION, 0)
        recording.finish(1)
        recording.join()
        assert recording.error == message
        assert list(tmp_path.iterdir()) == []
