"""Materials of all but the skin: eyes, mouth, hair, shirt."""

from __future__ import annotations

from typing import Any

import numpy as np

from avatar_viewer.data.synthesis.body import Body
from avatar_viewer.data.synthesis.clothes import NECKLINE_HEIGHT, NECKLINE_SLOPE
from avatar_viewer.data.synthesis.eyes import IRIS_RADIUS
from avatar_viewer.data.synthesis.nodes import Graph, Inputs, Signal, colour, tinted
from avatar_viewer.data.synthesis.skin import to_blender

IRIS = "6e5638"
HAIR_TONE = (0.062, 0.033, 0.018)
HAIR_DEPTHS = {"hair": 1.0, "brow": 1.15, "lash": 0.35}
"""Factors of the tone."""


def build_eye(graph: Graph) -> None:
    """Iris, pupil and sclera by the direction "eye" from the eyeball's centre, gaze along -y."""
    place = graph.attribute("eye", "Vector")
    x, _, z = graph.axes(place)
    off_axis = graph.math("SQRT", x * x + z * z)
    across = off_axis / IRIS_RADIUS
    angle = graph.math("ARCTAN2", z, x)
    spokes = graph.vector(graph.math("COSINE", angle), graph.math("SINE", angle), across * 0.35)
    fibres = graph.step(graph.noise(spokes, 9, 5, 0.7), 0.3, 0.7)
    iris = colour(IRIS)
    tone = graph.mix(fibres, tinted(iris, 0.45, 0.45, 0.45), tinted(iris, 1.7, 1.7, 1.6))
    tone = graph.mix(1.0 - graph.step(across, 0.42, 0.66), tone, tinted(iris, 1.3, 0.85, 0.5))
    tone = graph.mix(graph.step(across, 0.78, 1.0), tone, (0.012, 0.014, 0.016, 1.0))
    tone = graph.mix(1.0 - graph.step(across, 0.31, 0.37), tone, (0.001, 0.001, 0.001, 1.0))
    veins = graph.step(graph.noise(place, 7, 6, 0.75), 0.52, 0.62) * 0.16
    sclera = graph.mix(veins, colour("e9e3dc"), colour("c25b4e"))
    sclera = graph.mix(graph.step(off_axis, 0.62, 1.0), sclera, colour("d3a596"))
    tone = graph.mix(graph.step(across, 0.96, 1.10), tone, sclera)
    graph.show(
        graph.principled(
            {
                "Base Color": tone,
                "Roughness": 0.35,
                "Subsurface Weight": graph.step(across, 1.0, 1.15) * 0.6,
                "Subsurface Radius": (1, 0.5, 0.35),
                "Subsurface Scale": 0.02,
            }
        )
    )


def build_cornea(graph: Graph) -> None:
    """Clear but for its reflections."""
    clear = graph.signal("ShaderNodeBsdfTransparent")
    shine = graph.signal("ShaderNodeBsdfGlossy", {"Roughness": 0.03})
    share = graph.signal("ShaderNodeFresnel", {"IOR": 1.38})
    graph.show(graph.signal("ShaderNodeMixShader", {0: share, 1: clear, 2: shine}))


def build_wet(graph: Graph, tone: Any, light: Signal | float, inputs: Inputs) -> None:
    """Something in the mouth; `light` stands in for light that has bounced there many times."""
    strength = graph.attribute("mouth_light", of_object=True) * light
    graph.show(
        graph.principled(
            {"Base Color": tone, "Emission Color": tone, "Emission Strength": strength, **inputs}
        )
    )


def build_teeth(graph: Graph, look: int, front: float) -> None:
    """`front`: y of the front teeth, Blender's axes."""
    tone, light = colour("fbf1dc"), 0.9
    if look >= 2:
        gap, height = graph.attribute("gap"), graph.attribute("height")
        shaded = graph.mix(graph.step(height, 0.25, 1.0) * 0.65, tone, colour("e2c391"))
        shaded = graph.mix((1.0 - graph.step(height, 0.0, 0.22)) * 0.35, shaded, colour("d8d6d2"))
        tone = graph.mix(gap * 0.55, shaded, colour("8a6a55"))
        light = (1.0 - gap * 0.6) * _in_the_light(graph, front) * 0.9
    inputs = {
        "Roughness": 0.3 if look < 2 else 0.22,
        "Subsurface Weight": 0.5,
        "Subsurface Radius": (1, 0.8, 0.6),
        "Subsurface Scale": 0.03,
        "Coat Weight": 0.12,
        "Coat Roughness": 0.15,
    }
    build_wet(graph, tone, light, inputs)


def build_gum(graph: Graph, look: int, front: float) -> None:
    light = _in_the_light(graph, front) if look >= 2 else 1.0
    inputs = {
        "Roughness": 0.25,
        "Subsurface Weight": 0.7,
        "Subsurface Radius": (1, 0.3, 0.2),
        "Subsurface Scale": 0.03,
        "Coat Weight": 0.3,
        "Coat Roughness": 0.1,
    }
    build_wet(graph, colour("c47570"), light, inputs)


def build_tongue(graph: Graph, look: int, front: float) -> None:
    tone, light = colour("c66f66"), 1.0
    inputs = {
        "Roughness": 0.38,
        "Subsurface Weight": 0.8,
        "Subsurface Radius": (1, 0.3, 0.2),
        "Subsurface Scale": 0.04,
        "Coat Weight": 0.2,
        "Coat Roughness": 0.2,
    }
    if look >= 2:
        place = graph.signal("ShaderNodeTexCoord", None, "Object")
        x, _, _ = graph.axes(place)
        buds = graph.noise(place, 75, 2)
        furrow = graph.bell(x * x / 0.03**2)
        tone = graph.mix(graph.step(buds, 0.45, 0.7) * 0.35, tone, colour("e09a90"))
        light = _in_the_light(graph, front)
        inputs["Normal"] = graph.bump(buds - furrow * 1.2, 0.5, 0.012)
    build_wet(graph, tone, light, inputs)


def _in_the_light(graph: Graph, front: float) -> Signal:
    """1 at the front teeth, little in the throat."""
    _, y, _ = graph.axes(graph.signal("ShaderNodeTexCoord", None, "Object"))
    depth = graph.step(y - front, 0.05, 0.60)
    return 1.0 - depth * 0.85


def build_shirt(graph: Graph, body: Body, look: int) -> None:
    """Cloth below the neckline, nothing above it."""
    place = graph.attribute("rest", "Vector")
    _, y, z = graph.axes(place)
    eyes = to_blender(body.eyes)
    weave, folds = graph.noise(place, 90, 2), graph.noise(place, 2.2, 2)
    below = (y - eyes[1]) * NECKLINE_SLOPE - (z - (eyes[2] - NECKLINE_HEIGHT))
    band = 1.0 - graph.step(below, 0.125, 0.14)
    cloth = graph.mix(weave, colour("39424e"), colour("46505d"))
    height = weave + folds * 6.0
    if look >= 2:  # soft pulls from the collar down to the arms
        pulls = graph.noise(graph.stretched(place, (1.6, 1.2, 0.45)), 2.4, 2, 0.45)
        height = height + pulls * 14.0
    inputs = {
        "Base Color": graph.mix(band, cloth, colour("333b46")),
        "Roughness": 0.9,
        "Sheen Weight": 0.25,
        "Normal": graph.bump(height, 0.5, 0.02),
        "Alpha": graph.math("GREATER_THAN", below, 0.0),
    }
    graph.show(graph.principled(inputs))


def build_collar(graph: Graph, look: int) -> None:
    weave = graph.noise(graph.signal("ShaderNodeTexCoord", None, "Object"), 90, 2)
    height = weave
    if look >= 2:
        ribs = graph.math("PINGPONG", graph.attribute("around") * 260.0, 1.0)
        height = weave + graph.step(ribs, 0.2, 0.8) * 1.6
    inputs = {
        "Base Color": graph.mix(weave, colour("343d48"), colour("404a56")),
        "Roughness": 0.9,
        "Sheen Weight": 0.25,
        "Normal": graph.bump(height, 0.5, 0.02),
    }
    graph.show(graph.principled(inputs))


def build_hair(graph: Graph, part: str) -> None:
    """part: a key of `HAIR_DEPTHS`. Diffuse with a highlight: cheap, and free of noise."""
    base = np.multiply(HAIR_TONE, HAIR_DEPTHS[part])
    random = graph.signal("ShaderNodeHairInfo", None, "Random")

    def opaque(rgb: np.ndarray) -> tuple[float, ...]:
        return (*rgb.tolist(), 1.0)

    matte = graph.signal(
        "ShaderNodeBsdfDiffuse",
        {"Color": graph.mix(random, opaque(base * 0.45), opaque(base * 2.2))},
    )
    inputs = {
        "Color": opaque(np.minimum(base * 5 + 0.03, 1)),
        "RoughnessU": 0.30,
        "RoughnessV": 0.7,
        "Offset": -0.12,
    }
    shine = graph.signal("ShaderNodeBsdfHair", inputs, component="Reflection")
    share = 0.45 if part == "hair" else 0.2
    graph.show(graph.signal("ShaderNodeMixShader", {0: share, 1: matte, 2: shine}))
