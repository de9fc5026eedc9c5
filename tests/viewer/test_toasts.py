from pathlib import Path

import dearpygui.dearpygui as dpg
import pytest

from avatar_viewer.viewer import desktop
from avatar_viewer.viewer.log_panel import LogPanel
from avatar_viewer.viewer.theme import PALETTES
from avatar_viewer.viewer.toasts import MOST_CARDS, SHOWN_S, Toasts


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr("avatar_viewer.viewer.toasts.time.perf_counter", lambda: now[0])
    return now


@pytest.fixture
def toasts(screen, app, clock):
    return Toasts(app)


def items(window, kind):
    """The widgets of a kind in a window."""
    below = [child for slot in dpg.get_item_children(window).values() for child in slot]
    found = [item for item in below if dpg.get_item_type(item).endswith(kind)]
    return found + [item for child in below for item in items(child, kind)]


def button(window, label):
    return next(b for b in items(window, "Button") if dpg.get_item_label(b) == label)


def press(item):
    dpg.get_item_callback(item)()


def test_the_newest_messages_are_on_show(toasts, app):
    for i in range(MOST_CARDS + 2):
        app.say(f"line {i}")
        toasts.update()
    assert toasts.texts == [f"line {i}" for i in range(2, MOST_CARDS + 2)]


def test_errors_stay_longer_and_are_in_their_colour(toasts, app, clock):
    app.say("saved")
    app.complain("broken")
    toasts.update()
    text = items(toasts._cards[1].window, "Text")[0]
    colour = [part * 255 for part in dpg.get_item_configuration(text)["color"][:3]]
    assert colour == pytest.approx(PALETTES["dark"].error)
    clock[0] += SHOWN_S[False] + 0.1
    toasts.update()
    assert toasts.texts == ["broken"]
    clock[0] += SHOWN_S[True]
    toasts.update()
    assert toasts.texts == []


def test_a_card_is_closed_alone_and_all_are_put_away(toasts, app):
    for text in ("a", "b", "c"):
        app.say(text)
    toasts.update()
    press(button(toasts._cards[1].window, "×"))
    toasts.update()
    assert toasts.texts == ["a", "c"]
    app.put_away()
    toasts.update()
    assert toasts.texts == []
    app.say("d")
    toasts.update()
    assert toasts.texts == ["d"]


def test_a_link_is_copied_or_opened(toasts, app, monkeypatch):
    app.say("Saved a.png", Path("/shots/a.png"))
    toasts.update()
    copied, started = [], []
    monkeypatch.setattr(dpg, "set_clipboard_text", copied.append)
    monkeypatch.setattr(desktop.sys, "platform", "linux")
    monkeypatch.setattr(desktop.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(desktop.subprocess, "Popen", lambda command, **_: started.append(command))
    window = toasts._cards[0].window
    press(button(window, "Copy path"))
    assert copied == ["/shots/a.png"]
    press(button(window, "Open"))
    assert started == [["/bin/xdg-open", "/shots/a.png"]]
    monkeypatch.setattr(desktop.shutil, "which", lambda name: None)
    press(button(window, "Open"))
    assert copied == ["/shots/a.png"] * 2
    assert app.messages.lines[-1].text == "Copied /shots/a.png"


def test_the_log_has_all_lines_and_new_ones(screen, app, monkeypatch):
    log = LogPanel(app)
    app.say("first")
    log.update()
    assert not log.is_open
    app.toggle("log")
    log.update()
    app.complain("second")
    log.update()
    texts = [dpg.get_value(item) for item in items(log.window, "Text")]
    assert texts[1::2] == ["first", "second"]
    copied = []
    monkeypatch.setattr(dpg, "set_clipboard_text", copied.append)
    press(button(log.window, "Copy all"))
    assert [line.partition("  ")[2] for line in copied[0].splitlines()] == [
        "first",
        "error: second",
    ]
    app.toggle("log")
    log.update()
    assert not dpg.does_item_exist(log.window)
