"""The window and its loop. Only the main thread calls Dear PyGui."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import dearpygui.dearpygui as dpg

from avatar_viewer.live.live_state import LiveState
from avatar_viewer.live.render_thread import RenderThread
from avatar_viewer.live.renderable import Load, load_avatar
from avatar_viewer.viewer import theme
from avatar_viewer.viewer.actions import WINDOW_SHOT
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.background_panel import BackgroundPanel
from avatar_viewer.viewer.buttons import action_button
from avatar_viewer.viewer.camera_panel import CameraPanel
from avatar_viewer.viewer.compare_panel import ComparePanel
from avatar_viewer.viewer.display import prepare_process
from avatar_viewer.viewer.gaze_panel import GazePanel
from avatar_viewer.viewer.glance import Glance
from avatar_viewer.viewer.help_overlay import HelpOverlay
from avatar_viewer.viewer.keyboard import Keyboard
from avatar_viewer.viewer.library_panel import LibraryPanel
from avatar_viewer.viewer.log_panel import LogPanel
from avatar_viewer.viewer.pad_panel import WIDTH_PX, PadPanel
from avatar_viewer.viewer.palette import CommandPalette
from avatar_viewer.viewer.path_panel import PathPanel
from avatar_viewer.viewer.pointer import Pointer, Surface
from avatar_viewer.viewer.preferences import config_folder
from avatar_viewer.viewer.preferences_panel import Settings
from avatar_viewer.viewer.record_panel import RecordPanel
from avatar_viewer.viewer.rhythm import Rhythm
from avatar_viewer.viewer.settings_panel import SettingsPanel
from avatar_viewer.viewer.sliders_panel import SlidersPanel
from avatar_viewer.viewer.source_panel import SourcePanel
from avatar_viewer.viewer.status_panel import StatusLine, StatusPanel
from avatar_viewer.viewer.stroke_panel import StrokePanel
from avatar_viewer.viewer.timeline_panel import TimelinePanel
from avatar_viewer.viewer.toasts import Toasts
from avatar_viewer.viewer.view_panel import ViewPanel
from avatar_viewer.viewer.webcam_panel import WebcamButton, WebcamPanel

if TYPE_CHECKING:
    from avatar_viewer.live.session import Session

TITLE = "avatar-viewer"


class Panel(Protocol):
    """A part of the side column; it shows the app's state once per round."""

    def update(self) -> None: ...


TABS: dict[str, tuple[Callable[[ViewerApp, int], Panel], ...]] = {
    "Expression": (StrokePanel, SlidersPanel, GazePanel, WebcamButton),
    "Library": (LibraryPanel,),
    "View": (CameraPanel, ComparePanel, BackgroundPanel),
    "Picture": (SettingsPanel,),
    "Record": (PathPanel, RecordPanel),
}
"""Panels by the tab on which they lie, made with the app and the width in pixels."""
BUTTONS = {
    "R": ("Reset view", 0.28),
    "S": ("Screenshot", 0.3),
    "Ctrl+Comma": ("Settings", 0.25),
    "F1": ("Help", 0.17),
}
"""Label and part of the width, by the keys of the action."""
SIZE_PX = (1280, 800)
MIN_SIZE_PX = (720, 560)
CARD_CORE_S = 0.003
"""A drawing takes less of the processor's time where there is a graphics card, and more where the
processor has to fill the pixels."""
MARGIN_PX = 8
STATUS_PX = 24
"""The height of the line below the side column."""
SIDE_PX = WIDTH_PX + 2 * MARGIN_PX + theme.SCROLLBAR_PX


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
        self._glance = Glance()
        self._rhythm = Rhythm(self.look)
        renderer = RenderThread(load, on_change=self._rhythm.wake)
        self.app = ViewerApp(renderer, config_folder, debug)
        if screenshot_folder is not None:
            self.app.preferences = replace(
                self.app.preferences, screenshot_folder=screenshot_folder
            )
        self._title = ""
        self._size_px = (0, 0)
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
        return self._view.uploads

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
            clear_color=theme.BACKGROUND,
        )
        dpg.set_viewport_resize_callback(self._rhythm.stay_awake)
        dpg.setup_dearpygui()
        dpg.show_viewport()
        drawing_core_s = [self._first_drawing() for _ in range(4)]
        self.app.renderer.cores.window_needs_one = min(drawing_core_s) > CARD_CORE_S

    def close(self) -> None:
        """The one place that ends the context: nothing may call Dear PyGui after it."""
        self.app.keep_last_session()
        self.app.recorder.close()
        self.app.webcam.close()
        dpg.destroy_context()
        self.app.renderer.stop()
        self._glance.close()

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
        start_s = time.perf_counter()
        self._follow()
        self._take_in()
        dpg.render_dearpygui_frame()
        self.drawn_s = time.perf_counter()
        dpg.run_callbacks(dpg.get_callback_queue())
        self._pointer.update()
        changed = self.app.ask(time.perf_counter(), self._pointer.released)
        driver = self.app.driver
        is_driven = driver is not None and driver.is_moving
        if changed or is_driven or self._pointer.moved or self._pad.is_moving:
            self._rhythm.stay_awake()
        self._rhythm.pause(self.drawn_s - start_s, self.app.is_moving)

    def look(self) -> bool:
        """Between drawings: whether there is input. What is dragged moves already, so that the
        render thread begins no picture with what is older than this look."""
        if not self._glance.changed():
            return False
        self._follow()
        return True

    def _first_drawing(self) -> float:
        """Draw while nothing else happens yet; how long all threads together took for it."""
        self._take_in()
        began_s = time.process_time()
        dpg.render_dearpygui_frame()
        return time.process_time() - began_s

    def _follow(self) -> None:
        """Move what is dragged to where the mouse is, and ask for that picture."""
        if self._pointer.foresee():
            self.app.ask(time.perf_counter(), released=False)

    def _build(self) -> None:
        dpg.create_context()
        dpg.configure_app(manual_callback_management=True)
        theme.bind_font()
        # Not a primary window, as that fills itself: without a graphics card this takes longer
        # than to draw all panels, and the viewport is cleared to the same colour anyway.
        with dpg.window(
            pos=(0, 0),
            no_title_bar=True,
            no_background=True,
            no_scrollbar=True,
            no_scroll_with_mouse=True,
            no_move=True,
            no_resize=True,
            no_collapse=True,
            no_saved_settings=True,
            no_bring_to_front_on_focus=True,
        ) as self._ground:
            with dpg.group(horizontal=True) as self._row:
                with dpg.group() as self._left:
                    self._view = ViewPanel(self.app, dpg.add_texture_registry())
        self._toasts = Toasts(self.app)
        self._overlays: list[Panel] = [
            self._toasts,
            WebcamPanel(self.app),
            *(make(self.app) for make in (LogPanel, HelpOverlay, Settings, CommandPalette)),
        ]
        self._surfaces: list[Surface] = [self._view]
        self._pointer = Pointer(self._surfaces, self._glance)
        self._side: int | str = 0
        self._build_side()
        Keyboard(self.app, self._rhythm.stay_awake)

    def _build_side(self) -> None:
        """Make side column and timeline as the preferences say, in place of those before."""
        preferences = self.app.preferences
        self._looks = (preferences.theme, preferences.ui_scale)
        theme.bind_theme(*self._looks)
        theme.make_plain(self._ground)
        chosen = None
        if dpg.does_item_exist(self._side):
            chosen = dpg.get_item_label(dpg.get_value(self._tabs))
            dpg.delete_item(self._side)
            dpg.delete_item(self._thumbnails)
            dpg.delete_item(self._timeline.window)
        self.app.text_inputs[:] = filter(dpg.does_item_exist, self.app.text_inputs)
        width, side = theme.px(WIDTH_PX), theme.px(SIDE_PX)
        with dpg.child_window(
            width=side, always_use_window_padding=True, no_scrollbar=True, parent=self._row
        ) as self._side:
            with dpg.child_window(height=-theme.px(STATUS_PX), border=False) as scrolled:
                theme.make_clear(scrolled)
                self._thumbnails = dpg.add_texture_registry()
                self._pad = PadPanel(self.app, self._thumbnails)
                dpg.add_separator()
                self._panels: list[Panel] = [self._pad, SourcePanel(self.app, width)]
                self._build_buttons(width)
                self._build_tabs(width, chosen)
                dpg.add_separator()
                self._panels.append(StatusPanel(self.app, width))
            # Below what scrolls, so that it is always there.
            self._panels.append(StatusLine(self.app, width))
        self._timeline = TimelinePanel(self.app, self._left)
        self._panels.append(self._timeline)
        gazes = (panel for panel in self._panels if isinstance(panel, GazePanel))
        self._surfaces[1:] = [self._pad, self._timeline.ruler, *gazes]

    def _build_tabs(self, width_px: int, chosen: str | None) -> None:
        with dpg.tab_bar() as self._tabs:
            for label, makers in TABS.items():
                with dpg.tab(label=label) as tab:
                    self._panels += [make(self.app, width_px) for make in makers]
                if label == chosen:
                    dpg.set_value(self._tabs, tab)

    def _build_buttons(self, width_px: int) -> None:
        free_px = width_px - (len(BUTTONS) - 1) * theme.px(MARGIN_PX)
        with dpg.group(horizontal=True):
            for keys, (label, share) in BUTTONS.items():
                action_button(self.app, keys, label, round(share * free_px))

    def _take_in(self) -> None:
        """Show what the render thread has done."""
        if self.app.take_in():
            self._rhythm.stay_awake()
        state = self.app.state
        title = f"{state.info.name} - {TITLE}" if state is not None else TITLE
        if title != self._title:
            self._title = title
            dpg.set_viewport_title(title)
        preferences = self.app.preferences
        looks_otherwise = (preferences.theme, preferences.ui_scale) != self._looks
        if looks_otherwise and not self._pointer.is_dragging:
            self._build_side()
            dpg.set_viewport_clear_color(list(theme.BACKGROUND))
        margin = theme.px(MARGIN_PX)
        size_px = (dpg.get_viewport_client_width(), dpg.get_viewport_client_height())
        if size_px != self._size_px:
            self._size_px = size_px
            dpg.configure_item(self._ground, width=size_px[0], height=size_px[1])
        width = size_px[0] - theme.px(SIDE_PX) - 3 * margin
        height = size_px[1] - 2 * margin
        self._timeline.resize(max(1, width))
        if strip_px := self._timeline.height_px:
            height -= strip_px + margin
        self._toasts.lift_px = strip_px
        self._view.resize(max(1, width), max(1, height))
        self._view.update()
        for panel in (*self._panels, *self._overlays):
            panel.update()
        if WINDOW_SHOT in self.app.opened:
            self.app.toggle(WINDOW_SHOT)
            # The driver writes what it draws next; where it cannot, it does not say so.
            if (path := self.app.writable_path(".png")) is not None:
                dpg.output_frame_buffer(str(path))
                self.app.say(f"Saved {path}", path)
