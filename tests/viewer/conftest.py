import contextlib
import os
import shutil

import dearpygui.dearpygui as dpg
import pytest
from fake_avatar import INFO
from window_driver import WindowDriver

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.display import require_display
from avatar_viewer.viewer.state import ViewerState


class FakeRenderer:
    """Shows what a test wants, and notes what is asked for."""

    def __init__(self):
        self.live = LiveState()
        self.loaded = []

    def poll(self):
        return self.live

    def load(self, source):
        self.loaded.append(source)


@pytest.fixture
def app(tmp_path) -> ViewerApp:
    return ViewerApp(FakeRenderer(), tmp_path)


@pytest.fixture
def state(app) -> ViewerState:
    app.state = ViewerState.of("demo", INFO, ExpressionSpace())
    return app.state


@pytest.fixture
def context():
    """Dear PyGui's widgets, values and callbacks, which need no display."""
    dpg.create_context()
    with dpg.window():
        yield dpg.add_texture_registry()
    dpg.destroy_context()


@pytest.fixture
def screen(context):
    """A window that is not shown, and so needs no display."""
    dpg.create_viewport(width=1280, height=800)


@pytest.fixture
def display():
    """A display that a window can open on."""
    _require_gui()


@pytest.fixture
def open_window(display, tmp_path):
    """Opens the real window and drives it by xdotool."""
    with contextlib.ExitStack() as stack:
        yield lambda source="demo": stack.enter_context(WindowDriver(source, tmp_path))


@pytest.fixture(scope="module")
def shared_window(tmp_path_factory):
    """One real window for all tests that leave it as it was but for pad and view."""
    _require_gui()
    with WindowDriver("demo", tmp_path_factory.mktemp("window")) as window:
        yield window


@pytest.fixture
def window(shared_window):
    shared_window.reset()
    return shared_window


def _require_gui() -> None:
    """Skips; or fails where AVATAR_VIEWER_REQUIRE_GUI=1 says that there must be a display."""
    problem = None if shutil.which("xdotool") else "xdotool is missing"
    try:
        require_display()
    except AvatarError as error:
        problem = str(error)
    if problem is None:
        return
    if os.environ.get("AVATAR_VIEWER_REQUIRE_GUI") == "1":
        pytest.fail(problem)
    pytest.skip(problem)
