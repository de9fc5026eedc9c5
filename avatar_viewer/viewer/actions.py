"""What can be done by keyboard: the window obeys this table, the palette searches it, and help and
docs/viewer.md are printed from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avatar_viewer.viewer.app import ViewerApp

PAD_NUDGE = 0.02
MODIFIERS = ("Ctrl", "Shift", "Alt")
FRONT = "Front"
PRESETS = {"Left": 75.0, "¾ left": 40.0, FRONT: 0.0, "¾ right": -40.0, "Right": -75.0}
"""Usual views: degrees to the subject's left from the avatar's own view."""
TURNTABLE, LENS = "turntable", "lens"
"""Names in `ViewerApp.opened`: while the head turns on and on, and while pixels are magnified."""
WINDOW_SHOT, PASTE_VIEW = "window shot", "paste view"
"""Names there to have a picture of the window saved, and to be asked for a copied view."""
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Of the window's fonts and widgets."""
_SHOWN_KEYS = {
    **{"Prior": "Page up", "Next": "Page down", "Spacebar": "Space", "Slash": "/"},
    **{"Comma": ",", "Period": "."},
}
"""Names of keys for people, where Dear PyGui has others."""


@dataclass(frozen=True)
class Action:
    """One row of the table."""

    keys: str
    """Such as "Ctrl+Shift+Z"; the last word as in Dear PyGui's mvKey_ constants. Empty: only in
    the palette."""
    does: str
    run: Callable[[ViewerApp], None]
    repeats: bool = False
    """Whether a held key runs it again and again."""

    @property
    def key(self) -> str:
        """Without modifiers."""
        return self.keys.rpartition("+")[2]

    @property
    def shown_keys(self) -> str:
        """For people."""
        return "+".join((*self.keys.split("+")[:-1], _SHOWN_KEYS.get(self.key, self.key)))

    @property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.keys.split("+")[:-1])


def _nudge(dx: float, dy: float) -> Callable[[ViewerApp], None]:
    def run(app: ViewerApp) -> None:
        if app.state is not None:
            app.state.nudge_pad(dx * PAD_NUDGE, dy * PAD_NUDGE)

    return run


def _pad_to(x: float, y: float) -> Callable[[ViewerApp], None]:
    def run(app: ViewerApp) -> None:
        if app.state is not None:
            app.state.move_pad(x, y)

    return run


def _next_layer(app: ViewerApp) -> None:
    from avatar_viewer.stages import LAYERS

    if app.state is not None:
        now = LAYERS.index(app.state.session.show)
        app.change(show=LAYERS[(now + 1) % len(LAYERS)])


def _reset_view(app: ViewerApp) -> None:
    if app.state is not None:
        app.state.reset_view()


def turn_to(app: ViewerApp, azimuth_deg: float) -> None:
    """So far to the side from the avatar's own view, at its height; the distance stays."""
    if (state := app.state) is not None:
        usual, view = state.info.default_view, state.session.view
        turned = usual.orbited(azimuth_deg, 0)
        angles = {"azimuth_deg": turned.azimuth_deg, "elevation_deg": turned.elevation_deg}
        app.change(view=replace(view, **angles))


def _copy_view(app: ViewerApp) -> None:
    from avatar_viewer.viewer.camera_panel import copy_view

    copy_view(app)


def _paste_view(app: ViewerApp) -> None:
    app.opened.add(PASTE_VIEW)


def _compare_quick(app: ViewerApp) -> None:
    from avatar_viewer.viewer.compared import quick_comparison

    if (state := app.state) is not None:
        is_off = state.session.comparison is None
        app.change(comparison=quick_comparison(state) if is_off else None)


def _magnify(app: ViewerApp) -> None:
    app.toggle(LENS)


def _scaled(by: int | None) -> Callable[[ViewerApp], None]:
    """To a larger or smaller interface, or back to its usual size."""

    def run(app: ViewerApp) -> None:
        nearest = min(SCALES, key=lambda scale: abs(scale - app.preferences.ui_scale))
        place = SCALES.index(nearest) + by if by is not None else SCALES.index(1.0)
        app.prefer(ui_scale=SCALES[min(max(place, 0), len(SCALES) - 1)])

    return run


def _switch_theme(app: ViewerApp) -> None:
    app.prefer(theme="light" if app.preferences.theme == "dark" else "dark")


def _arm_stroke(app: ViewerApp) -> None:
    app.stroke.arm()


def _play_stroke(app: ViewerApp) -> None:
    if not app.stroke.play_or_stop(time.perf_counter()):
        app.complain("Play: expected a path drawn on the pad, found none; draw one by Shift+drag")


def _play_sequence(app: ViewerApp) -> None:
    app.timeline.play_or_pause(time.perf_counter())


def _frames_on(frames: int) -> Callable[[ViewerApp], None]:
    return lambda app: app.timeline.step(frames)


def _frame_to_corner(corner: int) -> Callable[[ViewerApp], None]:
    return lambda app: app.timeline.set_corner(corner)


def _switch_timeline(name: str) -> Callable[[ViewerApp], None]:
    """One of its fields that is true or false."""
    return lambda app: setattr(app.timeline, name, not getattr(app.timeline, name))


def _switch_webcam_head(app: ViewerApp) -> None:
    app.webcam.turns_head = not app.webcam.turns_head


GROUPS: dict[str, tuple[Action, ...]] = {
    "Expression": (
        Action("Left", "pad to the left", _nudge(-1, 0), True),
        Action("Right", "pad to the right", _nudge(1, 0), True),
        Action("Up", "pad up", _nudge(0, -1), True),
        Action("Down", "pad down", _nudge(0, 1), True),
        Action("C", "pad to its centre", _pad_to(0.5, 0.5)),
        Action("1", "pad to the top-left corner", _pad_to(0, 0)),
        Action("2", "pad to the top-right corner", _pad_to(1, 0)),
        Action("3", "pad to the bottom-left corner", _pad_to(0, 1)),
        Action("4", "pad to the bottom-right corner", _pad_to(1, 1)),
        Action("D", "draw a path with the next drag on the pad", _arm_stroke),
        Action("Shift+D", "play the drawn path, or stop", _play_stroke),
        Action("E", "the library of expressions", lambda app: app.toggle("library")),
        Action("", "let the gaze follow the expression", lambda app: app.change(gaze=None)),
        Action("", "all sliders back to 0", lambda app: app.change(directions=(), units=())),
    ),
    "Sequence": (
        Action("Spacebar", "play the sequence, or pause", _play_sequence),
        Action("Comma", "one frame back", _frames_on(-1), True),
        Action("Period", "one frame on", _frames_on(1), True),
        Action("Home", "its first frame", lambda app: app.timeline.go(0)),
        Action("End", "its last frame", lambda app: app.timeline.go(app.timeline.count - 1)),
        Action("Shift+Comma", "slower", lambda app: app.timeline.change_speed(-1), True),
        Action("Shift+Period", "faster", lambda app: app.timeline.change_speed(1), True),
        Action("Shift+L", "play it again and again, or once", _switch_timeline("loops")),
        Action("Ctrl+1", "the frame to the top-left corner", _frame_to_corner(0)),
        Action("Ctrl+2", "the frame to the top-right corner", _frame_to_corner(1)),
        Action("Ctrl+3", "the frame to the bottom-left corner", _frame_to_corner(2)),
        Action("Ctrl+4", "the frame to the bottom-right corner", _frame_to_corner(3)),
        Action("B", "the frame to the library", lambda app: app.timeline.save()),
        Action("", "turn the head as the sequence does, or not", _switch_timeline("turns_head")),
        Action("", "close the sequence", lambda app: app.timeline.close()),
    ),
    "Webcam": (
        Action("W", "the webcam, which drives the avatar by a face", lambda a: a.toggle("webcam")),
        Action("Shift+W", "start the webcam, or stop", lambda app: app.webcam.start_or_stop()),
        Action("N", "take the face before it as neutral", lambda app: app.webcam.take_neutral()),
        Action("Shift+K", "keep what it tracked as a sequence", lambda app: app.webcam.keep()),
        Action("", "turn the head as the face before it does, or not", _switch_webcam_head),
    ),
    "View": (
        Action("R", "reset the view", _reset_view),
        Action("F", "look at the front", lambda app: turn_to(app, PRESETS[FRONT])),
        Action("T", "turntable: turn on and on, or stop", lambda app: app.toggle(TURNTABLE)),
        Action("Ctrl+Shift+C", "copy the view as text", _copy_view),
        Action("Ctrl+Shift+V", "to the field where a copied view is pasted", _paste_view),
        Action("L", "next layer", _next_layer),
        Action("X", "compare the full picture with the quick one, or stop", _compare_quick),
        Action("Z", "magnify the pixels below the mouse; Alt does so while held", _magnify),
    ),
    "Files": (
        Action("S", "save a screenshot", lambda app: app.save_screenshot()),
        Action("Shift+S", "save a picture of the window", lambda app: app.toggle(WINDOW_SHOT)),
        Action("O", "open an avatar's folder", lambda app: app.toggle("open a folder")),
        Action(
            "Ctrl+O", "open a session, picture or sequence", lambda app: app.toggle("open a file")
        ),
        Action("Ctrl+Shift+S", "save the session as a file", lambda app: app.toggle("save")),
    ),
    "Record": (
        Action("K", "add a keyframe of view and pad", lambda app: app.toggle("keyframe")),
        Action("P", "play the path, or stop", lambda app: app.toggle("play")),
        Action("V", "record the window, or stop", lambda app: app.toggle("record live")),
    ),
    "Edit": (
        Action("Ctrl+Z", "undo", lambda app: app.undo(), True),
        Action("Ctrl+Y", "redo", lambda app: app.redo(), True),
    ),
    "Window": (
        Action("Ctrl+P", "find anything that can be done", lambda app: app.toggle("palette")),
        Action("F1", "help: mouse and keys", lambda app: app.toggle("help")),
        Action("Ctrl+Comma", "settings", lambda app: app.toggle("settings")),
        Action("Ctrl+L", "log: all messages", lambda app: app.toggle("log")),
        Action("Escape", "put away messages, and windows over others", lambda app: app.put_away()),
        Action("", "switch between the dark and the light theme", _switch_theme),
        Action("Ctrl+Up", "larger interface", _scaled(1)),
        Action("Ctrl+Down", "smaller interface", _scaled(-1)),
        Action("Ctrl+0", "interface at its usual size", _scaled(None)),
    ),
}
"""Actions by what they concern, in the order of the help."""
MOUSE = (
    ("Shift+drag on the pad", "draw a path to play"),
    ("Double-click on a corner", "choose its expression from the library"),
    ("Drag on the ruler", "go through the sequence"),
    ("Left drag", "turn the head"),
    ("Middle or right drag", "move it"),
    ("Wheel", "zoom"),
)


def all_actions() -> tuple[Action, ...]:
    return tuple(action for group in GROUPS.values() for action in group)


def action_of(keys: str) -> Action:
    """The action of those keys, which must be in the table."""
    return next(action for action in all_actions() if action.keys == keys)


def help_groups() -> dict[str, list[tuple[str, str]]]:
    """Inputs and what they do, for people, by what they concern."""
    keys = {
        name: [(action.shown_keys, action.does) for action in group if action.keys]
        for name, group in GROUPS.items()
    }
    return {"Mouse": list(MOUSE), **keys}
