"""The skin's material: colour, pores, lips, and lines that the expression draws.

Points are in Blender's axes: x = subject's left, y = back, z = up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_viewer.data.synthesis.body import Body
from avatar_viewer.data.synthesis.nodes import Graph, Signal, colour, tinted

SKIN, HAIR = "e3b49a", "2a1a12"
MOLES = ((0.47, -0.62, 0.013), (-0.36, -0.88, 0.011), (0.16, -1.62, 0.014))
"""From the middle of the eyes: x, up, radius."""
LINE_DRIVERS: dict[str, tuple[str, ...]] = {
    "line_raise": ("browInnerUp", "browOuterUp"),
    "line_knit": ("browDown", "noseSneer"),
    "line_squint": ("eyeSquint", "cheekSquint", "mouthSmile"),
    "line_fold": ("mouthSmile", "noseSneer", "mouthUpperUp"),
}
"""Lines of an expression, and the units that draw them on their side."""


def to_blender(points: np.ndarray) -> np.ndarray:
    """[...,3] with y up -> z up."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def line_strengths(expression: dict[str, float]) -> dict[str, float]:
    """How deep each line of `LINE_DRIVERS` is, 0..1, by its name with _left or _right."""
    strengths = {}
    for line, units in LINE_DRIVERS.items():
        for side in ("Left", "Right"):
            weights = [expression.get(u, expression.get(u + side, 0.0)) for u in units]
            strengths[f"{line}_{side.lower()}"] = min(1.0, max(weights) * 0.75 + sum(weights) / 6)
    return strengths


@dataclass(frozen=True)
class _Places:
    """Signals and landmarks that the parts of the skin share."""

    graph: Graph
    place: Signal
    """On the neutral person."""
    mirrored: Signal
    """The same on the left side."""
    eyes: np.ndarray
    nose: np.ndarray
    eye_distance: float

    def blob(self, offset: tuple[float, float, float], radii: tuple[float, float, float]) -> Signal:
        """On both sides, beside the middle of the eyes."""
        return self.graph.blob(self.mirrored, self.eyes + offset, radii)


def build_skin(graph: Graph, body: Body, lips: Signal, inside: Signal, look: int) -> None:
    """lips and inside: masks 0..1 of the lips and of the inside of the mouth."""
    place = graph.attribute("rest", "Vector")
    x, y, z = graph.axes(place)
    mirrored = graph.vector(graph.math("ABSOLUTE", x), y, z)
    spots = _Places(
        graph, place, mirrored, to_blender(body.eyes), to_blender(body.nose_tip), body.eye_distance
    )
    coarse, fine = graph.noise(place, 14, 4), graph.noise(place, 60, 3)
    cheek = spots.blob((body.eye_distance * 0.72, -0.05, -0.42), (0.30, 0.5, 0.24))
    nose = graph.blob(mirrored, spots.nose + np.array((0, 0.05, -0.02)), (0.22, 0.28, 0.17))
    forehead = spots.blob((0, 0.1, 0.55), (0.7, 0.5, 0.3))
    lip = graph.step(lips + (fine - 0.5) * 0.15, 0.42, 0.85)
    tone = _tone(spots, coarse, fine, cheek, nose, forehead, _ear_blob(spots, body))
    tone = _marks(spots, tone, cheek, nose)
    lip_colour = graph.mix(
        graph.step(graph.noise(place, 30, 3), 0.35, 0.65), colour("b5665c"), colour("a3554f")
    )
    tone = graph.mix(lip * 0.70, tone, lip_colour)
    tone = graph.mix(inside, tone, colour("b8605a"))
    hair = colour(HAIR)
    scalp = tuple(1.6 * value + 0.01 for value in hair)
    tone = graph.mix(graph.attribute("scalp") * 0.8, tone, scalp)
    tone = graph.mix(graph.attribute("brow") * 0.25, tone, hair)
    height = _relief(spots, lip)
    if look >= 2:
        lines = _lines(spots, x)
        height = height + _pores(spots, cheek, nose, forehead) + lines * -1.0
        tone = graph.mix(
            graph.step(lines, 0.2, 3.5) * 0.30, tone, tinted(colour(SKIN), 0.62, 0.42, 0.36)
        )
    oil = nose * 0.14 + forehead * 0.10
    rough = (coarse - 0.5) * 0.30 + (fine - 0.5) * 0.25 + 0.50
    graph.show(
        graph.principled(
            {
                "Base Color": tone,
                "Roughness": rough - oil - lip * 0.10 - inside * 0.18,
                "Subsurface Weight": 1.0,
                "Subsurface Radius": (1.0, 0.36, 0.20),
                "Subsurface Scale": 0.020,
                "Normal": graph.bump(height, 0.62, 0.011),
                "Specular IOR Level": 0.52,
                "Coat Weight": 0.04,
                "Coat Roughness": 0.3,
                "Emission Color": colour("a8403c"),
                "Emission Strength": inside * graph.attribute("mouth_light", of_object=True),
            },
            subsurface_method="BURLEY",
        )
    )


def _ear_blob(spots: _Places, body: Body) -> Signal:
    skin = body.neutral[body.used]
    side = np.abs(skin[skin[:, 1] > body.eyes[1] - 0.3, 0]).max()
    centre = (side, spots.eyes[1] + 1.1, spots.eyes[2] - 0.15)
    return spots.graph.blob(spots.mirrored, centre, (0.16, 0.4, 0.5))


def _tone(
    spots: _Places,
    coarse: Signal,
    fine: Signal,
    cheek: Signal,
    nose: Signal,
    forehead: Signal,
    ear: Signal,
) -> Signal:
    """Mottled skin, redder and darker where blood and thin skin show."""
    graph, base, apart = spots.graph, colour(SKIN), spots.eye_distance
    broad = graph.step(graph.noise(spots.place, 3.5, 4), 0.35, 0.7)
    tone = graph.mix(broad, base, tinted(base, 0.93, 0.84, 0.80))
    tone = graph.mix(graph.step(coarse, 0.45, 0.75) * 0.38, tone, tinted(base, 0.88, 0.70, 0.66))
    tone = graph.mix(graph.step(fine, 0.5, 0.8) * 0.26, tone, tinted(base, 0.80, 0.62, 0.55))
    red = tinted(base, 0.90, 0.58, 0.54)
    for part, share in ((cheek, 0.50), (nose, 0.42), (ear, 0.40)):
        tone = graph.mix(part * share, tone, red)
    tone = graph.mix(forehead * 0.25, tone, tinted(base, 1.0, 0.93, 0.80))
    below_eye = spots.blob((apart * 0.48, -0.2, -0.16), (0.2, 0.3, 0.065))
    upper_lid = spots.blob((apart * 0.5, -0.15, 0.12), (0.24, 0.4, 0.09))
    eye_corner = spots.blob((apart * 0.25, -0.1, -0.02), (0.05, 0.3, 0.05))
    tone = graph.mix(below_eye * 0.30, tone, tinted(base, 0.78, 0.60, 0.62))
    tone = graph.mix(upper_lid * 0.22, tone, tinted(base, 0.76, 0.55, 0.50))
    return graph.mix(eye_corner * 0.25, tone, tinted(base, 0.85, 0.45, 0.42))


def _marks(spots: _Places, tone: Signal, cheek: Signal, nose: Signal) -> Signal:
    """Moles, and freckles on cheeks and nose."""
    graph = spots.graph
    ahead = [
        graph.blob(spots.place, spots.eyes + np.array((x, -0.1, up)), (radius, 0.75, radius))
        for x, up, radius in MOLES
    ]
    mole = ahead[0]
    for other in ahead[1:]:
        mole = graph.math("MAXIMUM", mole, other)
    tone = graph.mix(mole * 0.42, tone, colour("7d4a34"))
    cells = graph.node("ShaderNodeTexVoronoi", {"Vector": spots.place, "Scale": 34.0})
    random = graph.node("ShaderNodeSeparateColor", {"Color": Signal(graph, cells.outputs["Color"])})
    chosen = graph.math("GREATER_THAN", Signal(graph, random.outputs[1]), 0.60)
    round_ = 1.0 - graph.step(Signal(graph, cells.outputs["Distance"]), 0.1, 0.5)
    freckle = round_ * chosen * (cheek * 0.5 + nose * 0.35)
    return graph.mix(freckle * 0.45, tone, colour("9a6347"))


def _relief(spots: _Places, lip: Signal) -> Signal:
    """Unevenness of all skin, and the lips' furrows."""
    graph, place = spots.graph, spots.place
    cells = graph.signal("ShaderNodeTexVoronoi", {"Vector": place, "Scale": 95.0}, "Distance")
    height = cells * 0.35 + (
        graph.noise(place, 24, 5, 0.6) * 0.8 + graph.noise(place, 130, 2) * 0.35
    )
    furrows = graph.noise(graph.stretched(place, (42, 10, 6)), 1.6, 2)
    return height + lip * furrows * 2.2


def _pores(spots: _Places, cheek: Signal, nose: Signal, forehead: Signal) -> Signal:
    """Small pits where skin is oily."""
    graph = spots.graph
    cells = graph.signal("ShaderNodeTexVoronoi", {"Vector": spots.place, "Scale": 70.0}, "Distance")
    pit = 1.0 - graph.step(cells, 0.05, 0.32)
    return pit * (cheek * 0.9 + nose * 1.1 + forehead * 0.5) * -1.0


def _lines(spots: _Places, x: Signal) -> Signal:
    """Depth of the lines that the expression draws, 0 on relaxed skin."""
    graph = spots.graph
    left = graph.step(x, -0.12, 0.12)

    def strength(line: str) -> Signal:
        sides = [graph.attribute(f"{line}_{side}", of_object=True) for side in ("left", "right")]
        return sides[0] * left + sides[1] * (1.0 - left)

    sideways, _, up = graph.axes(graph.vector_math("SUBTRACT", spots.mirrored, tuple(spots.eyes)))
    wander = graph.noise(spots.place, 3.0, 2)
    broken = graph.step(graph.noise(spots.place, 5.0, 3), 0.30, 0.60)
    furrows = _grooves(graph, up + sideways * sideways * 0.12 + wander * 0.10, 0.135, 0.016)
    brow = spots.blob((0, -0.1, 0.41), (0.42, 0.6, 0.15))
    depth = furrows * brow * broken * strength("line_raise") * 3.0
    frown = graph.bell(_squared((sideways - (up * 0.10 + 0.065 + wander * 0.03)) / 0.020))
    between = spots.blob((0.07, -0.1, 0.19), (0.08, 0.5, 0.09))
    depth = depth + frown * between * strength("line_knit") * 2.4
    corner = spots.eye_distance * 0.5 + 0.15
    angle = graph.math("ARCTAN2", up + 0.014 + wander * 0.03, sideways - (corner - 0.03))
    feet = spots.blob((corner + 0.09, 0.1, -0.01), (0.055, 0.5, 0.10))
    rays = _grooves(graph, angle + wander * 0.25, 0.42, 0.055)
    depth = depth + rays * feet * broken * strength("line_squint") * 1.5
    below = (up + 0.30) * -1.0  # from the nostril's wing down to beside the mouth
    fold = graph.bell(_squared((sideways - (below * 0.55 + 0.17)) / 0.020))
    beside_nose = spots.blob((0.25, 0.0, -0.45), (0.16, 0.7, 0.15))
    return depth + fold * beside_nose * strength("line_fold") * 2.5


def _squared(value: Signal) -> Signal:
    return value * value


def _grooves(graph: Graph, along: Signal, period: float, width: float) -> Signal:
    """1 in grooves that repeat every `period`, 0 between them."""
    apart = graph.math("PINGPONG", along, period / 2)
    return graph.bell(_squared(apart / width))
