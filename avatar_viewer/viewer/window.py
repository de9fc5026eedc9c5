"""The window and its loop. Only the main thread calls Dear PyGui."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dearpygui.dearpygui as dpg

from avatar_viewer.errors import AvatarError
from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import Load, RenderThread, load_avatar
from avatar_viewer.viewer.actions import ACTIONS, Commands, help_lines
from avatar_viewer.viewer.display import prepare_process
from avatar_viewer.viewer.pad_panel import WIDTH_PX, PadPanel
from avatar_viewer.viewer.pointer import Pointer
from avatar_viewer.viewer.rhythm import Rhythm
from avatar_viewer.viewer.settings_panel import SettingsPanel
from avatar_viewer.viewer.state import PAD_CENTRE, ViewerState
from avatar_viewer.viewer.status_panel import StatusPanel
from avatar_viewer.viewer.theme import DIM_TEXT, SCROLLBAR_PX, bind_theme
from avatar_viewer.viewer.view_panel import ViewPanel

if TYPE_CHECKING:
    from avatar_viewer.stages import RenderRequest

TITLE = "avatar-viewer"
SIZE_PX = (1280, 800)
MIN_SIZE_PX = (720, 560)
MARGIN_PX = 8
SIDE_PX = WIDTH_PX + 2 * MARGIN_PX + SCROLLBAR_PX
REST_S = 0.15
"""Without a change for so long, the full picture is rendered."""


def run(
    source: str,
    *,
    load: Load = load_avatar,
    screenshot_folder: Path | None = None,
    exit_after_s: float | None = None,
    debug: bool = False,
) -> None:
    """Open the window on an avatar and stay until it is closed, or Ctrl-C is pressed.

    `source` is a folder or Hub id. Screenshots go to `screenshot_folder`, by default the current
    folder. With `debug`, tracebacks of failures are printed to stderr. Raises AvatarError where
    no window can open.
    """
    prepare_process()
    window = ViewerWindow(load, screenshot_folder or Path.cwd(), debug)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            window.open()
            window.load(source)
            window.loop(exit_after_s)
    finally:
        window.close()


class ViewerWindow:
    """The panels, the state that they write, and the render thread that follows it."""

    def __init__(self, load: Load, screenshot_folder: Path, debug: bool = False) -> None:
        self._rhythm = Rhythm()
        self._renderer = RenderThread(load, on_change=self._rhythm.wake)
        self._live = LiveState()
        self._state: ViewerState | None = None
        self._screenshot_folder = screenshot_folder
        self._debug = debug
        self._request: RenderRequest | None = None
        self._changed_s = 0.0
        self._submitted: tuple[RenderRequest, bool] | None = None
        self.submissions = 0
        self.drawn_s = 0.0
        """When the window was last drawn, on the clock of `time.perf_counter`."""
        self._build()

    @property
    def live(self) -> LiveState:
        """What the window shows."""
        return self._live

    @property
    def uploads(self) -> int:
        """How many pictures have been sent to the graphics driver."""
        return self._view.texture.uploads

    def open(self) -> None:
        """Show the window, still without an avatar."""
        width, height = SIZE_PX
        min_width, min_height = MIN_SIZE_PX
        # Without vsync: the loop has its own pace, and waiting for the screen would add to it.
        dpg.create_viewport(
            title=TITLE,
            width=width,
            height=height,
            min_width=min_width,
            min_height=min_height,
            vsync=False,
        )
        dpg.set_viewport_resize_callback(self._rhythm.stay_awake)
        dpg.setup_dearpygui()
        dpg.show_viewport()
        for _ in range(2):
            self._take_in(time.perf_counter())
            dpg.render_dearpygui_frame()
        self._rhythm.watch()

    def close(self) -> None:
        """The one place that ends the context: nothing may call Dear PyGui after it."""
        dpg.destroy_context()
        self._renderer.stop()
        self._rhythm.close()

    def load(self, source: str) -> None:
        """Swap avatars; the present one stays if that fails."""
        self._renderer.load(source)

    def loop(self, exit_after_s: float | None = None) -> None:
        """Run until the window is closed, or for `exit_after_s`."""
        end_s = time.perf_counter() + (exit_after_s if exit_after_s is not None else float("inf"))
        while dpg.is_dearpygui_running() and time.perf_counter() < end_s:
            self.turn()

    def turn(self) -> None:
        """One round of the loop: show what is new, draw, obey, ask for what is wanted, pause."""
        start_s, uploads = time.perf_counter(), self.uploads
        self._take_in(start_s)
        dpg.render_dearpygui_frame()
        self.drawn_s = time.perf_counter()
        self._rhythm.count(self.drawn_s - start_s)
        picture_is_new = self.uploads != uploads
        dpg.run_callbacks(dpg.get_callback_queue())
        self._submit(time.perf_counter())
        # Dear PyGui shows a new picture only in the second drawing after it was handed over.
        if not picture_is_new:
            self._rhythm.pause()

    # What keys and buttons do (`actions.Commands`).

    def nudge_pad(self, dx: float, dy: float) -> None:
        if self._state is not None:
            self._state.nudge_pad(dx, dy)

    def move_pad(self, x: float, y: float) -> None:
        if self._state is not None:
            self._state.move_pad(x, y)

    def centre_pad(self) -> None:
        self.move_pad(*PAD_CENTRE)

    def reset_view(self) -> None:
        if self._state is not None:
            self._state.reset_view()

    def next_layer(self) -> None:
        from avatar_viewer.stages import LAYERS

        if self._state is not None:
            self._state.show = LAYERS[(LAYERS.index(self._state.show) + 1) % len(LAYERS)]

    def choose_checkpoint(self) -> None:
        self._settings.choose_folder()

    def save_screenshot(self) -> None:
        """Save the picture on show, with its request."""
        frame, source = self._live.frame, self._live.source
        if frame is None or source is None:
            self._status.say("Screenshot: there is no picture yet", is_error=True)
            return
        from avatar_viewer.config import lasting_source
        from avatar_viewer.live.screenshot import new_path, save_screenshot

        path = new_path(self._screenshot_folder)
        try:
            save_screenshot(frame, path, lasting_source(source))
        except AvatarError as error:
            self._status.say(str(error), is_error=True)
        else:
            self._status.say(f"Saved {path}")

    def _build(self) -> None:
        dpg.create_context()
        dpg.configure_app(manual_callback_management=True)
        bind_theme()
        textures = dpg.add_texture_registry()
        with dpg.window(no_scrollbar=True, no_scroll_with_mouse=True) as window:
            with dpg.group(horizontal=True):
                self._view = ViewPanel(textures)
                with dpg.child_window(width=SIDE_PX, always_use_window_padding=True):
                    self._pad = PadPanel(textures)
                    dpg.add_separator()
                    self._settings = SettingsPanel(WIDTH_PX, self.load)
                    self._build_buttons()
                    dpg.add_separator()
                    self._status = StatusPanel(WIDTH_PX)
                    self._build_help()
        dpg.set_primary_window(window, True)
        self._pointer = Pointer(self._pad, self._view)
        self._listen_to_keys()

    def _build_buttons(self) -> None:
        width = (WIDTH_PX - MARGIN_PX) // 2
        with dpg.group(horizontal=True):
            dpg.add_button(label="Reset view (R)", width=width, callback=self.reset_view)
            dpg.add_button(label="Screenshot (S)", width=width, callback=self.save_screenshot)

    def _build_help(self) -> None:
        with dpg.collapsing_header(label="Mouse and keys"):
            for given, does in help_lines():
                with dpg.group(horizontal=True, xoffset=160):
                    dpg.add_text(given)
                    dpg.add_text(does, color=DIM_TEXT)

    def _listen_to_keys(self) -> None:
        with dpg.handler_registry():
            for action in ACTIONS:
                # A held key sends presses again and again, but only one release.
                add = dpg.add_key_press_handler if action.repeats else dpg.add_key_release_handler
                key = getattr(dpg, f"mvKey_{action.key}")
                add(key, callback=lambda _, __, run: self._obey(run), user_data=action.run)

    def _obey(self, command: Callable[[Commands], None]) -> None:
        if not self._settings.has_keyboard:
            command(self)

    def _take_in(self, now_s: float) -> None:
        """Show what the render thread has done."""
        live, before = self._renderer.poll(), self._live
        self._live = live
        if live is not before:
            self._rhythm.stay_awake()
        if live.source is not None and live.info is not None and live.info is not before.info:
            self._adopt(ViewerState.of(live.source, live.info))
        if self._debug and live.failure is not None and live.failure is not before.failure:
            print(live.failure.traceback, file=sys.stderr)
        width = dpg.get_viewport_client_width() - SIDE_PX - 3 * MARGIN_PX
        self._view.resize(max(1, width), max(1, dpg.get_viewport_client_height() - 2 * MARGIN_PX))
        self._view.update(live.frame, self._note())
        self._pad.update(live.thumbnails)
        self._settings.update()
        self._status.update(live, now_s)

    def _note(self) -> str:
        """What stands in the picture's place while there is none."""
        if self._live.status:
            return self._live.status
        if self._state is not None:
            return "Rendering the first picture"
        return "No avatar" if self._live.failures else "Loading"

    def _adopt(self, state: ViewerState) -> None:
        self._state, self._request, self._submitted = state, None, None
        for panel in (self._view, self._pad, self._settings):
            panel.adopt(state)
        dpg.set_viewport_title(f"{state.info.name} - {TITLE}")
        self._status.say(f"{state.info.name}, {state.info.licence}")
        self._renderer.submit_thumbnails(state.corner_requests())

    def _submit(self, now_s: float) -> None:
        """Ask for the picture of the state: the quick one at a change, the full one at rest."""
        self._pointer.update()
        if self._pointer.moved:
            self._rhythm.stay_awake()
        if self._state is None:
            return
        request = self._state.request()
        if request != self._request:
            self._request, self._changed_s = request, now_s
            self._rhythm.stay_awake()
        changing = now_s - self._changed_s < REST_S and not self._pointer.released
        if self._submitted == (request, False):
            return
        if self._submitted != (request, changing):
            self._submitted = (request, changing)
            self.submissions += 1
            quick = self._state.quick_choice()
            self._renderer.submit(request, changing, self._state.info, quick)
