"""Which frames a data set gets: every frame is a function of its split, seed and index alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from avatar_viewer.data.makehuman import METRES_PER_UNIT
from avatar_viewer.data.synthesis import expressions as face
from avatar_viewer.data.synthesis.expressions import Expression
from avatar_viewer.data.synthesis.made_up_motion import made_up_gaze, make_up_motion
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.raster.camera import Orbit

FOOTAGE = "footage"
SPLITS = ("train", "val", "test", "sequence", FOOTAGE)
SEQUENCE_FRAMES = 48
"""Of one sequence: two seconds."""
FOOTAGE_FRAMES, FOOTAGE_FPS = 96, 24
"""Of one piece of footage: four seconds of talk."""
FOOTAGE_FILE = "footage.mp4"
"""In the data set's folder: its frames of that split, in their order."""
ORBIT_CENTRE = (0.0, -0.28, -0.60)
"""From the middle of the eyes to the target of the cameras, decimetres."""
HALF_HEIGHT = 1.64
"""What the middle camera sees above and below its target, decimetres."""
AZIMUTHS_DEG, ELEVATIONS_DEG, FOVS_DEG = (-75.0, 75.0), (-20.0, 30.0), (20.0, 25.0)
PLASTIC = 1.32471795724474602596
"""The root of x^3 = x + 1: its powers make the R2 low-discrepancy sequence."""
TRAIN_CYCLE = (
    *("corner", "mixture", "viseme", "named", "mixture", "pad blend"),
    *("mixture", "viseme", "mixture", "named", "viseme", "pad blend"),
)


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` equal parts, counted from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of "I/N"; raises AvatarError for what is none."""
        index, slash, total = text.partition("/")
        if not (slash and index.isdecimal() and total.isdecimal()):
            raise AvatarError(f"--shard: expected I/N such as 1/8, found '{text}'")
        if not 1 <= int(index) <= int(total):
            raise AvatarError(f"--shard: expected I from 1 to N, found '{text}'")
        return cls(int(index), int(total))


@dataclass(frozen=True)
class PlannedFrame:
    """What a frame shows and how; `record` is its line in the frame list."""

    id: str
    split: str
    seed: int
    index: int
    kind: str
    expression: Expression
    orbit: Orbit
    """Metres, in the data set's frame."""

    def record(self, size_px: int) -> dict:
        camera = self.orbit.camera(size_px, size_px)
        return {
            "id": self.id,
            "file": f"frames/{self.id}.webp",
            "split": self.split,
            "seed": self.seed,
            "kind": self.kind,
            "expression": self.expression,
            "camera": {
                "camera_from_world": [float(f"{x:.9g}") for x in camera.camera_from_world],
                "fov_deg": camera.fov_deg,
                "width": size_px,
                "height": size_px,
            },
            "azimuth_deg": self.orbit.azimuth_deg,
            "elevation_deg": self.orbit.elevation_deg,
        }


def planned_frames(
    split: str, seed: int, frames: int, eye_centre_m: np.ndarray, shard: Shard | None = None
) -> Iterator[PlannedFrame]:
    """The first `frames` frames of a split, or those of them that fall to a shard."""
    shard = shard or Shard()
    for index in range(shard.index - 1, frames, shard.count):
        yield planned_frame(split, seed, index, eye_centre_m)


def planned_frame(split: str, seed: int, index: int, eye_centre_m: np.ndarray) -> PlannedFrame:
    """Frame `index` of a split. Splits and seeds never share a random number."""
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    if split == "sequence":
        number, step = divmod(index, SEQUENCE_FRAMES)
        frame_id = f"sequence_s{seed}_{number:03d}_{step:03d}"
        kind = "sequence"
        expression, orbit = _sequence_frame(seed, number, step / (SEQUENCE_FRAMES - 1))
    elif split == FOOTAGE:
        number, step = divmod(index, FOOTAGE_FRAMES)
        frame_id = f"{FOOTAGE}_s{seed}_{number:03d}_{step:03d}"
        kind = FOOTAGE
        expression, orbit = _footage_frame(seed, number, step)
    else:
        frame_id = f"{split}_s{seed}_{index:05d}"
        kind, expression = _train_expression(index, rng) if split == "train" else _unseen(rng)
        orbit = _random_view(split, seed, index, rng)
    centre = np.asarray(eye_centre_m) + np.multiply(ORBIT_CENTRE, METRES_PER_UNIT)
    x, y, z = (centre + np.multiply(orbit.target, METRES_PER_UNIT)).tolist()
    return PlannedFrame(
        id=frame_id,
        split=split,
        seed=seed,
        index=index,
        kind=kind,
        expression=expression,
        orbit=Orbit(
            orbit.azimuth_deg,
            orbit.elevation_deg,
            orbit.distance * METRES_PER_UNIT,
            (x, y, z),
            orbit.fov_deg,
        ),
    )


def _train_expression(index: int, rng: np.random.Generator) -> tuple[str, Expression]:
    kind = TRAIN_CYCLE[index % len(TRAIN_CYCLE)]
    if kind == "corner":
        name = list(face.CORNERS)[index // len(TRAIN_CYCLE) % len(face.CORNERS)]
        return f"corner: {name}", face.plausible(face.CORNERS[name])
    if kind == "named":
        name, expression = face.named(rng)
        return f"named: {name}", expression
    return kind, face.RANDOM_KINDS[kind](rng)


def _unseen(rng: np.random.Generator) -> tuple[str, Expression]:
    """Held-out frames: half mixtures, the rest speech and places on the pad."""
    kind = str(rng.choice(list(face.RANDOM_KINDS), p=(0.5, 0.25, 0.25)))
    return kind, face.RANDOM_KINDS[kind](rng)


def _random_view(split: str, seed: int, index: int, rng: np.random.Generator) -> Orbit:
    """Azimuth and elevation from the R2 sequence, so that any prefix covers their range.

    The target is relative to the orbits' centre.
    """
    start = np.random.default_rng((seed, SPLITS.index(split), 1 << 32)).random(2)
    u, v = ((start + index / np.array([PLASTIC, PLASTIC**2])) % 1).tolist()
    fov_deg = round(float(rng.uniform(*FOVS_DEG)), 3)
    x, y, z = rng.uniform(-0.2, 0.2, 3).tolist()
    return Orbit(
        azimuth_deg=round(float(np.interp(u, (0, 1), AZIMUTHS_DEG)), 2),
        elevation_deg=round(float(np.interp(v, (0, 1), ELEVATIONS_DEG)), 2),
        distance=_distance(fov_deg) * rng.uniform(0.88, 1.12),
        target=(x, y, z),
        fov_deg=fov_deg,
    )


def _distance(fov_deg: float) -> float:
    return HALF_HEIGHT / float(np.tan(np.radians(fov_deg) / 2))


def _sequence_frame(seed: int, number: int, time: float) -> tuple[Expression, Orbit]:
    """At `time` in 0..1 of a sequence: four expressions and three views, smoothly passed through.

    Every sequence begins neutral, and blinks once.
    """
    rng = np.random.default_rng((seed, SPLITS.index("sequence"), number, 1 << 32))
    corners = [face.CORNERS[str(name)] for name in rng.permutation(list(face.CORNERS)[1:])]
    keys = [{}, face.plausible(corners[0]), face.mixture(rng), face.plausible(corners[1])]
    place, share = _between(time, len(keys))
    blink = float(np.exp(-(((time - rng.uniform(0.25, 0.75)) / 0.03) ** 2)))
    expression = face.added(
        face.scaled(keys[place], 1 - share),
        face.scaled(keys[place + 1], share),
    )
    turn = 1 if rng.random() < 0.5 else -1
    azimuths = turn * np.array([-1.0, rng.uniform(-0.2, 0.2), 1.0]) * rng.uniform(25, 45)
    elevations = rng.uniform(-8, 14, 3)
    place, share = _between(time, 3)
    azimuth, elevation = (
        float(path[place] * (1 - share) + path[place + 1] * share)
        for path in (azimuths, elevations)
    )
    fov_deg = 22.0
    return face.tidied(face.with_blink(expression, blink)), Orbit(
        round(azimuth, 3), round(elevation, 3), _distance(fov_deg), (0.0, 0.0, 0.0), fov_deg
    )


def _footage_frame(seed: int, number: int, step: int) -> tuple[Expression, Orbit]:
    """Talk, as a camera before the face sees it; the head sways a little.

    It begins with a face at rest.
    """
    rng = np.random.default_rng((seed, SPLITS.index(FOOTAGE), number, 1 << 32))
    weights = make_up_motion(rng, FOOTAGE_FRAMES).weights[step]
    gaze = made_up_gaze(rng, FOOTAGE_FRAMES)[step]
    expression = dict(zip(ARKIT_UNITS, weights.tolist(), strict=True))
    gaze = face.scaled(gaze, 1 - 0.9 * expression["eyeBlinkLeft"])  # looking down lowers lids too
    sway = np.sin(2 * np.pi * (step / FOOTAGE_FRAMES * rng.uniform(0.7, 1.2, 2) + rng.random(2)))
    azimuth, elevation = (0, 4) + sway * (9, 3)
    fov_deg = 22.0
    return face.tidied(face.added(expression, gaze)), Orbit(
        round(float(azimuth), 3),
        round(float(elevation), 3),
        _distance(fov_deg),
        (0.0, 0.0, 0.0),
        fov_deg,
    )


def _between(time: float, keys: int) -> tuple[int, float]:
    """The key before `time`, and the eased share of the next one."""
    place = min(int(time * (keys - 1)), keys - 2)
    share = time * (keys - 1) - place
    return place, share * share * (3 - 2 * share)
