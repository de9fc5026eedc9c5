"""Expressions of the synthetic person: presets, random mixtures, and what can go together.

An expression is ``{ARKit unit: weight}``; absent means 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from avatar_viewer.head.arkit_units import ARKIT_UNITS

Expression = dict[str, float]


def both(**weights: float) -> Expression:
    """The same weights on the left and on the right."""
    return {name + side: weight for name, weight in weights.items() for side in ("Left", "Right")}


CORNERS: dict[str, Expression] = {
    "neutral": {},
    "big smile with teeth": {"jawOpen": 0.14}
    | both(mouthSmile=0.9, mouthUpperUp=0.55, mouthLowerDown=0.45, cheekSquint=0.65, eyeSquint=0.4),
    "open-mouth surprise": {"browInnerUp": 0.9, "jawOpen": 0.6, "mouthFunnel": 0.15}
    | both(browOuterUp=0.9, eyeWide=0.8),
    "pucker with frown": {"mouthPucker": 0.95, "mouthFunnel": 0.15}
    | both(browDown=0.85, eyeSquint=0.3, noseSneer=0.15),
}
"""The corners of the expression pad (what is `plausible` of them): top left, top right, bottom
left, bottom right."""

NAMED: dict[str, Expression] = {
    "closed smile": both(mouthSmile=0.9, cheekSquint=0.5, eyeSquint=0.25, mouthDimple=0.3),
    "smile teeth": CORNERS["big smile with teeth"],
    "surprise": CORNERS["open-mouth surprise"],
    "pucker frown": CORNERS["pucker with frown"],
    "open": {"jawOpen": 0.9},
    "frown": both(browDown=0.9, mouthFrown=0.8, eyeSquint=0.4) | {"mouthShrugLower": 0.4},
    "closed": both(eyeBlink=1.0),
    "wink L": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.4},
    "wink R": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.6, "mouthSmileRight": 0.4},
    "pucker": {"mouthPucker": 1.0},
    "funnel": {"mouthFunnel": 1.0, "jawOpen": 0.15},
    "sneer": both(noseSneer=0.95, mouthUpperUp=0.7, browDown=0.6),
    "puff": {"cheekPuff": 1.0} | both(mouthPress=0.3),
    "jaw L": {"jawLeft": 1.0},
    "jaw R": {"jawRight": 1.0},
    "jaw F": {"jawForward": 1.0},
    "mouth L": {"mouthLeft": 1.0},
    "mouth R": {"mouthRight": 1.0},
    "gaze L": {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9},
    "gaze R": {"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9},
    "gaze U": both(eyeLookUp=0.9),
    "gaze D": both(eyeLookDown=0.9),
    "brow up": {"browInnerUp": 1.0} | both(browOuterUp=1.0),
    "brow down": both(browDown=1.0),
    "brow inner": {"browInnerUp": 1.0},
    "brow one": {"browOuterUpLeft": 1.0, "browDownRight": 0.5},
    "tongue": {"jawOpen": 0.5, "tongueOut": 0.95},
    "roll": {"mouthRollLower": 0.9, "mouthRollUpper": 0.9},
    "shrug": {"mouthShrugUpper": 0.8, "mouthShrugLower": 0.9},
    "wide": both(eyeWide=1.0),
    "squint": both(eyeSquint=1.0),
    "sad": both(mouthFrown=0.9) | {"browInnerUp": 0.8},
    "stretch": both(mouthStretch=0.9) | {"jawOpen": 0.1},
    "press": both(mouthPress=1.0),
    "dimple": both(mouthDimple=1.0),
    "half smile L": {"mouthSmileLeft": 0.9},
    "half smile R": {"mouthSmileRight": 0.9},
}
KEEPS_ITS_GAZE = ("gaze", "closed")
"""Named expressions that begin so are about the eyes: no random gaze is added."""

VISEMES: tuple[Expression, ...] = (
    {"jawOpen": 0.7},  # aa
    {"jawOpen": 0.5} | both(mouthStretch=0.4, mouthLowerDown=0.4),  # ae
    {"jawOpen": 0.15}
    | both(mouthSmile=0.4, mouthStretch=0.4, mouthLowerDown=0.5, mouthUpperUp=0.3),  # ee
    {"jawOpen": 0.4, "mouthFunnel": 0.7},  # oh
    {"jawOpen": 0.15, "mouthPucker": 0.85, "mouthFunnel": 0.3},  # oo
    {"jawOpen": 0.08, "mouthRollLower": 0.6} | both(mouthUpperUp=0.3),  # f, v
    {"jawOpen": 0.12, "mouthClose": 0.1, "mouthRollLower": 0.35, "mouthRollUpper": 0.35}
    | both(mouthPress=0.3),  # m, b, p
    {"jawOpen": 0.25, "tongueOut": 0.35} | both(mouthLowerDown=0.2),  # th
    {"jawOpen": 0.06} | both(mouthStretch=0.3, mouthLowerDown=0.4, mouthUpperUp=0.35),  # s
    {"jawOpen": 0.12, "mouthFunnel": 0.55} | both(mouthLowerDown=0.25, mouthUpperUp=0.25),  # sh
    {"jawOpen": 0.3, "mouthClose": 0.24},  # lips closed over an open jaw
)

OPPOSED = (
    ("mouthSmile", "mouthFrown"),
    ("eyeBlink", "eyeWide"),
    ("browOuterUp", "browDown"),
    ("eyeLookUp", "eyeLookDown"),
    ("eyeLookIn", "eyeLookOut"),
    ("eyeSquint", "eyeWide"),
)
"""Units of one side that pull the same skin opposite ways."""
MOUTH_UNITS = (
    *("mouthPucker", "mouthFunnel", "mouthShrugLower", "mouthShrugUpper", "mouthRollUpper"),
    *("mouthRollLower", "mouthLeft", "mouthRight", "mouthClose"),
)
MOUTH_PAIRS = (
    *("mouthSmile", "mouthFrown", "mouthStretch", "mouthUpperUp", "mouthLowerDown"),
    *("mouthDimple", "mouthPress"),
)
MOUTH_LIMIT = 1.9
"""How much the mouth's units may add up to before the lips fold into themselves."""


def added(*parts: Mapping[str, float]) -> Expression:
    """The sum of expressions, unit by unit."""
    total: Expression = {}
    for part in parts:
        for unit, weight in part.items():
            total[unit] = total.get(unit, 0.0) + weight
    return total


def scaled(expression: Mapping[str, float], factor: float) -> Expression:
    return {unit: weight * factor for unit, weight in expression.items()}


def plausible(expression: Mapping[str, float]) -> Expression:
    """What a face can do of it: no opposed units, and not too much at once; tidied.

    It jumps where of two opposed units the other becomes the stronger.
    """
    face = dict.fromkeys(ARKIT_UNITS, 0.0) | dict(expression)
    _settle(face, ("jawLeft", "jawRight"))
    _settle(face, ("mouthLeft", "mouthRight"))
    for side in ("Left", "Right"):
        for one, other in OPPOSED:
            _settle(face, (one + side, other + side))
        _settle_lids(face, side)
    if face["browInnerUp"] > 0.3 and max(face["browDownLeft"], face["browDownRight"]) > 0.3:
        face["browInnerUp"] *= 0.5
    _settle_mouth(face)
    return tidied(face)


def tidied(expression: Mapping[str, float]) -> Expression:
    """Weights in 0..1, to four digits, in order, without the smallest."""
    clipped = {unit: min(1.0, max(0.0, weight)) for unit, weight in sorted(expression.items())}
    return {unit: round(float(weight), 4) for unit, weight in clipped.items() if weight > 0.004}


def with_blink(expression: Mapping[str, float], blink: float) -> Expression:
    """With lids so far on their way to closed, 0..1, whatever they did before."""
    face = dict(expression)
    for side in ("Left", "Right"):
        for unit in ("eyeWide", "eyeSquint"):
            face[unit + side] = face.get(unit + side, 0.0) * (1 - blink)
        closed = face.get("eyeBlink" + side, 0.0)
        face["eyeBlink" + side] = closed + (1 - closed) * blink
    return face


def _settle(face: Expression, units: tuple[str, str]) -> None:
    """Of two opposed units the stronger stays."""
    if all(face[unit] for unit in units):
        face[min(units, key=face.__getitem__)] = 0.0


def _settle_lids(face: Expression, side: str) -> None:
    closed = face["eyeBlink" + side]
    for unit in ("eyeLookDown", "eyeLookUp"):
        face[unit + side] *= 1 - 0.9 * closed
    face["eyeSquint" + side] *= 1 - 0.7 * closed
    # Looking down lowers the lid already.
    face["eyeBlink" + side] = min(closed, 1 - 0.5 * face["eyeLookDown" + side])


def _settle_mouth(face: Expression) -> None:
    if face["tongueOut"] > 0.05:  # not through closed teeth
        face["jawOpen"] = max(face["jawOpen"], 0.3 + 0.2 * face["tongueOut"])
    jaw = face["jawOpen"]
    face["mouthClose"] = min(face["mouthClose"], 0.85 * jaw, 0.3)
    for unit in ("cheekPuff", "mouthPressLeft", "mouthPressRight", "mouthShrugUpper"):
        face[unit] *= max(0.0, 1 - 1.6 * jaw)
    pairs = [pair + side for pair in MOUTH_PAIRS for side in ("Left", "Right")]
    total = sum(face[u] for u in MOUTH_UNITS) + sum(face[u] for u in pairs) / 2 + 0.5 * jaw
    if total > MOUTH_LIMIT:
        for unit in ("jawOpen", *MOUTH_UNITS, *pairs):
            face[unit] *= MOUTH_LIMIT / total


def random_gaze(rng: np.random.Generator, strength: float = 1.0) -> Expression:
    """Both eyes to one random side."""
    x, y = (np.clip(rng.normal(0, 0.35, 2), -0.9, 0.9) * strength).tolist()
    left, right = ("Out", "In") if x > 0 else ("In", "Out")
    sideways = {f"eyeLook{left}Left": abs(x), f"eyeLook{right}Right": abs(x)}
    return sideways | (both(eyeLookUp=y) if y > 0 else both(eyeLookDown=-y))


def _bases() -> tuple[str, ...]:
    """What a mixture draws from: units without their side; gaze and sideways moves as one each."""
    special = {"jawLeft", "jawRight", "mouthLeft", "mouthRight", "mouthClose"}
    names = {
        unit.removesuffix("Left").removesuffix("Right")
        for unit in ARKIT_UNITS
        if unit not in special and not unit.startswith("eyeLook")
    }
    return (*sorted(names), "jawSide", "mouthSide", "gaze")


BASES = _bases()


def mixture(rng: np.random.Generator) -> Expression:
    """Three to eight random units, 70 of 100 times symmetric."""
    symmetric = rng.random() < 0.7
    parts: list[Expression] = []
    for drawn in rng.choice(BASES, rng.integers(3, 9), replace=False):
        base, weight = str(drawn), float(rng.beta(1.3, 1.5))
        side = "Left" if rng.random() < 0.5 else "Right"
        if base == "gaze":
            parts.append(random_gaze(rng, 1.4))
        elif base in ("jawSide", "mouthSide"):
            parts.append({base.removesuffix("Side") + side: 0.9 * weight})
        elif base in ARKIT_UNITS:
            parts.append({base: weight})
        elif base == "eyeBlink":  # lids are seldom half closed
            parts.append(both(eyeBlink=weight if rng.random() < 0.5 else 1.0))
        elif symmetric:
            parts.append(both(**{base: weight}))
        else:
            left, right = (weight * rng.random(2) ** 0.5).tolist()
            parts.append({base + "Left": left, base + "Right": right})
    return plausible(added(*parts))


def viseme(rng: np.random.Generator) -> Expression:
    """Between two sounds, with gaze, blinks, and at times brows or a smile."""
    first, second = rng.choice(len(VISEMES), 2, replace=False)
    share, strength = 0.6 * rng.random(), rng.uniform(0.55, 1.15)
    lids = 1.0 if rng.random() < 0.12 else rng.uniform(0, 0.25)
    parts = [
        scaled(VISEMES[first], (1 - share) * strength),
        scaled(VISEMES[second], share * strength),
        random_gaze(rng),
        both(eyeBlink=lids),
    ]
    if rng.random() < 0.4:
        parts.append({"browInnerUp": rng.uniform(0, 0.7)} | both(browOuterUp=rng.uniform(0, 0.7)))
    if rng.random() < 0.25:
        parts.append(both(mouthSmile=rng.uniform(0.1, 0.6)))
    return plausible(added(*parts))


def named(rng: np.random.Generator) -> tuple[str, Expression]:
    """A preset's name, and the preset weakened, at times with a gaze."""
    name = sorted(NAMED)[rng.integers(len(NAMED))]
    face = scaled(NAMED[name], rng.uniform(0.4, 1.0))
    if not name.startswith(KEEPS_ITS_GAZE) and rng.random() < 0.4:
        face = added(face, random_gaze(rng, 0.5))
    return name, plausible(face)


def pad_blend(rng: np.random.Generator) -> Expression:
    """A place on the expression pad: the four corners, blended bilinearly as the pad does it."""
    x, y = rng.random(2).tolist()
    shares = ((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y)
    corners = [plausible(corner) for corner in CORNERS.values()]
    return tidied(added(*(scaled(c, s) for c, s in zip(corners, shares, strict=True))))


RANDOM_KINDS: dict[str, Callable[[np.random.Generator], Expression]] = {
    "mixture": mixture,
    "viseme": viseme,
    "pad blend": pad_blend,
}
