"""The window and its loop. Only the main thread calls Dear PyGui."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import dearpygui.dearpygui as dpg

from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.live.renderable import Load, load_avatar
from avatar_viewer.viewer.actions import all_actions, help_lines
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.display import prepare_process
from avatar_viewer.viewer.keyboard import Keyboard
from avatar_viewer.viewer.pad_panel import WIDTH_PX, PadPanel
from avatar_viewer.viewer.pointer import Pointer
from avatar_viewer.viewer.preferences import config_folder
from avatar_viewer.viewer.rhythm import Rhythm
from avatar_viewer.viewer.settings_panel import SettingsPanel
from avatar_viewer.viewer.source_panel import SourcePanel
from avatar_viewer.viewer.status_panel import StatusPanel
from avatar_viewer.viewer.theme import DIM_TEXT, SCROLLBAR_PX, bind_theme
from avatar_viewer.viewer.view_panel import ViewPanel

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session

TITLE = "avatar-viewer"


class Panel(Protocol):
    """A part of the side column; it shows the app's state once per round."""

    def update(self) -> None: ...


TABS: dict[str, tuple[Callable[[ViewerApp, int], Panel], ...]] = {
    "Picture": (SettingsPanel,),
}
"""Panels by the tab on which they lie, made with the app and the width in pixels."""
SIZE_PX = (1280, 800)
MIN_SIZE_PX = (720, 560)
MARGIN_PX = 8
SIDE_PX = WIDTH_PX + 2 * MARGIN_PX + SCROLLBAR_PX


def run(
    source: str | None = None,
    *,
    session: Session | None = None,
    load: Load = load_avatar,
    screenshot_folder: Path | None = None,
    exit_after_s: float | None = None,
    debug: bool = False,
) -> None:
    """Open the window on an avatar and stay until it is closed, or Ctrl-C is pressed.

    `source` is a folder or Hub id; without one, the last session is restored, or the embedded
    avatar shown. `session` is one to return to instead. Screenshots go to `screenshot_folder`, by
    default the preferred one. With `debug`, tracebacks of failures are printed to stderr. Raises
    AvatarError where no window can open.
    """
    prepare_process()
    window = ViewerWindow(load, config_folder(), screenshot_folder, debug)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            window.open()
            if session is not None:
                window.app.open_session(session)
            elif source is None:
                window.app.start()
            else:
                window.app.load(source)
            window.loop(exit_after_s)
    finally:
        window.close()


class ViewerWindow:
    """The panels, the state that they write, and the render thread that follows it."""

    def __init__(
        self, load: Load, config_folder: Path, screenshot_folder: Path | None, debug: bool = False
    ) -> None:
        self._rhythm = Rhythm()
        renderer = RenderThread(load, on_change=self._rhythm.wake)
        self.app = ViewerApp(renderer, config_folder, debug)
        if screenshot_folder is not None:
            self.app.preferences = replace(
                self.app.preferences, screenshot_folder=screenshot_folder
            )
        self._title = ""
        self.drawn_s = 0.0
        """When the window was last drawn, on the clock of `time.perf_counter`."""
        self._build()

    @property
    def live(self) -> LiveState:
        """What the window shows."""
        return self.app.live

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
            self._take_in()
            dpg.render_dearpygui_frame()
        self._rhythm.watch()

    def close(self) -> None:
        """The one place that ends the context: nothing may call Dear PyGui after it."""
        self.app.keep_last_session()
        dpg.destroy_context()
        self.app.renderer.stop()
        self._rhythm.close()

    def loop(self, exit_after_s: float | None = None) -> None:
        """Run until the window is closed, or for `exit_after_s`."""
        end_s = time.perf_counter() + (exit_after_s if exit_after_s is not None else float("inf"))
        while self.is_open and time.perf_counter() < end_s:
            self.turn()

    @property
    def is_open(self) -> bool:
        """Whether the person has not closed it."""
        return dpg.is_dearpygui_running()

    def turn(self) -> None:
        """One round of the loop: show what is new, draw, obey, ask for what is wanted, pause."""
        start_s, uploads = time.perf_counter(), self.uploads
        self._take_in()
        dpg.render_dearpygui_frame()
        self.drawn_s = time.perf_counter()
        self._rhythm.count(self.drawn_s - start_s)
        picture_is_new = self.uploads != uploads
        dpg.run_callbacks(dpg.get_callback_queue())
        self._pointer.update()
        changed = self.app.ask(time.perf_counter(), self._pointer.released)
        if changed or self._pointer.moved:
            self._rhythm.stay_awake()
        # Dear PyGui shows a new picture only in the second drawing after it was handed over.
        if not picture_is_new:
            self._rhythm.pause()

    def _build(self) -> None:
        dpg.create_context()
        dpg.configure_app(manual_callback_management=True)
        bind_theme()
        textures = dpg.add_texture_registry()
        with dpg.window(no_scrollbar=True, no_scroll_with_mouse=True) as window:
            with dpg.group(horizontal=True):
                self._view = ViewPanel(self.app, textures)
                with dpg.child_window(width=SIDE_PX, always_use_window_padding=True):
                    self._pad = PadPanel(self.app, textures)
                    dpg.add_separator()
                    self._panels: list[Panel] = [self._pad, SourcePanel(self.app, WIDTH_PX)]
                    self._build_tabs()
                    self._build_buttons()
                    dpg.add_separator()
                    self._panels.append(StatusPanel(self.app, WIDTH_PX))
                    self._build_help()
        dpg.set_primary_window(window, True)
        self._pointer = Pointer([self._view, self._pad])
        Keyboard(self.app)

    def _build_tabs(self) -> None:
        with dpg.tab_bar():
            for label, makers in TABS.items():
                with dpg.tab(label=label):
                    self._panels += [make(self.app, WIDTH_PX) for make in makers]

    def _build_buttons(self) -> None:
        width = (WIDTH_PX - MARGIN_PX) // 2
        with dpg.group(horizontal=True):
            for label, keys in (("Reset view (R)", "R"), ("Screenshot (S)", "S")):
                action = next(a for a in all_actions() if a.keys == keys)
                run = partial(action.run, self.app)
                dpg.add_button(
                    label=label, width=width, callback=lambda _, __, do: do(), user_data=run
                )

    def _build_help(self) -> None:
        with dpg.collapsing_header(label="Mouse and keys"):
            for given, does in help_lines():
                with dpg.group(horizontal=True, xoffset=160):
                    dpg.add_text(given)
                    dpg.add_text(does, color=DIM_TEXT)

    def _take_in(self) -> None:
        """Show what the render thread has done."""
        if self.app.take_in():
            self._rhythm.stay_awake()
        state = self.app.state
        title = f"{state.info.name} - {TITLE}" if state is not None else TITLE
        if title != self._title:
            self._title = title
            dpg.set_viewport_title(title)
        width = dpg.get_viewport_client_width() - SIDE_PX - 3 * MARGIN_PX
        self._view.resize(max(1, width), max(1, dpg.get_viewport_client_height() - 2 * MARGIN_PX))
        self._view.update()
        for panel in self._panels:
            panel.update()
