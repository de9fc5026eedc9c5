"""The records that pass between stages, with shape checks at their doors.

Frames and axes, said once for the whole project:

* **world** is the frame of the avatar's head model (its unit is part of the head's config);
  x points to the subject's left, y up, z to the front; the origin lies inside the head.
* **camera** is OpenGL: x right, y up, the camera looks along -z.
* Pictures have their origin in the top-left corner; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError

Layer = Literal["image", "normal", "depth", "canonical", "features", "mesh", "wireframe"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
SamplerName = Literal["ddim", "lcm"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)

REDUCTIONS = (1, 2, 4)
MAX_STEPS = 1000
MAX_SIZE_PX = 4096


def _expect(condition: bool, name: str, expected: str, found: object) -> None:
    if not condition:
        raise AvatarError(f"{name}: expected {expected}, found {found}")


@dataclass(frozen=True)
class ExpressionCode:
    """One expression of one person: the head model's z_exp followed by gaze."""

    values: tuple[float, ...]
    """[E]; the last `gaze_dim` numbers are gaze (see `head.nphm.GAZE_DIM`)."""

    def __post_init__(self) -> None:
        _expect(len(self.values) > 0, "expression", "at least one value", "none")
        _expect(bool(np.isfinite(self.values).all()), "expression", "finite values", "NaN or inf")

    @staticmethod
    def from_array(values: np.ndarray | Tensor) -> ExpressionCode:
        return ExpressionCode(tuple(float(v) for v in values))

    def tensor(self) -> Tensor:
        """[E] float32."""
        return torch.tensor(self.values, dtype=torch.float32)


def is_rigid(matrix: np.ndarray) -> bool:
    """Whether a finite [4,4] matrix turns and moves, and neither scales nor mirrors."""
    rotation = matrix[:3, :3]
    # Each drawing asks this of some cameras, and `np.allclose` would take as long as all the rest.
    return (
        bool(np.isfinite(matrix).all())
        and bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3)
        and bool(np.linalg.det(rotation) > 0)
        and bool(np.abs(matrix[3] - (0, 0, 0, 1)).max() < 1e-6)
    )


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion; its principal point is the picture's centre."""

    camera_from_world: tuple[float, ...]
    """16 floats, row-major, rigid; world units."""
    fov_deg: float
    """Vertical field of view."""
    width: int
    height: int
    near: float
    far: float
    """Distances along -z, world units."""

    def __post_init__(self) -> None:
        _expect(
            len(self.camera_from_world) == 16,
            "camera_from_world",
            "16 numbers",
            len(self.camera_from_world),
        )
        matrix = np.asarray(self.camera_from_world, dtype=np.float64).reshape(4, 4)
        _expect(is_rigid(matrix), "camera_from_world", "a rigid 4x4 matrix", "another matrix")
        _expect(0 < self.fov_deg < 180, "fov_deg", "an angle in (0, 180)", self.fov_deg)
        for name in ("width", "height"):
            size = getattr(self, name)
            _expect(1 <= size <= MAX_SIZE_PX, name, f"1 to {MAX_SIZE_PX} pixels", size)
        _expect(0 < self.near < self.far, "near, far", "0 < near < far", (self.near, self.far))

    @property
    def matrix(self) -> np.ndarray:
        """camera_from_world as [4,4] float64."""
        return np.asarray(self.camera_from_world, dtype=np.float64).reshape(4, 4)

    @property
    def focal_px(self) -> float:
        """Focal length in pixels, the same in x and y."""
        return self.height / 2 / float(np.tan(np.radians(self.fov_deg) / 2))


@dataclass(frozen=True)
class RenderRequest:
    """Everything that a picture depends on besides the avatar; hashable, so a cache key."""

    expression: ExpressionCode
    camera: Camera
    seed: int = 0
    steps: int = 4
    """Denoising steps; 1 or more."""
    sampler: SamplerName = "ddim"
    show: Layer = "image"
    exact_head: bool = True
    """Whether the exact head model moves the mesh, rather than the baked expressions."""
    reduction: int = 1
    """The picture is drawn at 1/reduction of the networks' size, and enlarged: a preview."""
    teacher: bool = False
    """Whether the denoiser that others were distilled from draws, where the avatar has both."""
    full_decoder: bool = False
    """Whether the autoencoder's own decoder draws, where the avatar has a tiny one beside it."""

    def __post_init__(self) -> None:
        _expect(
            self.reduction in REDUCTIONS,
            "reduction",
            " | ".join(map(str, REDUCTIONS)),
            self.reduction,
        )
        _expect(1 <= self.steps <= MAX_STEPS, "steps", f"1 to {MAX_STEPS}", self.steps)
        _expect(0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1", self.seed)
        _expect(self.sampler in SAMPLERS, "sampler", " | ".join(SAMPLERS), self.sampler)
        _expect(self.show in LAYERS, "show", " | ".join(LAYERS), self.show)


@dataclass(frozen=True)
class CanonicalHead:
    """A person's head in canonical pose, extracted once."""

    vertices: Tensor
    """[V,3] float32, world units."""
    faces: Tensor
    """[F,3] int32, counter-clockwise seen from outside."""

    def __post_init__(self) -> None:
        _check_mesh(self.vertices, self.faces)

    def to(self, device: torch.device) -> CanonicalHead:
        """The same on another device."""
        return CanonicalHead(self.vertices.to(device), self.faces.to(device))


@dataclass(frozen=True)
class HeadMesh:
    """The head in one expression; its vertices correspond to the canonical head's."""

    vertices: Tensor
    """[V,3] float32, world units."""
    canonical: Tensor
    """[V,3] float32, the same vertices in canonical pose."""
    normals: Tensor
    """[V,3] float32, unit vertex normals, world axes."""
    faces: Tensor
    """[F,3] int32."""

    def __post_init__(self) -> None:
        _check_mesh(self.vertices, self.faces)
        for name in ("canonical", "normals"):
            tensor = getattr(self, name)
            _expect(
                tensor.shape == self.vertices.shape,
                name,
                f"shape {tuple(self.vertices.shape)}",
                tuple(tensor.shape),
            )


@dataclass(frozen=True)
class Hits:
    """What a rasterizer backend answers; everything after it is shared code."""

    triangle: Tensor
    """[H,W] int32, index into faces, -1 = none."""
    barycentric: Tensor
    """[H,W,2] float32, perspective-correct weights of a face's first two vertices; 0 where none."""

    def __post_init__(self) -> None:
        _expect(self.triangle.ndim == 2, "triangle", "[H,W]", tuple(self.triangle.shape))
        _expect(
            self.barycentric.shape == (*self.triangle.shape, 2),
            "barycentric",
            "[H,W,2]",
            tuple(self.barycentric.shape),
        )


@dataclass(frozen=True)
class GBuffer:
    """The rasterized head; every channel is zero off the mesh."""

    mask: Tensor
    """[H,W] bool."""
    depth: Tensor
    """[H,W] float32, distance along -z of the camera, world units."""
    normal: Tensor
    """[H,W,3] float32, unit length, camera axes."""
    canonical: Tensor
    """[H,W,3] float32, canonical coordinates, world units."""

    def __post_init__(self) -> None:
        size = tuple(self.mask.shape)
        for name, shape in (("depth", size), ("normal", (*size, 3)), ("canonical", (*size, 3))):
            found = tuple(getattr(self, name).shape)
            _expect(found == shape, name, f"shape {shape}", found)


@dataclass(frozen=True)
class Rays:
    """The rays through the centres of a picture's pixels: origin + depth * direction."""

    origin: Tensor
    """[3] float32, world: the camera's centre."""
    direction: Tensor
    """[H,W,3] float32, world units per unit of depth."""


@dataclass(frozen=True)
class Conditioning:
    """What steers the denoiser."""

    control: Tensor
    """[B,C,H,W], the ControlNet's input: G-buffer and rigged features, folded space to depth."""
    expression_tokens: Tensor
    """[B,T,D], for the expression cross-attention."""

    def __post_init__(self) -> None:
        _expect(self.control.ndim == 4, "control", "[B,C,H,W]", tuple(self.control.shape))
        _expect(
            self.expression_tokens.ndim == 3,
            "expression_tokens",
            "[B,T,D]",
            tuple(self.expression_tokens.shape),
        )


@dataclass(frozen=True)
class Frame:
    """A finished picture."""

    request: RenderRequest
    rgb: np.ndarray
    """[H,W,3] uint8, display space (sRGB), over white."""
    stage_ms: dict[str, float] = field(default_factory=dict, compare=False)
    """Milliseconds by stage, in the order of the flow; of stages that overlap, only for how long
    the picture waited for each."""
    preview: bool = False
    """Whether a better frame of the same view will follow."""
    runtime: str = ""
    """What ran the networks."""
    opacity: np.ndarray | None = None
    """[H,W] uint8, how much of each pixel is the head; None where nothing tells it."""

    def __post_init__(self) -> None:
        expected = (self.request.camera.height, self.request.camera.width, 3)
        _expect(
            self.rgb.shape == expected and self.rgb.dtype == np.uint8,
            "rgb",
            f"uint8 {expected}",
            f"{self.rgb.dtype} {self.rgb.shape}",
        )
        if self.opacity is not None:
            found = self.opacity.shape
            _expect(found == expected[:2], "opacity", f"shape {expected[:2]}", found)


@dataclass(frozen=True)
class RenderFailure:
    """A failed render, as a value that the window can show."""

    request: RenderRequest | None
    """None when it was a load that failed."""
    message: str
    """One line."""
    traceback: str


def _check_mesh(vertices: Tensor, faces: Tensor) -> None:
    _expect(
        vertices.ndim == 2 and vertices.shape[1] == 3, "vertices", "[V,3]", tuple(vertices.shape)
    )
    _expect(faces.ndim == 2 and faces.shape[1] == 3, "faces", "[F,3]", tuple(faces.shape))
    # Of a sum, for it is NaN or inf if any number is, and a tenth of the work at every drag.
    _expect(bool(vertices.sum().isfinite()), "vertices", "finite numbers", "NaN or inf")
