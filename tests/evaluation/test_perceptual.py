"""The metrics from optional packages: the real ones where installed, the others' use of them."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import landmarks, perceptual
from avatar_viewer.evaluation.landmarks import Landmarks
from avatar_viewer.evaluation.perceptual import Flip, Jod, Lpips, Perceptual


def pattern(size: int = 64) -> np.ndarray:
    """Stripes, blobs and a little noise."""
    y, x = np.mgrid[:size, :size] / size
    waves = 0.5 + 0.2 * np.sin(25 * x) + 0.2 * np.cos(11 * y * x)
    noise = np.random.default_rng(0).normal(0, 0.02, (size, size, 3))
    return (255 * np.clip(waves[..., None] + noise, 0, 1)).astype(np.uint8)


def spoilt(amount: int) -> np.ndarray:
    """A flat patch lighter by `amount`."""
    rgb = pattern().astype(int)
    rgb[16:40, 16:40] += amount
    return rgb.clip(0, 255).astype(np.uint8)


def test_flip_sees_where_and_how_much():
    pytest.importorskip("flip_evaluator")
    flip = Flip()
    assert flip.about.startswith("flip-evaluator ")
    errors = {n: flip.error_map(spoilt(n), pattern()) for n in (0, 10, 40)}
    assert errors[0].shape == (64, 64) and errors[0].max() < 1e-6
    assert 0 < errors[10].mean() < errors[40].mean() < 1
    assert errors[40][20:36, 20:36].mean() > 10 * errors[40][50:, 50:].mean()


def test_jod_of_stills_and_videos():
    pytest.importorskip("pyfvvdp")
    jod = Jod()
    assert "pyfvvdp" in jod.about and "standard_4k" in jod.about
    still = [jod.video(spoilt(n)[None], pattern()[None], 24) for n in (0, 10, 40)]
    assert still[0] == pytest.approx(10) and still[0] > still[1] > still[2] > 0
    truth = np.stack([pattern()] * 6)
    steady = jod.video(np.stack([spoilt(10)] * 6), truth, 24)
    flickering = jod.video(np.stack([spoilt(10), spoilt(0)] * 3), truth, 24)
    assert steady == pytest.approx(still[1], abs=0.3)
    # Half as many frames are wrong, but what flickers is seen.
    assert flickering < steady
    slower = jod.video(np.stack([spoilt(10), spoilt(0)] * 3), truth, 8)
    assert slower != flickering


def module(name: str, **content) -> ModuleType:
    found = ModuleType(name)
    found.__spec__ = ModuleSpec(name, None)
    found.__dict__.update(content)
    return found


def test_lpips_is_had_only_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = []

    class Network(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()
            assert net == "alex"

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            given.extend([one, other])
            return (one - other).abs().mean().view(1, 1, 1, 1)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual, "version", lambda package: "1")
    monkeypatch.setitem(perceptual.sys.modules, "lpips", None)
    assert Lpips.missing() == "no packages lpips and torchvision"
    monkeypatch.setitem(perceptual.sys.modules, "lpips", module("lpips", LPIPS=Network))
    monkeypatch.setitem(perceptual.sys.modules, "torchvision", module("torchvision"))
    weights = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"
    assert Lpips.missing() == f"no backbone weights at {weights}"
    assert Perceptual().lpips is None and "lpips" in Perceptual().left_out
    weights.parent.mkdir()
    weights.touch()
    found = Perceptual()
    assert found.lpips is not None and "lpips" not in found.left_out
    white, black = np.full((8, 9, 3), 255, np.uint8), np.zeros((8, 9, 3), np.uint8)
    assert found.lpips.distance(white, black) == pytest.approx(2)
    assert given[0].shape == (1, 3, 8, 9)
    assert (given[0].unique().tolist(), given[1].unique().tolist()) == ([1], [-1])


class FakeMediapipe:
    """Finds one landmark: the brightest pixel; none in a black picture."""

    __version__ = "1"
    ImageFormat = SimpleNamespace(SRGB="srgb")

    def __init__(self) -> None:
        create = SimpleNamespace(create_from_model_path=self.create)
        self.tasks = SimpleNamespace(vision=SimpleNamespace(FaceLandmarker=create))

    def create(self, path: str):
        if Path(path).read_text() == "broken":
            raise RuntimeError("bad\nmodel")
        return self

    @staticmethod
    def Image(image_format: str, data: np.ndarray) -> np.ndarray:
        assert image_format == "srgb" and data.flags["C_CONTIGUOUS"]
        return data

    @staticmethod
    def detect(rgb: np.ndarray):
        if not rgb.any():
            return SimpleNamespace(face_landmarks=[])
        y, x = np.unravel_index(rgb.sum(2).argmax(), rgb.shape[:2])
        point = SimpleNamespace(x=x / rgb.shape[1], y=y / rgb.shape[0])
        return SimpleNamespace(face_landmarks=[[point]])


def test_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "face.task"
    with pytest.raises(AvatarError, match=r"face.task: expected a face landmarker's .task file"):
        Landmarks(model)
    model.touch()
    monkeypatch.setitem(perceptual.sys.modules, "mediapipe", None)
    with pytest.raises(AvatarError, match=r"^package mediapipe: .* pip install mediapipe$"):
        Landmarks(model)
    monkeypatch.setitem(perceptual.sys.modules, "mediapipe", FakeMediapipe())
    black = np.zeros((20, 40, 3), np.uint8)
    one, other = black.copy(), black.copy()
    one[5, 10] = other[8, 14] = 255
    finder = landmarks.Landmarks(model)
    assert finder.about == "mediapipe 1, face.task"
    assert finder.distance_px(one, other) == pytest.approx(5)
    assert finder.distance_px(one, black) is None
    model.write_text("broken")
    with pytest.raises(AvatarError, match=r"face.task: expected .* model, found: bad model$"):
        Landmarks(model)
