"""The frame of the head: what one unit is, where the origin lies, which box is the head.

World and canonical coordinates share it: x to the subject's left, y up, z to the front.
"""

UNITS_PER_METRE = 4.0

ORIGIN_FROM_EYES_M = (0.0, -0.028, -0.060)
"""From the middle between the eyeballs' centres to the origin, in metres."""

BOX_MIN = (-0.62, -0.80, -0.66)
BOX_MAX = (0.62, 0.66, 0.56)
"""The canonical box, in units; the head is cut open where it leaves it."""
