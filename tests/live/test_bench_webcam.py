"""The figures of a face that drives an avatar."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from face_model import need_face_model
from PIL import Image
from stepwise_avatar import REQUEST, StepwiseAvatar

from avatar_viewer.cli import main
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.live_face import LiveExpression
from avatar_viewer.expression.live_tracker import LiveTrack
from avatar_viewer.live.bench.webcam import LIMITS, LINES, Seen, figures_of
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.movie import open_movie
from avatar_viewer.stages import ExpressionCode

FRAMES = Path(__file__).parents[1] / "demo_frames"


def test_figures_are_those_of_what_was_seen():
    seen, avatar = Seen(), StepwiseAvatar()

    def picture(code: ExpressionCode, finished_s: float) -> LiveState:
        frame = avatar.render(replace(REQUEST, expression=code), lambda: False)
        return LiveState(frame=frame, finished_s=finished_s)

    for index in range(21):
        code = ExpressionCode((index / 20,))
        taken_s, wait_s = index / 20, 0.05 if index == 20 else 0.03
        live = LiveExpression(code, (0.0, 0.0, 0.0))
        seen.add_track(LiveTrack(live=live, taken_s=taken_s, finished_s=taken_s + wait_s))
        if index % 4 == 0:
            seen.add_picture(picture(code, taken_s + 0.2))
    seen.add_picture(picture(ExpressionCode((7.0,)), 9.0))  # of no expression that was tracked
    figures = figures_of(seen)
    assert figures["codes_fps"] == pytest.approx(20, rel=0.03)
    assert figures["code_p50_ms"] == pytest.approx(30)
    assert figures["pictures_fps"] == pytest.approx(5)
    assert figures["picture_p95_ms"] == pytest.approx(200)
    assert {line.figure for line in LINES} == {"camera_fps", *figures}
    assert LIMITS.keys() < figures.keys()
    with pytest.raises(AvatarError, match=r"^bench: expected a video with a face of more than"):
        figures_of(Seen())


def test_no_other_measurement_goes_with_it(capsys):
    assert main(["bench", "--webcam", "face.mp4", "--against"]) == 2
    assert "--webcam: expected no --against beside it" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_avatar_is_driven_by_a_video(tmp_path: Path, capsys):
    need_face_model()
    rgb = np.asarray(Image.open(FRAMES / "train_a_00000.webp").convert("RGB"))
    video = tmp_path / "face.mp4"
    with open_movie(video, 10, (512, 512)) as write:
        for shift in range(60):
            write(np.roll(rgb, shift, axis=1))
    written = tmp_path / "figures.json"
    words = ["bench", "--webcam", str(video), "--runtime", "eager", "--json", str(written)]
    assert main(words) == 0
    figures = json.loads(written.read_text())
    assert figures["codes_fps"] > 1 and figures["picture_p50_ms"] >= figures["code_p50_ms"] > 0
    assert "camera picture to expression, p95, ms" in capsys.readouterr().out
