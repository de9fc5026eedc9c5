"""The embedded avatar: that its pictures are of the person, and follow pad and camera."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import DEMO_FOLDER, from_plain
from avatar_viewer.evaluation.metrics import psnr
from avatar_viewer.expression.blend import bilinear
from avatar_viewer.raster.camera import project
from avatar_viewer.stages import RenderRequest

FRAMES = Path(__file__).parent / "demo_frames"
CORNERS = {"neutral": (0, 0), "smile": (1, 0), "surprise": (0, 1), "pucker": (1, 1)}


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return Avatar.load(DEMO_FOLDER)


def request(avatar: Avatar, x: float, y: float, azimuth_deg: float = 0.0) -> RenderRequest:
    codes = [corner.expression for corner in avatar.info.corners]
    view = replace(avatar.info.default_view, azimuth_deg=azimuth_deg)
    size = avatar.info.resolution_px
    return RenderRequest(bilinear(codes, x, y), view.camera(size, size), steps=avatar.info.steps)


def mouth(avatar: Avatar, rgb: np.ndarray, of: RenderRequest) -> np.ndarray:
    """The picture around the lips, found by the mesh's own mouth."""
    mesh = avatar.head.pose(of.expression)
    near = (mesh.canonical[:, 0].abs() < 0.14) & (mesh.canonical[:, 1] + 0.14).abs().lt(0.1)
    lips = near & (mesh.canonical[:, 2] > 0.24)
    assert lips.sum() > 50
    pixels, _ = project(mesh.canonical[lips], of.camera)
    left, top = pixels.min(0).values.int().tolist()
    right, bottom = pixels.max(0).values.int().tolist()
    return rgb[top:bottom, left:right].astype(float)


def test_corners_have_visibly_different_mouths(avatar: Avatar) -> None:
    """By the part of the mouth that clearly differs, and far more than another seed changes."""
    mouths, of_seed = {}, {}
    for name, (x, y) in CORNERS.items():
        asked = request(avatar, x, y)
        mouths[name] = mouth(avatar, avatar.render(asked).rgb, asked)
        again = mouth(avatar, avatar.render(replace(asked, seed=1)).rgb, asked)
        of_seed[name] = clearly_different(mouths[name], again)
    for a, b in combinations(mouths, 2):
        part = clearly_different(mouths[a], mouths[b])
        print(f"{part:.1%} of the mouth differs between {a} and {b}")
        assert part > 0.03
        assert part > 4 * max(of_seed[a], of_seed[b])


def clearly_different(a: np.ndarray, b: np.ndarray) -> float:
    """The part of the pixels with a channel that differs by more than 24 levels."""
    return float((np.abs(a - b).max(-1) > 24).mean())


def test_each_corner_is_closest_to_its_own_true_frame(avatar: Avatar) -> None:
    """Of the four corners, seen as in a true frame of one, that one has the most alike mouth."""
    codes = [corner.expression for corner in avatar.info.corners]
    for own, (truth, frame) in enumerate(true_frames()[: len(codes)]):
        errors = []
        for code in codes:
            asked = replace(frame, expression=code)
            rendered = mouth(avatar, avatar.render(asked).rgb, asked)
            errors.append(np.abs(rendered - mouth(avatar, truth, asked)).mean())
        print(avatar.info.corners[own].name, np.round(errors, 1))
        assert int(np.argmin(errors)) == own


def test_moving_over_the_pad_changes_the_face_gradually(avatar: Avatar) -> None:
    steps = [avatar.render(request(avatar, x, 0)).rgb.astype(float) for x in (0, 0.1, 0.5, 1)]
    distance = [np.abs(picture - steps[0]).mean() for picture in steps]
    assert distance[1] < distance[2] < distance[3]


def test_camera_turns_the_head(avatar: Avatar) -> None:
    pictures = {
        azimuth_deg: avatar.render(request(avatar, 0, 0, azimuth_deg)).rgb.astype(float)
        for azimuth_deg in (-40, 0, 40)
    }
    foreheads = {azimuth_deg: forehead(rgb) for azimuth_deg, rgb in pictures.items()}
    # Seen from the subject's left, which is the picture's right, the face looks to the left.
    assert foreheads[40] < foreheads[0] - 0.03
    assert foreheads[-40] > foreheads[0] + 0.03
    # The head is nearly symmetric, so the view from one side is the other's mirror image.
    mirrored = np.abs(pictures[40] - pictures[-40][:, ::-1]).mean()
    assert mirrored < 0.5 * np.abs(pictures[40] - pictures[-40]).mean()


def forehead(rgb: np.ndarray) -> float:
    """Where, from 0 to 1, the skin between the hair lies."""
    size = rgb.shape[0]
    rows = rgb[int(0.25 * size) : int(0.4 * size)]
    skin = (rows[..., 0] - rows[..., 2] > 35) & (rows.mean(-1) > 120)
    return np.nonzero(skin)[1].mean() / size


def test_training_views_are_closer_to_their_frame_than_to_others(avatar: Avatar) -> None:
    truth, requests = zip(*true_frames(), strict=True)
    rendered = [avatar.render(asked).rgb for asked in requests]
    table = np.array([[psnr(picture, true) for true in truth] for picture in rendered])
    own = table.diagonal()
    others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
    print(f"PSNR to the own frame {own.mean():.1f} dB, to the others {others.mean():.1f} dB")
    assert (own > others.max(1) + 2).all(), f"own {own.round(1)}, others {others.max(1).round(1)}"
    assert own.mean() > others.mean() + 8


def true_frames() -> list[tuple[np.ndarray, RenderRequest]]:
    """Training frames, those of the corners first, and the request of the same picture."""
    entries = json.loads((FRAMES / "frames.json").read_text())
    return [
        (
            np.asarray(Image.open(FRAMES / entry["file"]).convert("RGB")),
            from_plain(entry["request"], RenderRequest, entry["file"]),
        )
        for entry in entries
    ]


def test_same_request_gives_the_same_bytes(avatar: Avatar) -> None:
    asked = request(avatar, 0.3, 0.7, azimuth_deg=11)
    first = avatar.render(asked).rgb
    assert np.array_equal(Avatar.load(DEMO_FOLDER).render(asked).rgb, first)
    assert np.array_equal(avatar.render(asked).rgb, first)


def test_it_is_small_and_says_what_it_is() -> None:
    here = DEMO_FOLDER.glob("[!.]*")  # a runtime keeps what it converts in a hidden folder
    files = [path for each in here for path in (each, *each.rglob("*")) if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60e6
    card = (DEMO_FOLDER / "README.md").read_text()
    for word in ("PSNR", "SSIM", "steps", "fictional", "train avatar"):
        assert word in card
