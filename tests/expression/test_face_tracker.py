"""Which face is followed; and MediaPipe's own answers, where it and its model are there."""

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression import face_tracker
from avatar_viewer.expression.face_tracker import (
    FORGOTTEN_AFTER,
    FaceLandmarker,
    Follower,
    TrackedFace,
    find_model,
)
from avatar_viewer.head.arkit_units import ARKIT_UNITS

FRAMES = Path(__file__).parents[1] / "demo_frames"


def face(x: float, y: float, size_px: float) -> TrackedFace:
    corners = np.array([(-0.5, -0.5), (0.5, -0.4), (0.3, 0.5)])
    return TrackedFace(np.array((x, y)) + size_px * corners)


def test_the_largest_face_is_followed_though_another_becomes_larger():
    follower, large, small = Follower(), face(100, 100, 60), face(300, 100, 40)
    assert follower.choose([small, large]) is large
    moved, grown = face(130, 110, 50), face(300, 100, 90)
    assert follower.choose([grown, moved]) is moved
    again = face(150, 110, 50)
    assert follower.choose([again, grown]) is again


def test_a_face_that_is_gone_is_not_replaced_at_once():
    follower, one, other = Follower(), face(100, 100, 60), face(500, 100, 60)
    assert follower.choose([one]) is one
    assert follower.choose([]) is None
    assert follower.choose([other]) is None
    assert follower.choose([other, one]) is one
    for _ in range(FORGOTTEN_AFTER):
        assert follower.choose([]) is None
    assert follower.choose([other]) is other


def test_no_face_at_first():
    follower = Follower()
    assert follower.choose([]) is None
    assert follower.choose([(one := face(10, 10, 5))]) is one


def test_a_missing_model_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(face_tracker, "user_config_path", lambda name: tmp_path / name)
    monkeypatch.setattr(face_tracker, "find_spec", lambda name: None)
    with pytest.raises(AvatarError, match=r"models/face_landmarker.task: expected .* put it there"):
        find_model()
    own = tmp_path / "avatar-viewer" / "models" / "face_landmarker.task"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_model() == own
    absent = tmp_path / "other.task"
    with pytest.raises(AvatarError, match=r"other.task: expected a face landmarker's .task file"):
        FaceLandmarker(absent)


def test_a_missing_package_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "face.task"
    model.touch()
    monkeypatch.setitem(face_tracker.__dict__, "user_config_path", None)
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(AvatarError, match=r"^package mediapipe: .* avatar-viewer\[transfer\]$"):
        FaceLandmarker(model)


@pytest.fixture(scope="module")
def model() -> Path:
    if find_spec("mediapipe") is None:
        pytest.skip("needs the extra [transfer]")
    try:
        return find_model()
    except AvatarError as error:
        pytest.skip(str(error))


def picture(name: str) -> np.ndarray:
    return np.asarray(Image.open(FRAMES / name).convert("RGB"))


def test_faces_of_a_picture(model: Path):
    """The demo person twice, once smaller: each face is found where it is."""
    rgb = picture("train_a_00000.webp")
    size = rgb.shape[0]
    both = np.full((size, 3 * size // 2, 3), 255, np.uint8)
    both[:, :size] = rgb
    both[size // 2 :, size:] = np.asarray(Image.fromarray(rgb).resize((size // 2, size // 2)))
    tracker = FaceLandmarker(model)
    large, small = sorted(tracker.faces(both), key=lambda found: -found.size_px)
    (alone,) = tracker.faces(rgb)
    assert tracker.faces(np.zeros_like(rgb)) == []
    tracker.close()
    assert "mediapipe" in tracker.name
    error_px = np.linalg.norm(large.landmarks - alone.landmarks, axis=1)
    assert error_px.mean() < 0.02 * alone.size_px
    expected = alone.landmarks / 2 + (size, size / 2)
    assert np.linalg.norm(small.landmarks - expected, axis=1).mean() < 0.05 * small.size_px


def test_weights_go_by_their_names(model: Path):
    """A smile is told from a pucker, by frames whose expressions are known."""
    names = [frame["file"] for frame in json.loads((FRAMES / "frames.json").read_text())]
    tracker = FaceLandmarker(model)
    smile, _, pucker = (tracker.faces(picture(name))[0].weights for name in names[1:4])
    tracker.close()
    assert smile is not None and pucker is not None
    assert smile.shape == (len(ARKIT_UNITS),) and smile.min() >= 0 and smile.max() <= 1
    unit = ARKIT_UNITS.index
    assert smile[unit("mouthSmileLeft")] > 0.3 > pucker[unit("mouthSmileLeft")]
    assert pucker[unit("mouthPucker")] > smile[unit("mouthPucker")]


def test_a_model_without_blendshapes_gives_landmarks_alone(model: Path, tmp_path: Path):
    bare = tmp_path / "bare.task"
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(bare, "w") as part:
        for name in whole.namelist():
            if "blendshapes" not in name:
                part.writestr(name, whole.read(name))
    tracker = FaceLandmarker(bare)
    (found,) = tracker.faces(picture("train_a_00000.webp"))
    tracker.close()
    assert found.weights is None and found.landmarks.shape == (478, 2)


def test_a_broken_model_is_refused(model: Path, tmp_path: Path):
    broken = tmp_path / "broken.task"
    broken.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(AvatarError, match=r"broken.task: expected a face landmarker's model"):
        FaceLandmarker(broken)
