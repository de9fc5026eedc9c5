from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from stepwise_avatar import INFO, StepwiseAvatar

from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.live.movie import open_movie
from avatar_viewer.live.session import Session
from avatar_viewer.live.side_by_side import beside, render_side_by_side
from avatar_viewer.stages import Frame

SEQUENCE = ExpressionSequence(Header(25), np.array([[0], [1], [2]], np.float32))


def film(path: Path, count: int = 3) -> Path:
    with open_movie(path, 25, (32, 16)) as write:
        for index in range(count):
            write(np.full((16, 32, 3), 60 * index, np.uint8))
    return path


def test_the_video_stands_left_of_the_avatar(tmp_path: Path):
    avatar, out, said = StepwiseAvatar(), tmp_path / "both.mp4", []
    session = Session.of("demo", INFO)
    source = film(tmp_path / "in.mp4")
    line = render_side_by_side(
        source, SEQUENCE, avatar, session, out, progress=lambda *each: said.append(each)
    )
    side = INFO.resolution_px
    assert line == f"Saved {out} (3 pictures)" and said == [(1, 3), (2, 3), (3, 3)]
    pictures = list(VideoFile(out, 25).pictures())
    assert [rgb.shape for rgb in pictures] == [(side, 3 * side, 3)] * 3
    left = [float(rgb[:, :side].mean()) for rgb in pictures]
    assert left == pytest.approx([0, 60, 120], abs=5)
    shown = [request.expression.values[0] for request in avatar.rendered]
    assert shown == [0, 1, 2]


class SizedAvatar(StepwiseAvatar):
    """Its pictures are as large as asked for."""

    def render(self, request, cancelled):
        self.rendered.append(request)
        side_px = request.camera.height
        return Frame(request, np.zeros((side_px, side_px, 3), np.uint8), {})


def test_it_takes_a_height_and_turns_the_head(tmp_path: Path):
    avatar, out = SizedAvatar(), tmp_path / "both.mp4"
    poses = np.array([[0, 0, 0], [10, 0, 0], [20, 0, 0]], np.float32)
    turning = replace(SEQUENCE, head_pose_deg=poses)
    session = Session.of("demo", INFO)
    render_side_by_side(film(tmp_path / "in.mp4"), turning, avatar, session, out, 24)
    assert next(VideoFile(out, 25).pictures()).shape == (24, 72, 3)
    cameras = [request.camera.camera_from_world for request in avatar.rendered]
    assert len(set(cameras)) == 3


def test_it_ends_with_a_video_that_is_shorter(tmp_path: Path):
    out = tmp_path / "both.mp4"
    source = film(tmp_path / "in.mp4", count=2)
    line = render_side_by_side(source, SEQUENCE, StepwiseAvatar(), Session.of("demo", INFO), out)
    assert line == f"Saved {out} (2 pictures)"
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 2


def test_codes_of_another_avatar_are_refused(tmp_path: Path):
    other = replace(SEQUENCE, codes=np.zeros((3, 4), np.float32))
    with pytest.raises(AvatarError, match=r"expected expressions of 1 values for .*, found 4"):
        render_side_by_side(
            film(tmp_path / "in.mp4"),
            other,
            StepwiseAvatar(),
            Session.of("demo", INFO),
            tmp_path / "both.mp4",
        )


def test_a_picture_takes_a_height():
    assert beside(np.zeros((10, 30, 3), np.uint8), 20).shape == (20, 60, 3)
