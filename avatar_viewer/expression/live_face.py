"""What a face in front of a camera becomes, picture by picture: the avatar's expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import TrackedFace
from avatar_viewer.expression.head_motion import pose_deg
from avatar_viewer.expression.livelink import calibrated
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.stages import ExpressionCode

WEIGHT_NOISE, POSE_NOISE_DEG = 0.02, 0.5
"""What a tracker trembles by less than."""


class Steadied:
    """Numbers over time without their trembling, as they come.

    Each goes on by the part d² / (d² + noise²) of its distance d to what was measured: nearly all
    of it where that is motion. So none is ever off by more than noise / 2. A steady motion of one
    noise a picture lags by half a picture, one of three by a tenth, a jump not at all.
    """

    def __init__(self, noise: float) -> None:
        self._square = noise**2
        self._values: np.ndarray | None = None

    def follow(self, measured: np.ndarray) -> np.ndarray:
        """The values after those that were measured, of the same shape each time."""
        if self._values is None:
            self._values = measured
        way = measured - self._values
        self._values = self._values + way * way**2 / (way**2 + self._square)
        return self._values


@dataclass(frozen=True, eq=False)
class Rest:
    """A person whose face rests and who looks ahead: what everything is counted from."""

    weights: np.ndarray
    """[52] of the ARKit units."""
    head_pose_deg: np.ndarray
    """[3] yaw, pitch, roll."""

    @staticmethod
    def of(faces: Sequence[TrackedFace]) -> Rest:
        """The median of some pictures; AvatarError where there is none."""
        if not faces:
            raise AvatarError("neutral: expected a face in front of the camera, found none")
        weights = np.median([_weights(face) for face in faces], axis=0)
        return Rest(weights, np.median([_pose_deg(face) for face in faces], axis=0))


@dataclass(frozen=True, eq=False)
class LiveExpression:
    """What one picture says."""

    expression: ExpressionCode
    head_pose_deg: tuple[float, float, float]
    """Yaw, pitch, roll, as `ExpressionSequence.head_pose_deg`, from the head at rest."""


class LiveFace:
    """The face of one person, over time."""

    def __init__(self, arkit_map: ArkitMap, rest: Rest | None = None) -> None:
        self._arkit_map = arkit_map
        self.rest = rest
        """May be replaced at any time; None: the tracker's own idea of a face at rest."""
        self._weights, self._pose = Steadied(WEIGHT_NOISE), Steadied(POSE_NOISE_DEG)

    def expression(self, face: TrackedFace) -> LiveExpression:
        """That of the next picture; AvatarError where the tracker gives no weights."""
        weights, pose = self._weights.follow(_weights(face)), self._pose.follow(_pose_deg(face))
        if (rest := self.rest) is not None:
            weights, pose = calibrated(weights, rest.weights), pose - rest.head_pose_deg
        yaw, pitch, roll = pose.tolist()
        return LiveExpression(self._arkit_map.expression(weights), (yaw, pitch, roll))


def _weights(face: TrackedFace) -> np.ndarray:
    """[52]."""
    if (weights := face.weights_by_lips) is None:
        raise AvatarError(
            f"face tracker: expected a model with weights of the {len(ARKIT_UNITS)} ARKit units, "
            "found one of landmarks alone"
        )
    return weights


def _pose_deg(face: TrackedFace) -> np.ndarray:
    """[3]; straight ahead where the tracker does not tell."""
    return np.zeros(3) if face.rotation is None else pose_deg(face.rotation[None])[0].astype(float)
