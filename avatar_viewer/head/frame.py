"""The frame of the head: what one unit is, where the origin lies, which box is the head.

World and canonical coordinates share it: x to the subject's left, y up, z to the front.
"""

from __future__ import annotations

import numpy as np

from avatar_viewer.errors import AvatarError

UNITS_PER_METRE = 4.0

ORIGIN_FROM_EYES_M = (0.0, -0.028, -0.060)
"""From the middle between the eyeballs' centres to the origin, in metres."""

BOX_MIN = (-0.62, -0.80, -0.66)
BOX_MAX = (0.62, 0.66, 0.56)
"""The canonical box, in units; the head is cut open where it leaves it."""

DIRECTIONS = {
    "subject's left": (1, 0, 0),
    "subject's right": (-1, 0, 0),
    "up": (0, 1, 0),
    "down": (0, -1, 0),
    "front": (0, 0, 1),
    "back": (0, 0, -1),
}


def subject_from_head(axes: str) -> np.ndarray:
    """[3,3] the rotation to x = subject's left, y = up, z = front, which are glTF's axes.

    `axes` says in a head model's config what its own are: "x = front, y = subject's left, z = up".
    """
    named = dict(part.split(" = ", 1) for part in axes.split(", ") if " = " in part)
    columns = np.array([DIRECTIONS.get(named.get(name, ""), (0, 0, 0)) for name in "xyz"]).T
    if not np.isclose(np.linalg.det(columns), 1):
        raise AvatarError(
            f"axes: expected right-handed ones such as x = subject's left, y = up, z = front, "
            f"found {axes}"
        )
    return columns
