"""From a video to a sequence: with a tracker made here, and, where it is there, MediaPipe's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from face_model import need_face_model

from avatar_viewer.config import DEMO_FOLDER
from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression import landmark_model
from avatar_viewer.expression.face_tracker import OPEN_GAP, TrackedFace
from avatar_viewer.expression.from_video import (
    CLOSING,
    Track,
    sequence_of_track,
    smoothed_video,
    track_video,
    transfer_video,
)
from avatar_viewer.expression.landmark_model import LandmarkModel
from avatar_viewer.expression.sequence import ExpressionSequence, Header, load_sequence
from avatar_viewer.expression.transfer import Options
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.live.movie import open_movie

FPS, SIDE_PX = 25.0, 64
UNITS = len(ARKIT_UNITS)
SMILE, LEFT_OUT = ARKIT_UNITS.index("mouthSmileLeft"), ARKIT_UNITS.index("eyeLookOutLeft")
RNG = np.random.default_rng(2)


def write_video(path: Path, count: int = 12) -> Path:
    """Picture i is grey 15 i."""
    with open_movie(path, FPS, (SIDE_PX, SIDE_PX)) as write:
        for index in range(count):
            write(np.full((SIDE_PX, SIDE_PX, 3), 15 * index, np.uint8))
    return path


class BrightnessTracker:
    """Sees in each picture a face whose place tells its brightness, and one far away."""

    name = "brightness"

    def __init__(self, blind: tuple[int, ...] = (), fails_at: int | None = None) -> None:
        self.blind, self.fails_at = blind, fails_at
        self.looked_at: list[int] = []

    def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
        index = round(float(rgb.mean()) / 15)
        if index == self.fails_at:
            raise KeyboardInterrupt
        self.looked_at.append(index)
        if index in self.blind:
            return []
        face = np.array([(0, 0), (8, 0), (0, 8.0)]) + index
        weights = np.full(UNITS, index / 100)
        return [TrackedFace(face + 200), TrackedFace(1.5 * face, weights)]


def test_every_frame_is_tracked_and_the_largest_face_followed(tmp_path: Path):
    video, said = VideoFile(write_video(tmp_path / "in.mp4")), []
    tracker = BrightnessTracker(blind=(4, 5))
    track = track_video(video, tracker, tmp_path / "kept.npz", progress=lambda *n: said.append(n))
    assert tracker.looked_at == list(range(12))
    assert np.flatnonzero(~track.seen).tolist() == [4, 5]
    assert track.landmarks[7, 0].tolist() == [10.5, 10.5]
    assert np.allclose(track.weights[7], 0.07) and np.isnan(track.weights[4]).all()
    assert (track.fps, track.longer_side_px) == (FPS, SIDE_PX)
    assert said == [(done, 12) for done in range(1, 13)]


def test_the_jaw_of_a_track_opens_as_far_as_the_lips(tmp_path: Path):
    class Lips(BrightnessTracker):
        def faces(self, rgb: np.ndarray) -> list[TrackedFace]:
            return [replace(face, lips_gap=0.5 * OPEN_GAP) for face in super().faces(rgb)]

    track = track_video(VideoFile(write_video(tmp_path / "in.mp4")), Lips(), tmp_path / "k.npz")
    assert track.weights[7, ARKIT_UNITS.index("jawOpen")] == 0.5
    assert track.weights[7, SMILE] == pytest.approx(0.07)


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path):
    path, kept = write_video(tmp_path / "in.mp4"), tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        track_video(VideoFile(path), BrightnessTracker(blind=(6,), fails_at=7), kept)
    tracker = BrightnessTracker()
    track = track_video(VideoFile(path), tracker, kept)
    assert tracker.looked_at == [7, 8, 9, 10, 11]
    assert np.flatnonzero(~track.seen).tolist() == [6]
    whole = track_video(VideoFile(path), BrightnessTracker(blind=(6,)), tmp_path / "other.npz")
    assert np.array_equal(track.landmarks, whole.landmarks, equal_nan=True)
    assert np.array_equal(track.weights, whole.weights, equal_nan=True)
    again = BrightnessTracker()
    track_video(VideoFile(path), again, kept)
    assert again.looked_at == []


@pytest.mark.parametrize("change", ["fps", "video", "tracker", "damage"])
def test_what_was_tracked_of_another_video_does_not_count(tmp_path: Path, change: str):
    path, kept = write_video(tmp_path / "in.mp4"), tmp_path / "kept.npz"
    track_video(VideoFile(path), BrightnessTracker(), kept)
    tracker = BrightnessTracker()
    if change == "video":
        write_video(path, count=11)
    elif change == "tracker":
        tracker.name = "another"
    elif change == "damage":
        kept.write_bytes(kept.read_bytes()[:200])
    track_video(VideoFile(path, 12.5 if change == "fps" else None), tracker, kept)
    assert len(tracker.looked_at) > 5


def test_of_a_damaged_video_the_part_before_counts(tmp_path: Path, monkeypatch):
    path, said = write_video(tmp_path / "in.mp4"), []
    whole = VideoFile.pictures

    def broken(self, first=0):
        for index, rgb in enumerate(whole(self, first)):
            if index == 5:
                raise AvatarError("in.mp4: expected a video, found: damage")
            yield rgb

    monkeypatch.setattr(VideoFile, "pictures", broken)
    track = track_video(VideoFile(path), BrightnessTracker(), tmp_path / "k.npz", said.append)
    assert len(track.landmarks) == 5
    assert said == ["in.mp4: expected a video, found: damage; going on with the 5 frames before"]


def model() -> LandmarkModel:
    places = RNG.uniform(-60, 60, (40, 3))
    return LandmarkModel(
        places,
        RNG.normal(size=(40, 3, 2)) * 4,
        np.full(40, 1e4),  # so blurred that what is expected stays
        np.full(UNITS, 0.5),
        np.array((0.8, 0.0)),
    )


def converted(track: Track, **options):
    matrix = torch.zeros(2, UNITS)
    matrix[0, SMILE] = 1
    arkit_map = ArkitMap(matrix, torch.tensor([0.0, 3.0]))
    prior = CodePrior(torch.zeros(2), torch.eye(2))
    return sequence_of_track(track, model(), arkit_map, prior, source="a video", **options)


def some_track(weights: np.ndarray, blind: tuple[int, ...] = ()) -> Track:
    landmarks = (model().places_mm[None, :, :2] * (3, -3) + 300).repeat(len(weights), axis=0)
    landmarks, weights = landmarks.astype(np.float32), weights.astype(np.float32)
    landmarks[list(blind)], weights[list(blind)] = np.nan, np.nan
    return Track(FPS, 600, landmarks, weights)


def test_frames_without_a_face_are_bridged():
    weights = np.zeros((11, UNITS))
    weights[5:, SMILE] = 0.8
    sequence = converted(some_track(weights, blind=(3, 4, 5, 6, 10)))
    assert sequence.header.fps == FPS and sequence.header.source == "a video"
    assert sequence.confidence is not None
    assert np.flatnonzero(sequence.confidence == 0).tolist() == [3, 4, 5, 6, 10]
    smile = sequence.codes[:, 0]
    assert smile[2] == pytest.approx(0, abs=0.01) and smile[7] == pytest.approx(0.4, abs=0.01)
    assert np.allclose(np.diff(smile[2:8]), 0.08, atol=0.01)
    assert smile[10] == smile[9]
    assert np.allclose(sequence.codes[:, 1], 3, atol=0.01)


def test_weights_count_from_those_at_rest():
    weights = np.full((30, UNITS), 0.2)
    weights[20:, SMILE] = 0.6
    by_itself = converted(some_track(weights)).codes[:, 0]
    assert by_itself[0] == pytest.approx(0, abs=0.01)
    assert by_itself[25] == pytest.approx(0.5 * (0.6 - 0.2) / 0.8, abs=0.01)
    told = converted(some_track(weights), neutral=25).codes[:, 0]
    assert np.allclose(told, 0, atol=0.01)


def test_gaze_counts_from_straight_ahead():
    weights = np.full((21, UNITS), 0.1)
    weights[15:, LEFT_OUT] = 0.7
    gaze = converted(some_track(weights)).codes[:, 2:]
    assert np.allclose(gaze[:15], 0, atol=1e-6)
    assert np.allclose(gaze[15:], (0.24, 0, 0.24, 0), atol=1e-6)


def test_a_mouth_that_closes_for_a_moment_stays_closed():
    """Where all numbers tremble so much that its closing does not show among them."""
    random, dim = np.random.default_rng(0), 20
    matrix = torch.zeros(dim, UNITS)
    units = [ARKIT_UNITS.index(unit) for unit in CLOSING]
    matrix[[0, 1, 2], units] = 1
    prior = CodePrior(torch.zeros(dim), torch.eye(dim))
    jaw = np.full(90, 0.6)
    jaw[[29, 30, 31, 59, 60, 61]] = (0.3, 0, 0.3) * 2
    codes = 0.08 * random.normal(size=(90, dim + 4))
    codes[:, 0] = jaw + 0.02 * random.normal(size=90)
    rough = ExpressionSequence(Header(FPS), codes.astype(np.float32))
    smooth = smoothed_video(rough, ArkitMap(matrix, torch.zeros(dim)), prior)
    for middle in (30, 60):
        assert smooth.codes[middle, 0] < 0.1 and smooth.codes[middle - 4, 0] > 0.45
    bends = [np.abs(np.diff(each.codes[:, 3:], n=2, axis=0)).mean() for each in (smooth, rough)]
    assert bends[0] < 0.3 * bends[1]


def test_a_tracker_without_weights_will_do():
    sequence = converted(some_track(np.full((4, UNITS), np.nan)))
    assert np.allclose(sequence.codes, (0, 3, 0, 0, 0, 0), atol=0.01)


def test_a_video_without_a_face_or_rest_is_refused():
    weights = np.zeros((3, UNITS))
    with pytest.raises(AvatarError, match="a video: expected a face, found none in 3 frames"):
        converted(some_track(weights, blind=(0, 1, 2)))
    for neutral in (1, 3, -1):
        with pytest.raises(AvatarError, match="neutral: expected a frame of 0 to 2 with a face"):
            converted(some_track(weights, blind=(1,)), neutral=neutral)


def test_the_output_is_looked_at_first(tmp_path: Path):
    with pytest.raises(AvatarError, match=r"out.txt: expected a name that ends in .npz"):
        transfer_video(tmp_path / "in.mp4", tmp_path / "out.txt", DEMO_FOLDER, Options())
    with pytest.raises(AvatarError, match=r"in.mp4: expected a video, found: "):
        transfer_video(tmp_path / "in.mp4", tmp_path / "out.npz", DEMO_FOLDER, Options())


@pytest.mark.slow
def test_the_demo_avatar_follows_a_film_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Vertices of lips, lids and brows against those of the expressions that were filmed."""
    need_face_model()
    from avatar_viewer.avatar import Avatar
    from avatar_viewer.expression.blend import bilinear
    from avatar_viewer.stages import RenderRequest

    avatar = Avatar.load(DEMO_FOLDER)
    corners = [corner.expression for corner in avatar.info.corners]
    pads = [(0, 0), (0.3, 0), (0.7, 0), (1, 0), (1, 0.5), (1, 1), (0.5, 1), (0, 1), (0, 0.5)]
    truth = [bilinear(corners, *pad) for pad in [*pads, (0, 0.2), (0, 0), (0, 0)]]
    camera = avatar.info.default_view.orbited(12, 3).camera(256, 256)
    path, out = tmp_path / "film.mp4", tmp_path / "codes.npz"
    with open_movie(path, FPS, (256, 256)) as write:
        for code in truth:
            request = RenderRequest(code, camera, steps=1, sampler=avatar.info.sampler)
            write(avatar.render(request).rgb)
    monkeypatch.setattr(landmark_model, "PICTURES", 20)
    monkeypatch.setattr(landmark_model, "user_cache_path", lambda name: tmp_path / name)
    # Each frame shows another expression: there is no trembling to take away.
    transfer_video(path, out, DEMO_FOLDER, Options(neutral=0, smooth=False))
    found = load_sequence(out)
    assert found.codes.shape == (12, avatar.info.expression_dim)
    assert found.confidence is not None and found.confidence.min() > 0.7
    assert found.head_pose_deg is not None
    assert np.abs(found.head_pose_deg[:, 0] + 12).max() < 5  # seen from its left
    assert not list(tmp_path.glob("*.tracked.npz"))

    canonical = avatar.head.head.vertices
    x, y, z = canonical[:, 0].abs(), canonical[:, 1], canonical[:, 2]
    lips = ((x / 0.13) ** 2 + ((y + 0.14) / 0.09) ** 2 < 1) & (z > 0.24)
    lids = (((x - 0.115) / 0.08) ** 2 + ((y - 0.11) / 0.06) ** 2 < 1) & (z > 0.2)
    brows = (x > 0.03) & (x < 0.26) & (y > 0.16) & (y < 0.26) & (z > 0.2)

    def distance_mm(codes) -> float:
        parts = []
        for code, true in zip(codes, truth, strict=True):
            moved = avatar.head.pose(code).vertices - avatar.head.pose(true).vertices
            parts.append([float(moved[part].norm(dim=1).mean()) for part in (lips, lids, brows)])
        return 250 * float(np.mean(parts))

    error_mm = distance_mm([found.at(i / FPS) for i in range(12)])
    assert error_mm < min(2.0, 0.6 * distance_mm([corners[0]] * 12))
