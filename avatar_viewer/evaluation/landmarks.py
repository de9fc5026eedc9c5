"""Facial landmarks of pictures, by MediaPipe and a model file that the person has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar_viewer.errors import AvatarError, one_line


class Landmarks:
    """MediaPipe's face landmarker; `model` is its .task file."""

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise AvatarError(f"{model}: expected a face landmarker's .task file, found none")
        try:
            import mediapipe
        except ImportError as error:
            raise AvatarError(
                "package mediapipe: expected for landmarks, found none; pip install mediapipe"
            ) from error
        self._mediapipe = mediapipe
        try:
            self._landmarker = mediapipe.tasks.vision.FaceLandmarker.create_from_model_path(
                str(model)
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise AvatarError(
                f"{model}: expected a face landmarker's model, found: {one_line(error)}"
            ) from error
        self.about = f"mediapipe {mediapipe.__version__}, {model.name}"

    def find(self, rgb: np.ndarray) -> np.ndarray | None:
        """uint8 [H,W,3] -> x and y of each landmark of the first face, pixels [N,2]."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        faces = self._landmarker.detect(image).face_landmarks
        if not faces:
            return None
        height, width = rgb.shape[:2]
        return np.array([(point.x * width, point.y * height) for point in faces[0]])

    def distance_px(self, rendered: np.ndarray, truth: np.ndarray) -> float | None:
        """Mean distance between the landmarks of two pictures; None where one shows no face."""
        found = [self.find(rgb) for rgb in (rendered, truth)]
        if found[0] is None or found[1] is None:
            return None
        return float(np.linalg.norm(found[0] - found[1], axis=1).mean())
