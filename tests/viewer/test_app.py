"""What the window can be told to do, its messages and its history, without widgets."""

from dataclasses import replace

import pytest
from conftest import FakeRenderer
from fake_avatar import INFO, FakeAvatar

from avatar_viewer.config import DEMO_FOLDER, EMBEDDED
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.screenshot import read_screenshot
from avatar_viewer.live.session import Comparison, Session, read_session, write_session
from avatar_viewer.stages import RenderFailure
from avatar_viewer.viewer.app import REST_S, ViewerApp
from avatar_viewer.viewer.history import MOST_STEPS, History
from avatar_viewer.viewer.messages import MOST_MESSAGES, Messages
from avatar_viewer.viewer.preferences import LAST_SESSION_FILE, MOST_RECENT, read_preferences


class Renderer(FakeRenderer):
    """Notes everything that it is asked for."""

    def __init__(self):
        super().__init__()
        self.submitted, self.thumbnails, self.compared, self.tasks = [], [], [], []

    def submit(self, request, dragging, made_for, quick, other):
        self.submitted.append((request, dragging))

    def submit_thumbnails(self, requests):
        self.thumbnails.append(requests)

    def compare_with(self, source):
        self.compared.append(source)

    def start_task(self, label, work):
        if self.tasks:
            raise AvatarError(f"{label}: expected no other task, found {self.tasks[0]}")
        self.tasks.append(label)


@pytest.fixture
def app(tmp_path):
    return ViewerApp(Renderer(), tmp_path / "config")


def show(app, **fields):
    """The render thread has something new."""
    app.renderer.live = replace(app.renderer.live, **fields)
    app.take_in()


def loaded(app, source="demo", info=INFO):
    show(app, source=source, info=replace(info), expressions=ExpressionSpace(), frame=None)
    return app.state


def texts(app):
    return [message.text for message in app.messages.lines]


def test_a_loaded_avatar_is_adopted_and_remembered(app):
    assert app.note == "Loading" and not app.ask(0, False)
    for source in ("a", "b", "a"):
        loaded(app, source)
        assert app.state.session == Session.of(source, INFO)
    assert texts(app)[-1] == "fake, CC0"
    assert app.preferences.recent == ("a", "b")
    assert read_preferences(app.config_folder, print) == app.preferences
    for i in range(MOST_RECENT + 3):
        loaded(app, str(i))
    assert len(app.preferences.recent) == MOST_RECENT
    assert app.note == "Rendering the first picture"


def test_a_change_asks_for_a_quick_picture_and_rest_for_the_full_one(app):
    state = loaded(app)
    assert app.ask(10, False)
    assert app.ask(10.01, False) is False
    state.move_pad(0.1, 0.2)
    app.ask(10.05, False)
    app.ask(10.05 + 2 * REST_S, False)
    app.ask(12, False)
    request = state.request()
    assert [dragging for _, dragging in app.renderer.submitted] == [True, True, False]
    assert app.renderer.submitted[1:] == [(request, True), (request, False)]
    assert app.submissions == 3


def test_the_end_of_a_drag_asks_for_the_full_picture_at_once(app):
    state = loaded(app)
    app.ask(10, False)
    state.move_pad(0.1, 0.2)
    app.ask(10.05, True)
    assert app.renderer.submitted[-1] == (state.request(), False)


def test_corners_are_asked_for_once_per_view_after_the_full_picture(app):
    state = loaded(app)
    app.ask(10, False)
    assert app.renderer.thumbnails == []
    show(app, frame=FakeAvatar().render(state.request()), frames=1)
    app.ask(11, False)
    app.ask(12, False)
    assert app.renderer.thumbnails == [state.corner_requests()]
    state.orbit(0.1, 0)
    app.ask(13, True)
    assert len(app.renderer.thumbnails) == 2


def test_undo_goes_back_over_a_whole_drag(app):
    state = loaded(app)
    app.ask(10, False)
    app.ask(11, False)
    for i, x in enumerate((0.6, 0.7, 0.8)):
        state.move_pad(x, 0.5)
        app.ask(11 + i / 100, False)
    app.ask(12, False)
    app.undo()
    assert state.session.pad == (0.5, 0.5)
    app.redo()
    assert state.session.pad == (0.8, 0.5)


def test_what_is_refused_is_said_and_changes_nothing(app):
    app.change(steps=3)  # without an avatar nothing happens
    state = loaded(app)
    before = state.session
    app.change(steps=0)
    assert state.session is before
    assert app.messages.lines[-1].is_error and texts(app)[-1].startswith("steps: expected")
    app.prefer(ui_scale=99)
    assert app.preferences.ui_scale == 1 and texts(app)[-1].startswith("ui_scale: expected")


def test_failures_and_notices_are_said_once(app):
    loaded(app)
    show(app, notice="no fast runtime", notices=1)
    show(app, failure=RenderFailure(None, "it broke", "Traceback"), failures=1)
    show(app)
    assert texts(app)[-2:] == ["no fast runtime", "it broke"]
    assert [message.is_error for message in app.messages.lines[-2:]] == [False, True]


def test_a_session_of_the_same_avatar_comes_at_once_and_of_another_with_it(app, tmp_path):
    state = loaded(app, "demo")
    session = replace(state.session, pad=(0.1, 0.2), seed=3)
    path = tmp_path / "a.yaml"
    write_session(session, path)
    app.open(path)
    assert state.session == session and app.renderer.loaded == []
    write_session(replace(session, avatar="other"), path)
    app.open(path)
    assert app.renderer.loaded == ["other"]
    loaded(app, "other")
    assert app.state.session == replace(session, avatar="other")


def test_what_cannot_be_opened_is_said_and_the_avatar_stays(app, tmp_path):
    state = loaded(app)
    path = tmp_path / "a.png"
    path.write_text("no picture")
    app.open(path)
    assert app.state is state and "expected a PNG" in texts(app)[-1]
    app.open(tmp_path)
    assert app.renderer.loaded == [str(tmp_path)]


def test_the_last_session_comes_back_at_the_next_start(app):
    state = loaded(app, str(DEMO_FOLDER))
    app.change(pad=(0.3, 0.4), seed=9)
    app.keep_last_session()
    again = ViewerApp(Renderer(), app.config_folder)
    again.start()
    assert again.renderer.loaded == [str(DEMO_FOLDER)]
    loaded(again, str(DEMO_FOLDER))
    assert again.state.session == state.session
    assert again.state.session.avatar == EMBEDDED


def test_a_start_with_what_is_broken_shows_the_embedded_avatar(app):
    app.config_folder.mkdir()
    last = app.config_folder / LAST_SESSION_FILE
    last.write_text("[")
    app.start()
    assert app.renderer.loaded == [str(DEMO_FOLDER)]
    assert "set aside" in texts(app)[0] and not last.exists()
    last.write_text("avatar: gone\n")
    app.start()
    assert app.renderer.loaded[-1] == "gone"
    show(app, failure=RenderFailure(None, "gone: not found", ""), failures=1)
    assert app.renderer.loaded[-1] == str(DEMO_FOLDER)


def test_screenshots_are_named_by_the_pattern_and_never_overwrite(app, tmp_path):
    app.save_screenshot()
    assert texts(app) == ["Screenshot: there is no picture yet"]
    state = loaded(app)
    show(app, frame=FakeAvatar().render(state.request()), frames=1)
    app.prefer(screenshot_folder=tmp_path, screenshot_name="{name}/{layer}")
    app.save_screenshot()
    app.save_screenshot()
    names = [path.name for path in sorted(tmp_path.glob("*.png"))]
    assert names == ["fake-image-1.png", "fake-image.png"]
    assert app.messages.lines[-1].link == tmp_path / "fake-image-1.png"
    assert read_screenshot(tmp_path / "fake-image.png").session == state.session


def test_a_larger_screenshot_is_a_task_and_one_task_is_enough(app):
    state = loaded(app)
    show(app, frame=FakeAvatar().render(state.request()), frames=1)
    app.prefer(screenshot_scale=2)
    app.save_screenshot()
    app.save_screenshot()
    assert app.renderer.tasks == ["Screenshot"]
    assert texts(app)[-1] == "Screenshot: expected no other task, found Screenshot"


def test_a_session_is_saved_and_a_folder_that_is_none_is_said(app, tmp_path):
    state = loaded(app)
    app.save_session(tmp_path / "a.yaml")
    assert read_session(tmp_path / "a.yaml") == state.session
    assert app.messages.lines[-1].link == tmp_path / "a.yaml"
    app.save_session(tmp_path / "none" / "a.yaml")
    assert app.messages.lines[-1].is_error


def test_the_other_avatar_of_a_comparison_is_loaded_once(app):
    state = loaded(app)
    app.change(comparison=Comparison(avatar="other"))
    state.settle()
    app.change(seed=4)
    app.undo()
    assert app.renderer.compared == ["other"]
    app.change(comparison=None)
    assert app.renderer.compared == ["other", None]


def test_overlays_are_put_away_and_nothing_else(app):
    app.say("a")
    for name in ("help", "open a file"):
        app.toggle(name)
    app.put_away()
    assert app.opened == {"open a file"}
    assert app.messages.put_away == app.messages.count == 1
    app.toggle("open a file")
    assert app.opened == set()


def test_only_the_newest_messages_are_kept():
    messages = Messages()
    for i in range(MOST_MESSAGES + 3):
        messages.say(str(i))
    assert messages.count == MOST_MESSAGES + 3 and len(messages.lines) == MOST_MESSAGES
    assert (messages.lines[0].text, messages.lines[-1].text) == ("3", str(MOST_MESSAGES + 2))


def test_history_keeps_so_many_steps_and_equal_ones_are_one():
    history = History(0)
    for i in range(MOST_STEPS + 5):
        history.record(i)
        history.record(i)
    value = MOST_STEPS + 4
    for _ in range(2 * MOST_STEPS):
        value = history.undo(value)
    assert value == 4
    for _ in range(2 * MOST_STEPS):
        value = history.redo(value)
    assert value == MOST_STEPS + 4


def test_without_a_renderers_news_nothing_is_new(app):
    app.renderer.live = LiveState()
    assert app.take_in() is True
    assert app.take_in() is False
