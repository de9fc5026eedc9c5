from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stepwise_avatar import FAILING_SEED, INFO, VIEW, StepwiseAvatar

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.camera_path import CameraPath, Keyframe
from avatar_viewer.live.export import (
    Export,
    natural_duration_s,
    progress_text,
    run_export,
    work,
)
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.live.session import Session
from avatar_viewer.raster.camera import head_turned
from avatar_viewer.stages import ExpressionCode, Frame

TIMEOUT_S = 10
SESSION = replace(Session.of("demo", INFO), seed=7, steps=3, pad=(0.25, 0.5))
PATH = CameraPath(
    (Keyframe(0, VIEW, (0, 0)), Keyframe(2, replace(VIEW, elevation_deg=40), (1, 0.5))), "linear"
)
SEQUENCE = ExpressionSequence(Header(2), np.array([[0], [1]], np.float32))


def export_to(out, **changes) -> Export:
    export = Export(SESSION, out, size_px=(8, 8), fps=2, duration_s=2)
    return replace(export, **changes)


def pngs(folder) -> list[np.ndarray]:
    return [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]


class OpaqueAvatar(StepwiseAvatar):
    """Its pictures tell opacity: none in the lower half."""

    def render(self, request, cancelled):
        frame = super().render(request, cancelled)
        opacity = np.full((8, 8), 255, np.uint8)
        opacity[4:] = 0
        rgb = frame.rgb.copy()
        rgb[4:] = 255
        return Frame(request, rgb, opacity=opacity)


def test_pictures_are_those_of_the_window_at_rest(tmp_path):
    avatar, out = StepwiseAvatar(), tmp_path / "shots"
    said = []
    line = run_export(avatar, export_to(out), lambda *progress: said.append(progress[:2]))
    assert line == f"Saved {out} (4 pictures)"
    assert said == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert avatar.rendered == [SESSION.request(ExpressionSpace(), 8, 8)] * 4
    shown = avatar.render(SESSION.request(avatar.expressions, 8, 8), lambda: False).rgb
    assert len(pngs(out)) == 4 and all((rgb == shown).all() for rgb in pngs(out))


def test_the_head_turns_with_the_sequence_only_where_that_is_wanted():
    poses = np.array([[0, 0, 0], [30, 0, 0]], np.float32)
    turning = replace(SEQUENCE, head_pose_deg=poses)
    space, still = ExpressionSpace(), SESSION.view.camera(8, 8)
    for sequence, head_pose, cameras in (
        (turning, True, [still, head_turned(still, (30, 0, 0))]),
        (turning, False, [still, still]),
        (SEQUENCE, True, [still, still]),
    ):
        export = export_to("a.gif", sequence=sequence, head_pose=head_pose)
        assert [export.request(i, space).camera for i in range(2)] == cameras


def test_view_and_pad_follow_the_path(tmp_path):
    export = export_to(tmp_path / "a.gif", path=PATH)
    for index, time_s in enumerate((0, 0.5, 1, 1.5)):
        view, pad = PATH.at(time_s)
        expected = replace(SESSION, view=view, pad=pad).request(ExpressionSpace(), 8, 8)
        assert export.request(index, ExpressionSpace()) == expected
    assert export.request(2, ExpressionSpace()) != export.request(0, ExpressionSpace())


def test_expressions_follow_the_sequence_again_and_again_and_the_sliders():
    space = ExpressionSpace(directions=((10.0,),))
    export = export_to("a.gif", sequence=SEQUENCE, fps=4, path=PATH, duration_s=2)
    codes = [export.request(i, space).expression for i in range(8)]
    assert [code.values[0] for code in codes] == [0, 0.5, 1, 1, 0, 0.5, 1, 1]
    moved = replace(export, session=replace(SESSION, directions=(0.5,)))
    assert moved.request(1, space).expression == ExpressionCode((5.5,))
    assert export.request(4, space).camera == PATH.at(1)[0].camera(8, 8)


def test_the_background_is_the_sessions_or_none(tmp_path):
    coloured = replace(SESSION, background=(10, 20, 30))
    export = export_to(tmp_path / "shots", session=coloured)
    run_export(OpaqueAvatar(), export, lambda *_: None)
    for rgb in pngs(tmp_path / "shots"):
        assert (rgb[:4] == 7).all() and (rgb[4:] == (10, 20, 30)).all()
    export = replace(export, out=tmp_path / "clear", transparent=True)
    run_export(OpaqueAvatar(), export, lambda *_: None)
    for rgba in pngs(tmp_path / "clear"):
        assert (rgba[:4] == (7, 7, 7, 255)).all() and (rgba[4:, :, 3] == 0).all()


def test_what_cannot_be_is_said_before_any_picture(tmp_path):
    out = tmp_path / "shots"
    good = export_to(out)
    for changes, message in (
        ({"duration_s": 0}, "duration: expected more than 0 s, found 0"),
        ({"size_px": (0, 8)}, "size: expected 1 to 4096 pixels a side, found 0 x 8"),
        ({"fps": 0}, "fps: expected more than 0"),
        ({"out": tmp_path / "a.avi"}, "expected a name that ends in"),
        ({"out": tmp_path / "a.gif", "transparent": True}, "transparent: expected a name for PNGs"),
    ):
        with pytest.raises(AvatarError, match=message):
            work(replace(good, **changes))
    other = replace(SEQUENCE, codes=np.zeros((2, 3), np.float32))
    avatar = StepwiseAvatar()
    with pytest.raises(AvatarError, match="expressions of 1 values for stepwise, found 3"):
        run_export(avatar, export_to(out, sequence=other), lambda *_: None)
    assert avatar.rendered == [] and list(tmp_path.iterdir()) == []


def test_a_failing_picture_leaves_nothing(tmp_path):
    session = replace(SESSION, seed=FAILING_SEED)
    with pytest.raises(AvatarError, match="found 666"):
        run_export(StepwiseAvatar(), export_to(tmp_path / "a", session=session), lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def interrupted(*_) -> None:
    raise KeyboardInterrupt


def test_an_interruption_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_export(StepwiseAvatar(), export_to(tmp_path / "a.gif"), interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def live():
    thread = RenderThread(lambda source, progress, notify: StepwiseAvatar())
    thread.load("first")
    thread.wait(lambda state: state.info is not None, TIMEOUT_S)
    yield thread
    thread._avatar.stepping = False
    thread._avatar.allow_steps(1000)
    thread.stop()


def test_the_render_thread_does_it_or_gives_it_up(live, tmp_path):
    out = tmp_path / "a.gif"
    live.start_task("Movie", work(export_to(out)))
    state = live.wait(lambda state: state.notices > 0, TIMEOUT_S)
    assert state.notice == f"Saved {out} (4 pictures)" and state.task is None
    out.unlink()
    live._avatar.stepping = True
    live.start_task("Movie", work(export_to(tmp_path / "shots")))
    assert live._avatar.inside.wait(TIMEOUT_S)
    live.cancel_task()
    live._avatar.allow_steps(SESSION.steps)
    state = live.wait(lambda state: state.failures > 0, TIMEOUT_S)
    assert state.failure.message == "Movie: cancelled, nothing was written"
    assert state.task is None and list(tmp_path.iterdir()) == []


def test_lengths_and_progress_in_words():
    assert natural_duration_s(None, None) == 0
    assert natural_duration_s(PATH, None) == natural_duration_s(PATH, SEQUENCE) == 2
    assert natural_duration_s(None, SEQUENCE) == 1
    assert progress_text(0, 9, 0.1) == "0 of 9"
    assert progress_text(25, 100, 21.5) == "25 of 100, 1:05 left"
    assert progress_text(9, 9, 4) == "9 of 9, 0:00 left"
