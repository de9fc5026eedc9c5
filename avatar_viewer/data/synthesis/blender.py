"""Draws the person with Blender's Cycles, in a process of its own.

This one file imports bpy, which is licensed under the GPL: use and pass on this file under terms
that are compatible with the GPL, version 3 or later (Apache-2.0, which it is under like the rest of
this project, is). Nothing else of the project imports bpy, or this file.

It needs bpy, NumPy and SciPy, nothing else, and is started by `renderer`. It reads JSON lines: the
person {data, targets, look, size, samples}, then a request for each picture
{id, expression, camera_from_world, fov_deg, png}. It answers a line {} when ready for the next.
"""

from __future__ import annotations

import json
import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from avatar_viewer.data.makehuman import METRES_PER_UNIT, MakeHuman
from avatar_viewer.data.synthesis import materials
from avatar_viewer.data.synthesis.model import Hairs, Mesh, PersonModel
from avatar_viewer.data.synthesis.nodes import Graph, lips_and_mouth
from avatar_viewer.data.synthesis.skin import build_skin, line_strengths, to_blender

LIT_CENTRE = (0.0, -0.28, -0.60)
"""From the middle of the eyes to where the lamps point."""
LAMPS = (
    ((-8, -10, 7), 5, 1350, (1, 0.97, 0.93)),
    ((10, -8, 2), 6, 330, (0.93, 0.97, 1)),
    ((5, 9, 7), 4, 900, (1, 1, 1)),
    ((-9, 7, 4), 4, 450, (1, 1, 1)),
    ((0, -10, -6), 5, 160, (1, 1, 1)),
    ((-2.6, -12, 3.2), 1.3, 90, (1, 1, 1)),
)
"""Offset from there in Blender's axes, side, power, colour."""
MOUTH_LIGHT, MOUTH_LIGHT_OPEN = 0.06, 0.16
"""Emission in the mouth, and how much more when the jaw is open."""


class Studio:
    """The scene; it is emptied and filled for every picture."""

    def __init__(self, person: dict) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        makehuman = MakeHuman(Path(person["data"]))
        self._model = PersonModel(person["targets"], makehuman, person["look"])
        self._scene = bpy.context.scene
        _set_cycles(self._scene, person["size"], person["samples"])
        _set_world(self._scene)
        centre = to_blender(self._model.body.eyes + LIT_CENTRE)
        for offset, side, power, colour in LAMPS:
            _add_lamp(centre + offset, centre, side, power, colour)
        self._camera = _add_camera(self._scene)
        self._materials = _build_materials(self._model, makehuman.folder)

    def render(self, request: dict) -> None:
        """Write the requested picture."""
        expression = request["expression"]
        objects = [
            self._drawn_hairs(part) if isinstance(part, Hairs) else self._drawn_mesh(part)
            for part in self._model.parts(expression)
        ]
        light = MOUTH_LIGHT + MOUTH_LIGHT_OPEN * min(1.0, expression.get("jawOpen", 0))
        for drawn in objects:
            drawn["mouth_light"] = light
            for line, strength in line_strengths(expression).items():
                drawn[line] = strength
        self._camera.matrix_world = _camera_in_blender(request["camera_from_world"])
        self._camera.data.angle = math.radians(request["fov_deg"])
        # The noise belongs to the frame: the same picture, whichever process draws it.
        self._scene.cycles.seed = zlib.crc32(request["id"].encode()) & 0x7FFFFFFF
        self._scene.render.filepath = request["png"]
        bpy.ops.render.render(write_still=True)
        for drawn in objects:
            data = drawn.data
            bpy.data.objects.remove(drawn)
            (bpy.data.meshes if isinstance(data, bpy.types.Mesh) else bpy.data.hair_curves).remove(
                data
            )

    def _drawn_mesh(self, part: Mesh) -> Any:
        mesh = bpy.data.meshes.new(part.material)
        faces = part.faces.tolist() if isinstance(part.faces, np.ndarray) else part.faces
        mesh.from_pydata(to_blender(part.vertices).tolist(), [], faces)
        mesh.update()
        if part.texture is not None:
            layer = mesh.uv_layers.new(name="UVMap")
            layer.data.foreach_set("uv", part.texture.astype(np.float32).ravel())
        mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), dtype=bool))
        for name, values in part.attributes.items():
            points = values.ndim == 2
            kind = "FLOAT_VECTOR" if points else "FLOAT"
            values = to_blender(values) if points else values
            attribute = mesh.attributes.new(name, kind, "POINT")
            attribute.data.foreach_set(
                "vector" if points else "value", values.astype(np.float32).ravel()
            )
        drawn = self._placed(part.material, mesh)
        drawn.visible_shadow = part.casts_shadow
        if part.levels:
            modifier = drawn.modifiers.new("subdivision", "SUBSURF")
            modifier.render_levels, modifier.levels = part.levels, 0
        return drawn

    def _drawn_hairs(self, part: Hairs) -> Any:
        count, points = part.points.shape[:2]
        curves = bpy.data.hair_curves.new(part.material)
        curves.add_curves([points] * count)
        position = to_blender(part.points).astype(np.float32).ravel()
        curves.attributes["position"].data.foreach_set("vector", position)
        radii = np.broadcast_to(part.radii, (count, points)).astype(np.float32).ravel()
        curves.attributes.new("radius", "FLOAT", "POINT").data.foreach_set("value", radii)
        return self._placed(part.material, curves)

    def _placed(self, material: str, data: Any) -> Any:
        data.materials.append(self._materials[material])
        drawn = bpy.data.objects.new(material, data)
        bpy.context.collection.objects.link(drawn)
        return drawn


def _camera_in_blender(camera_from_world: list[float]) -> Matrix:
    """Of a camera in metres with y up."""
    world_from_camera = np.linalg.inv(np.reshape(camera_from_world, (4, 4)))
    world_from_camera[:3, 3] /= METRES_PER_UNIT
    axes = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    return Matrix((axes @ world_from_camera).tolist())


def _set_cycles(scene: Any, size: int, samples: int) -> None:
    render, cycles, view = scene.render, scene.cycles, scene.view_settings
    render.engine = "CYCLES"
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.03
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.denoising_prefilter, cycles.denoising_quality = "FAST", "HIGH"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 4, 1, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 4, 8
    cycles.use_light_tree = True
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    render.resolution_x = render.resolution_y = size
    render.film_transparent = True
    render.threads_mode, render.threads = "FIXED", 1
    render.use_persistent_data = True
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    view.view_transform, view.look = "AgX", "AgX - Medium High Contrast"
    view.exposure = 0.0


def _set_world(scene: Any) -> None:
    """Soft light from everywhere; the background itself is transparent."""
    scene.world = bpy.data.worlds.new("studio")
    scene.world.use_nodes = True
    tree = scene.world.node_tree
    graph = Graph(tree)
    light = graph.signal("ShaderNodeBackground", {"Color": (0.80, 0.82, 0.85, 1), "Strength": 0.30})
    graph.node("ShaderNodeOutputWorld", {"Surface": light})


def _add_lamp(
    place: np.ndarray, target: np.ndarray, side: float, power: float, colour: Any
) -> None:
    lamp = bpy.data.lights.new("lamp", "AREA")
    lamp.size, lamp.energy, lamp.color = side, power, colour
    placed = bpy.data.objects.new("lamp", lamp)
    bpy.context.collection.objects.link(placed)
    placed.location = place.tolist()
    towards = Vector((target - place).tolist())
    placed.rotation_euler = towards.to_track_quat("-Z", "Y").to_euler()
    placed.visible_camera = False


def _add_camera(scene: Any) -> Any:
    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit, camera.sensor_height = "VERTICAL", 24
    camera.clip_start, camera.clip_end = 0.1, 200
    scene.camera = bpy.data.objects.new("camera", camera)
    bpy.context.collection.objects.link(scene.camera)
    return scene.camera


def _build_materials(model: PersonModel, data: Path) -> dict[str, Any]:
    """Every material by its name."""
    made: dict[str, Any] = {}

    def graph(name: str) -> Graph:
        made[name] = bpy.data.materials.new(name)
        made[name].use_nodes = True
        # What glows in the mouth lights nothing: sampling it as a lamp would cost noise.
        made[name].cycles.emission_sampling = "NONE"
        return Graph(made[name].node_tree)

    skin = graph("skin")
    masks = [bpy.data.images.load(str(path)) for path in lips_and_mouth(data)]
    for mask in masks:
        mask.colorspace_settings.name = "Non-Color"
    lips, inside = (skin.image(mask) for mask in masks)
    build_skin(skin, model.body, lips, inside, model.look)
    materials.build_eye(graph("eye"))
    materials.build_cornea(graph("cornea"))
    front = -model.front_teeth
    materials.build_teeth(graph("teeth"), model.look, front)
    materials.build_gum(graph("gum"), model.look, front)
    materials.build_tongue(graph("tongue"), model.look, front)
    materials.build_shirt(graph("shirt"), model.body, model.look)
    materials.build_collar(graph("collar"), model.look)
    for part in materials.HAIR_DEPTHS:
        materials.build_hair(graph(part), part)
    return made


def main() -> None:
    # Blender prints to the standard output whatever it likes: answers get a channel of their own.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        studio = Studio(json.loads(sys.stdin.readline()))
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            studio.render(json.loads(line))
            print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
