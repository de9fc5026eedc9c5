"""Blender's shader nodes as arithmetic: a `Signal` is a node's output and can be calculated with.

Nothing is imported from Blender: the nodes come from the node tree that is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Number = float | int
Colour = tuple[float, float, float, float]
Inputs = Mapping[Any, Any]
"""Of a node: constants and signals by name or number."""


class Signal:
    """A number, vector or colour that varies over the surface."""

    def __init__(self, graph: Graph, socket: Any) -> None:
        self.graph, self.socket = graph, socket

    def __add__(self, other: Signal | Number) -> Signal:
        return self.graph.math("ADD", self, other)

    def __sub__(self, other: Signal | Number) -> Signal:
        return self.graph.math("SUBTRACT", self, other)

    def __rsub__(self, other: Number) -> Signal:
        return self.graph.math("SUBTRACT", other, self)

    def __mul__(self, other: Signal | Number) -> Signal:
        return self.graph.math("MULTIPLY", self, other)

    def __truediv__(self, other: Signal | Number) -> Signal:
        return self.graph.math("DIVIDE", self, other)

    __radd__, __rmul__ = __add__, __mul__


class Graph:
    """The node tree of one material."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        tree.nodes.clear()

    def node(self, kind: str, inputs: Inputs | None = None, **settings: Any) -> Any:
        """A new node; inputs by name or number are constants or signals."""
        node = self._tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            socket = node.inputs[key]
            if isinstance(value, Signal):
                self._tree.links.new(value.socket, socket)
            else:
                socket.default_value = value
        return node

    def signal(
        self,
        kind: str,
        inputs: Inputs | None = None,
        output: str | int = 0,
        **settings: Any,
    ) -> Signal:
        """The output of a new node."""
        return Signal(self, self.node(kind, inputs, **settings).outputs[output])

    def math(self, operation: str, one: Signal | Number, other: Signal | Number = 0.0) -> Signal:
        return self.signal("ShaderNodeMath", {0: one, 1: other}, operation=operation)

    def vector_math(self, operation: str, one: Any, other: Any, output: str | int = 0) -> Signal:
        inputs = {0: one, 1: other}
        return self.signal("ShaderNodeVectorMath", inputs, output, operation=operation)

    def attribute(self, name: str, output: str = "Fac", *, of_object: bool = False) -> Signal:
        """A mesh's attribute, or an object's property."""
        kind = "OBJECT" if of_object else "GEOMETRY"
        return self.signal(
            "ShaderNodeAttribute", None, output, attribute_name=name, attribute_type=kind
        )

    def mix(self, share: Signal | Number, one: Any, other: Any) -> Signal:
        """`one` where the share is 0, `other` where it is 1."""
        inputs = {0: share, 6: one, 7: other}
        settings = {"data_type": "RGBA", "blend_type": "MIX", "clamp_factor": True}
        return self.signal("ShaderNodeMix", inputs, 2, **settings)

    def step(self, value: Signal, low: float, high: float) -> Signal:
        """Smoothly from 0 at `low` to 1 at `high`."""
        inputs = {0: value, 1: low, 2: high, 3: 0.0, 4: 1.0}
        return self.signal("ShaderNodeMapRange", inputs, interpolation_type="SMOOTHSTEP")

    def bell(self, value: Signal) -> Signal:
        """exp(-value) of a squared distance."""
        return self.math("POWER", float(np.e), value * -1.0)

    def blob(self, place: Signal, centre: Any, radii: Any) -> Signal:
        """A bell of 1 at the centre, with these radii along the axes."""
        offset = self.vector_math("SUBTRACT", place, tuple(centre))
        scaled = self.vector_math("DIVIDE", offset, tuple(radii))
        return self.bell(self.vector_math("DOT_PRODUCT", scaled, scaled, "Value"))

    def noise(
        self, place: Signal, scale: float, detail: float = 3, roughness: float = 0.55
    ) -> Signal:
        inputs = {"Vector": place, "Scale": scale, "Detail": detail, "Roughness": roughness}
        return self.signal("ShaderNodeTexNoise", inputs, "Fac")

    def stretched(self, place: Signal, scale: tuple[float, float, float]) -> Signal:
        return self.signal("ShaderNodeMapping", {"Vector": place, "Scale": scale})

    def axes(self, vector: Signal) -> tuple[Signal, Signal, Signal]:
        node = self.node("ShaderNodeSeparateXYZ", {"Vector": vector})
        x, y, z = (Signal(self, output) for output in node.outputs)
        return x, y, z

    def vector(self, x: Signal, y: Signal, z: Signal) -> Signal:
        return self.signal("ShaderNodeCombineXYZ", {"X": x, "Y": y, "Z": z})

    def bump(self, height: Signal, strength: float, distance: float) -> Signal:
        inputs = {"Strength": strength, "Distance": distance, "Height": height}
        return self.signal("ShaderNodeBump", inputs)

    def image(self, loaded: Any) -> Signal:
        """The brightness of a picture, by the texture coordinates."""
        return self.signal("ShaderNodeTexImage", image=loaded)

    def principled(self, inputs: Inputs, **settings: Any) -> Signal:
        return self.signal("ShaderNodeBsdfPrincipled", inputs, **settings)

    def show(self, shader: Signal) -> None:
        """What the material looks like."""
        self.node("ShaderNodeOutputMaterial", {"Surface": shader})


def colour(hex_code: str) -> Colour:
    """Linear RGBA of an sRGB colour such as "e3b49a"."""
    values = np.array([int(hex_code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear.tolist()
    return red, green, blue, 1.0


def tinted(base: Colour, *factors: float) -> Colour:
    """A colour times factors for red, green and blue, at most 1."""
    red, green, blue = np.minimum(np.multiply(base[:3], factors), 1.0).tolist()
    return red, green, blue, 1.0


def lips_and_mouth(folder: Path) -> tuple[Path, Path]:
    """MakeHuman's masks of the lips and of the inside of the mouth, over the skin's texture."""
    textures = folder / "mpfb2/textures"
    return textures / "mpfb_lips.jpg", textures / "mpfb_inside-mouth.jpg"
