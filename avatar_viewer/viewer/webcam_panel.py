"""The webcam's window: which camera, what it shows with the face that was found, and how fast."""

# Dear PyGui annotates its context managers as the tags that they yield.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dearpygui.dearpygui as dpg

from avatar_viewer.viewer import theme
from avatar_viewer.viewer.app import ViewerApp
from avatar_viewer.viewer.buttons import action_button, tooltip
from avatar_viewer.viewer.drawn_picture import DrawnPicture
from avatar_viewer.viewer.overlay import EDGE_PX, Overlay
from avatar_viewer.viewer.webcam import WEBCAM

if TYPE_CHECKING:
    from avatar_viewer.expression.live_tracker import LiveTrack

GAP_PX, CAMERAS_PX = 8, 80
HEIGHT_PX = 140
"""Of the source's picture."""
START = {False: "Start", True: "Stop"}
OFF = "Off"


class WebcamPanel(Overlay):
    """It stays open beside others: `app.webcam` is what it shows and writes."""

    name = WEBCAM
    title = "Webcam"
    size = (260, 336)

    def __init__(self, app: ViewerApp) -> None:
        super().__init__(app)
        self._webcam = app.webcam
        self._registry = dpg.add_texture_registry()
        self._shown: dict[int | str, dict[str, Any]] = {}

    def fill(self, width_px: int) -> None:
        """The device, the buttons, the picture, and what is measured."""
        app, webcam, gap = self._app, self._webcam, theme.px(GAP_PX)
        half, cameras_px = (width_px - gap) // 2, theme.px(CAMERAS_PX)
        self._shown.clear()
        with dpg.group(horizontal=True):
            self._device = dpg.add_input_text(
                default_value=webcam.device,
                hint="First camera",
                width=width_px - cameras_px - gap,
                callback=lambda _, text: setattr(webcam, "device", text),
            )
            tooltip(self._device, "Name or number of a camera, or the path of a video file")
            cameras = dpg.add_button(
                label="Cameras", width=cameras_px, callback=lambda: self._list_cameras()
            )
        app.text_inputs.append(self._device)
        with dpg.popup(cameras, mousebutton=dpg.mvMouseButton_Left, min_size=(1, 1)) as self._menu:
            pass
        with dpg.group(horizontal=True):
            self._start = action_button(app, "Shift+W", START[False], half)
            action_button(app, "N", "Take neutral", half)
        self._width_px = width_px
        self._drawlist = dpg.add_drawlist(width_px, theme.px(HEIGHT_PX))
        self._draw()
        self._problem = dpg.add_text(color=theme.current().error, wrap=width_px, show=False)
        self._figures = dpg.add_text()
        self._head = dpg.add_checkbox(
            label="The head turns too",
            callback=lambda _, value: setattr(webcam, "turns_head", value),
        )
        action_button(app, "Shift+K", "Keep as a sequence", width_px)

    def empty(self) -> None:
        """Its field is gone."""
        self._app.text_inputs.remove(self._device)

    def update(self) -> None:
        """Show it where asked for, with the newest picture."""
        super().update()
        if not self.is_open:
            return
        webcam, track = self._webcam, self._webcam.track
        self._configure(self._start, label=START[webcam.is_on])
        if dpg.get_value(self._device) != webcam.device:
            dpg.set_value(self._device, webcam.device)
        if dpg.get_value(self._head) != webcam.turns_head:
            dpg.set_value(self._head, webcam.turns_head)
        dpg.set_value(self._figures, _figures(track) if webcam.is_on else OFF)
        self._show_preview(track)
        self._show_problem(webcam.problem)

    def _open(self) -> None:
        """In a corner, where it hides no face."""
        super()._open()
        dpg.set_item_pos(self.window, [theme.px(EDGE_PX)] * 2)

    def _draw(self) -> None:
        far = (self._width_px, theme.px(HEIGHT_PX))
        colour = theme.current().widget
        dpg.draw_rectangle((0, 0), far, fill=colour, color=colour, parent=self._drawlist)
        dpg.delete_item(self._registry, children_only=True)
        self._picture = DrawnPicture(self._registry, self._drawlist)

    def _show_problem(self, problem: str) -> None:
        """In the picture's place."""
        self._configure(self._drawlist, show=not problem)
        self._configure(self._problem, show=bool(problem))
        dpg.set_value(self._problem, problem)

    def _show_preview(self, track: LiveTrack | None) -> None:
        """The newest picture, as large as there is room for it."""
        preview = None if track is None else track.preview
        if not self._picture.show(preview) or preview is None:
            return
        height, width = preview.shape[:2]
        room = (self._width_px, theme.px(HEIGHT_PX))
        scale = min(room[0] / width, room[1] / height)
        left, top = (room[0] - scale * width) / 2, (room[1] - scale * height) / 2
        far = (left + scale * width, top + scale * height)
        self._picture.put((left, top), far)

    def _list_cameras(self) -> None:
        dpg.delete_item(self._menu, children_only=True)
        found = self._webcam.devices()
        for device in found:
            dpg.add_selectable(
                label=f"{device.label} ({device.name})",
                parent=self._menu,
                user_data=device.name,
                callback=lambda _, __, name: setattr(self._webcam, "device", name),
            )
        if not found:
            dpg.add_text("None found", parent=self._menu, color=theme.current().dim_text)

    def _configure(self, item: int | str, **options: Any) -> None:
        if self._shown.get(item) != options:
            self._shown[item] = options
            dpg.configure_item(item, **options)


def _figures(track: LiveTrack | None) -> str:
    """How fast it is, or what there is to wait for."""
    if track is None or track.status:
        return track.status if track is not None else ""
    if not track.has_face:
        return "No face in the picture"
    return f"{track.fps:.0f} expressions a second, {track.latency_ms:.0f} ms late"


class WebcamButton:
    """What opens it."""

    def __init__(self, app: ViewerApp, width_px: int) -> None:
        action_button(app, "W", "Webcam", width_px)

    def update(self) -> None:
        """Nothing."""
