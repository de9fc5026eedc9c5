"""Where the camera stands, and how points of the world come to lie in its picture.

The axes of world, camera and picture are said in `avatar_viewer.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import Camera, Rays

MAX_ELEVATION_DEG = 89.0
NEAR_PER_DISTANCE = 0.05
FAR_PER_DISTANCE = 4.0

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Orbit:
    """A camera that circles a target and looks at it, upright.

    Raises AvatarError for numbers that are not finite, a distance <= 0, or a field of view
    outside (0, 180).
    """

    azimuth_deg: float
    """0: in front of the subject (at +z); > 0: on the subject's left (x > 0)."""
    elevation_deg: float
    """> 0: above the target; clamped to +-89, where "upright" still has a meaning."""
    distance: float
    """From the target, world units."""
    target: Point
    """The point in the picture's centre, world units."""
    fov_deg: float
    """Vertical field of view."""

    def __post_init__(self) -> None:
        numbers = (self.azimuth_deg, self.elevation_deg, self.distance, *self.target)
        if not np.isfinite(numbers).all():
            raise AvatarError(f"orbit: expected finite numbers, found {numbers}")
        if self.distance <= 0:
            raise AvatarError(f"orbit distance: expected more than 0, found {self.distance}")
        if not 0 < self.fov_deg < 180:
            raise AvatarError(f"orbit fov_deg: expected (0, 180), found {self.fov_deg}")
        clamped = min(max(self.elevation_deg, -MAX_ELEVATION_DEG), MAX_ELEVATION_DEG)
        object.__setattr__(self, "elevation_deg", clamped)

    def camera(self, width: int, height: int) -> Camera:
        """The pinhole camera for a picture of this size in pixels.

        It sees depths from 0.05 to 4 distances: a head that fills the picture lies well inside,
        also its back and, zoomed in, the tip of its nose.
        """
        rotation = self._rotation()
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -rotation @ np.asarray(self.target) - (0, 0, self.distance)
        return Camera(
            camera_from_world=tuple(matrix.ravel().tolist()),
            fov_deg=self.fov_deg,
            width=width,
            height=height,
            near=NEAR_PER_DISTANCE * self.distance,
            far=FAR_PER_DISTANCE * self.distance,
        )

    def orbited(self, d_azimuth_deg: float, d_elevation_deg: float) -> Orbit:
        """Turned around the target; the azimuth stays in [-180, 180)."""
        azimuth_deg = (self.azimuth_deg + d_azimuth_deg + 180) % 360 - 180
        return replace(
            self, azimuth_deg=azimuth_deg, elevation_deg=self.elevation_deg + d_elevation_deg
        )

    def panned(self, right: float, up: float) -> Orbit:
        """Camera and target moved in the camera's plane, world units (the picture moves back)."""
        camera_right, camera_up, _ = self._rotation()
        target = np.asarray(self.target) + right * camera_right + up * camera_up
        return replace(self, target=tuple(target.tolist()))

    def zoomed(self, factor: float) -> Orbit:
        """Closer to the target by `factor` (> 1: closer, the head grows; < 1: farther)."""
        if not factor > 0:
            raise AvatarError(f"zoom factor: expected more than 0, found {factor}")
        return replace(self, distance=self.distance / factor)

    def _rotation(self) -> np.ndarray:
        """[3,3] rotation of camera_from_world: its rows are the camera's axes in the world."""
        azimuth, elevation = np.radians((self.azimuth_deg, self.elevation_deg))
        right = np.array([np.cos(azimuth), 0, -np.sin(azimuth)])
        back = np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ]
        )
        return np.stack([right, np.cross(back, right), back])


def head_turned(camera: Camera, head_pose_deg: Point) -> Camera:
    """The camera that sees the head turned around the frame's origin: no expression turns it.

    `head_pose_deg` is yaw > 0 to the subject's left, pitch > 0 up, roll > 0 to its right shoulder.
    """
    yaw, pitch, roll = head_pose_deg
    turn = np.eye(4)
    angles = (yaw, -pitch, roll)
    turn[:3, :3] = Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
    return replace(camera, camera_from_world=tuple((camera.matrix @ turn).ravel().tolist()))


def to_camera(points: Tensor, camera: Camera) -> Tensor:
    """World points [N,3] in camera axes, float64 [N,3]; depth is minus the last coordinate.

    Elementwise on purpose: a matrix product may round equal points differently by their place in
    the batch, which would open cracks between triangles that meet in duplicated vertices.
    """
    matrix = torch.as_tensor(camera.matrix, device=points.device)
    x, y, z = points.double().split(1, dim=1)
    return x * matrix[:3, 0] + y * matrix[:3, 1] + z * matrix[:3, 2] + matrix[:3, 3]


def to_clip(points: Tensor, camera: Camera) -> Tensor:
    """World points [N,3] in OpenGL clip space, float64 [N,4]: -w <= x, y, z <= w is seen."""
    x, y, z = to_camera(points, camera).unbind(1)
    near, far = camera.near, camera.far
    scale_x, scale_y = 2 * camera.focal_px / camera.width, 2 * camera.focal_px / camera.height
    clip_z = -(z * (far + near) + 2 * far * near) / (far - near)
    return torch.stack([x * scale_x, y * scale_y, clip_z, -z], dim=1)


def project(points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """World points [N,3] -> pixels [N,2] (x right, y down) and depth [N] along -z, world units.

    Both have the points' dtype. Pixels mean nothing where the depth is not positive.
    """
    x, y, z = to_camera(points, camera).unbind(1)
    depth = -z
    pixel_x = camera.width / 2 + camera.focal_px * x / depth
    pixel_y = camera.height / 2 - camera.focal_px * y / depth
    return torch.stack([pixel_x, pixel_y], dim=1).to(points.dtype), depth.to(points.dtype)


def pixel_rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """x of each column [W] and y of each row [H] of the rays (x, y, -1) through pixel centres.

    Camera axes, float64; depth d along such a ray is the point d * (x, y, -1).
    """
    x = (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px
    y = -(np.arange(camera.height) + 0.5 - camera.height / 2) / camera.focal_px
    return x, y


def world_rays(camera: Camera, device: torch.device | None = None) -> Rays:
    """The rays of a camera's pixels in world units; depth is that of a G-buffer."""
    x, y = (torch.from_numpy(axis).float().to(device) for axis in pixel_rays(camera))
    matrix = torch.from_numpy(camera.matrix).float().to(device)
    right, up, back = matrix[:3, :3]
    direction = x[None, :, None] * right + (y[:, None, None] * up - back)
    return Rays(-matrix[:3, 3] @ matrix[:3, :3], direction)


# A camera is examined whenever one is made, and each picture asks for the same few.
@lru_cache(maxsize=64)
def network_camera(camera: Camera, resolution_px: int, multiple_px: int) -> Camera:
    """The same view in a size that the networks take: trained height, width rounded up.

    The networks know faces at the size that they were trained on, so other sizes are resampled
    from that.
    """
    width = resolution_px * camera.width / camera.height
    return replace(camera, height=resolution_px, width=-int(-width // multiple_px) * multiple_px)


@lru_cache(maxsize=64)
def scaled_camera(camera: Camera, scale: float) -> Camera:
    """The same view in a picture `scale` times as large."""
    return replace(camera, width=round(camera.width * scale), height=round(camera.height * scale))


def crop_and_resize(rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """Undo `network_camera`: [H',W',3] or [H',W'] uint8 -> as many rows and columns as the wanted
    camera has."""
    height, width = rgb.shape[:2]
    if (height, width) == (camera.height, camera.width):
        return rgb
    margin = (width - height * camera.width / camera.height) / 2
    if margin == 0:
        # The same as below in a quarter of the time, as previews need it.
        channels = torch.from_numpy(rgb).view(height, width, -1).permute(2, 0, 1)
        resized = functional.interpolate(
            channels[None], size=(camera.height, camera.width), mode="bicubic", antialias=True
        )
        rows = resized[0].permute(1, 2, 0).contiguous().numpy()
        return rows.reshape(camera.height, camera.width, *rgb.shape[2:])
    picture = Image.fromarray(rgb).resize(
        (camera.width, camera.height),
        Image.Resampling.BICUBIC,
        box=(margin, 0, width - margin, height),
    )
    return np.asarray(picture)
