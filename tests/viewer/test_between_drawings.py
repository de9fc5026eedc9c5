"""What the window does with input that it sees between two drawings."""

import dearpygui.dearpygui as dpg
import pytest
from fake_avatar import load_fake

from avatar_viewer.viewer.pad_geometry import pixel_from_pad
from avatar_viewer.viewer.pointer import _Drag
from avatar_viewer.viewer.window import ViewerWindow


class Mouse:
    """In the place of a `Glance`: sees what a test says."""

    def __init__(self) -> None:
        self.place = self.seen = (0.0, 0.0)

    def changed(self) -> bool:
        before, self.seen = self.seen, self.place
        return self.seen != before

    def mouse(self) -> tuple[float, float]:
        return self.place

    def close(self) -> None:
        pass


@pytest.fixture
def mouse(monkeypatch):
    mouse = Mouse()
    monkeypatch.setattr("avatar_viewer.viewer.window.Glance", lambda: mouse)
    return mouse


@pytest.fixture
def window(mouse, tmp_path):
    """Not shown, and so without a display."""
    window = ViewerWindow(load_fake, tmp_path, None)
    window.app.load("demo")
    window.app.renderer.wait(lambda state: state.info is not None, 10)
    window.app.take_in()
    window.app.ask(0.0, released=False)
    yield window
    window.close()


def test_what_is_dragged_moves_and_its_picture_is_asked_for(window, mouse):
    app = window.app
    window._pointer._drag = _Drag(window._pad, dpg.mvMouseButton_Left, mouse.place)
    for number, pad in enumerate([(0.25, 0.5), (0.75, 0.5)], start=1):
        submissions = app.submissions
        mouse.place = pixel_from_pad(*pad)
        assert window.look()
        assert app.state.session.pad == pytest.approx(pad, abs=0.01)
        assert app.submissions == submissions + 1, number
        assert not window.look() and app.submissions == submissions + 1


def test_a_mouse_that_drags_nothing_asks_for_nothing(window, mouse):
    submissions, pad = window.app.submissions, window.app.state.session.pad
    mouse.place = pixel_from_pad(0.25, 0.5)
    assert window.look()  # it may hover over something
    assert window.app.submissions == submissions and window.app.state.session.pad == pad
