"""The face tracker in tests: not everyone has it."""

from importlib.util import find_spec

import pytest

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import find_model


def need_face_model() -> None:
    """Skip the test where the tracker, or its model, is missing."""
    if find_spec("mediapipe") is None:
        pytest.skip("needs the extra [transfer]")
    try:
        find_model()
    except AvatarError as error:
        pytest.skip(str(error))
