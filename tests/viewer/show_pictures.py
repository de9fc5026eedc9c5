"""Shows pictures one after the other in a window, for a test that needs a display.

    python show_pictures.py

Prints as JSON what stands on the screen after the drawing that follows each change, and by how
much the process has grown meanwhile.
"""

import json
import os

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import ImageGrab

from avatar_viewer.memory import resident_mb
from avatar_viewer.viewer.drawn_picture import DrawnPicture

SIDE_PX, TIMES = 512, 60


def main() -> None:
    dpg.create_context()
    registry = dpg.add_texture_registry()
    with dpg.window(pos=(0, 0), width=600, height=600, no_title_bar=True):
        drawlist = dpg.add_drawlist(560, 560)
    picture = DrawnPicture(registry, drawlist)
    picture.put((0, 0), (560, 560))
    dpg.create_viewport(width=600, height=600, x_pos=0, y_pos=0, vsync=False)
    dpg.setup_dearpygui()
    dpg.show_viewport()
    seen, before_mb = [], 0.0
    for i in range(TIMES):
        picture.show(np.full((SIDE_PX, SIDE_PX, 3), 4 * i, np.uint8))
        dpg.render_dearpygui_frame()
        if i % 10 == 9:
            screen = ImageGrab.grab(xdisplay=os.environ["DISPLAY"])
            seen.append(screen.convert("RGB").getpixel((300, 300)))
        if i == TIMES // 2:
            before_mb = resident_mb(os.getpid())[0] or 0.0
    grown_mb = (resident_mb(os.getpid())[0] or 0.0) - before_mb
    dpg.destroy_context()
    print(json.dumps({"seen": seen, "grown_mb": grown_mb}))


if __name__ == "__main__":
    main()
