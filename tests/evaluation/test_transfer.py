"""What a transfer loses, on an avatar whose codes are the true weights: nothing but what is done
to them here."""

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file
from tiny import tiny_poser

from avatar_viewer.data.frames import FRAMES_FILE
from avatar_viewer.data.head_sampler import CANONICAL_WEIGHTS, EYE_POINTS, HeadScans
from avatar_viewer.data.synthesis.made_up_motion import MadeUpMotion, make_up_motion
from avatar_viewer.data.synthesis.plan import FOOTAGE, planned_frames
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import transfer, transfer_footage
from avatar_viewer.evaluation.known_motion import KnownMotion, closings, event_time
from avatar_viewer.evaluation.transfer import (
    Sources,
    evaluate_transfer,
    mean_figures,
    moving_figures,
    still_figures,
)
from avatar_viewer.evaluation.transfer_footage import Footage, footage_codes, read_footage
from avatar_viewer.evaluation.transfer_report import AT_REST, FACE, MOVING, report
from avatar_viewer.evaluation.transfer_sources import (
    Codes,
    Stage,
    load_stage,
    mesh_codes,
    turned,
    unit_codes,
)
from avatar_viewer.expression.fit import ANCHOR_NAMES
from avatar_viewer.expression.from_meshes import MeshFit
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.expression.transfer import Options
from avatar_viewer.head.arkit import ArkitMap, save_arkit_map
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import CodePrior
from avatar_viewer.head.nphm import CODES_FILE
from avatar_viewer.head.storage import CANONICAL_HEAD_FILE, save_canonical_head
from avatar_viewer.live.footage import write_footage
from avatar_viewer.weights import save_network, save_tensors

SKIN = 39 * 6
MM = 0.004
"""In units."""


def scans(count: int = 60, seed: int = 0) -> HeadScans:
    """Six points of skin around each anchor; each unit moves all by its own random length."""
    random = np.random.default_rng(0)
    anchors = random.uniform(-0.3, 0.3, (39, 3))
    for upper, lower, gap in (
        ("left upper lid", "left lower lid", 0.035),
        ("right upper lid", "right lower lid", 0.035),
        ("upper lip", "lower lip", 0.005),
    ):
        above = anchors[ANCHOR_NAMES.index(upper)]
        anchors[ANCHOR_NAMES.index(lower)] = above - (0, gap, 0)
    skin = (anchors[:, None] + random.uniform(-0.001, 0.001, (39, 6, 3))).reshape(-1, 3)
    canonical = np.concatenate([skin, np.zeros((2 * EYE_POINTS, 3))]).astype(np.float32)
    weights = np.random.default_rng(seed).uniform(size=(count, 52)).astype(np.float32)
    weights[0] = 0
    offsets = np.zeros((count, *canonical.shape), np.float32)
    offsets[:, :SKIN] = ((weights - CANONICAL_WEIGHTS) @ moves().reshape(52, -1)).reshape(
        count, SKIN, 3
    )
    return HeadScans(
        canonical=canonical,
        normals=canonical,
        on_surface=np.ones(len(canonical), np.uint8),
        anchors=anchors.astype(np.float32),
        posed=canonical + offsets,
        weights=weights,
        gaze=np.zeros((count, 4), np.float32),
        sdf_points=np.zeros((1, 3), np.float32),
        sdf=np.zeros(1, np.float32),
    )


def moves() -> np.ndarray:
    """[52,SKIN,3]: lids and lips open and close, up and down; the rest moves a little, anyhow."""
    found = 0.0004 * np.random.default_rng(1).normal(size=(52, SKIN, 3))
    for unit, names, length in (
        ("eyeBlinkLeft", ("left upper lid",), -0.03),
        ("eyeBlinkRight", ("right upper lid",), -0.03),
        ("jawOpen", ("lower lip", "side of the lower lip"), -0.08),
    ):
        row = ARKIT_UNITS.index(unit)
        for name in names:
            for number in (i for i, n in enumerate(ANCHOR_NAMES) if n.endswith(name)):
                found[row, 6 * number : 6 * number + 6] = (0, length, 0)
    return found.astype(np.float32)


class Known:
    """A head model whose codes are the weights; it knows its points by their places."""

    def __init__(self, truth: KnownMotion) -> None:
        self.truth = truth
        self.rows = {row.tobytes(): index for index, row in enumerate(truth.canonical)}

    def deform(self, points, identity, z):
        chosen = np.array([self.rows[row.tobytes()] for row in points.numpy()])
        return torch.from_numpy(self.truth.offsets(z.numpy()[None], chosen)[0])


@pytest.fixture
def stage() -> Stage:
    truth = KnownMotion(scans(), 4.0)
    head = SimpleNamespace(nphm=Known(truth), identity=torch.zeros(1))
    prior = CodePrior(torch.zeros(52), torch.eye(52))
    arkit_map = ArkitMap(torch.eye(52), torch.zeros(52))
    return Stage(head, arkit_map, (prior, prior), truth)  # type: ignore[arg-type]


def tensor(weights: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(weights, np.float32))


def test_a_head_is_known_in_weights_that_no_scan_had(stage: Stage):
    other = scans(5, seed=7)
    assert stage.truth.offsets(other.weights) == pytest.approx(
        other.posed - other.canonical, abs=1e-5
    )
    some = np.array([3, 200, 7])
    assert stage.truth.offsets(other.weights, some) == pytest.approx(
        (other.posed - other.canonical)[:, some], abs=1e-5
    )
    assert stage.truth.skin.sum() == SKIN
    lids = [number for number, name in enumerate(ANCHOR_NAMES) if "lid" in name]
    assert all(stage.truth.region("lids")[6 * number] for number in lids)


def test_scans_that_do_not_tell_every_unit_are_named():
    with pytest.raises(AvatarError, match="linear in ARKit weights, 20 independent of 53"):
        KnownMotion(scans(20), 4.0)
    bent = scans()
    bent.posed[3] += 0.001
    with pytest.raises(AvatarError, match="expected scans that are linear in ARKit weights"):
        KnownMotion(bent, 4.0)


@pytest.mark.parametrize("seed", range(5))
def test_made_up_motion_has_its_events(seed: int):
    motion = make_up_motion(np.random.default_rng(seed))
    weights = motion.weights
    assert weights.min() >= 0 and weights.max() <= 1 and weights[:3].max() < 0.2
    assert len(motion.blinks) >= 3 and len(motion.closures) >= 3
    blink, jaw = (weights[:, ARKIT_UNITS.index(unit)] for unit in ("eyeBlinkLeft", "jawOpen"))
    for frame in motion.blinks:
        assert blink[frame] == 1 and blink[frame - 3] == 0
    for frame in motion.closures:
        assert jaw[frame] < 0.02 and jaw[frame - 6] > 0.1


def test_when_something_closes():
    time = np.arange(40)
    for middle in (20.0, 20.3, 19.6):
        gap = 5 - 4 * np.clip(1 - np.abs(time - middle) / 3, 0, 1)
        assert event_time(gap, 20) == pytest.approx(middle, abs=0.2)
    assert event_time(np.full(40, 3.0), 20) == pytest.approx(20, abs=6)


def test_what_closes_is_found():
    gap = np.full(40, 10.0) + 0.1 * np.sin(np.arange(40))
    for middle, depth in ((8, 9), (20, 3), (31, 7)):
        gap -= depth * np.clip(1 - np.abs(np.arange(40) - middle) / 3, 0, 1)
    assert closings(gap) == (8, 31)


def test_the_truth_has_no_errors(stage: Stage):
    person, motion = scans(5, seed=7), make_up_motion(np.random.default_rng(0))
    still = still_figures(stage, tensor(person.weights), person.weights)
    assert max(still.values()) < 1e-3
    moving = moving_figures(stage, tensor(motion.weights), motion)
    assert moving.pop("jitter") == pytest.approx(1) and max(moving.values()) < 1e-3


def test_what_is_wrong_is_measured(stage: Stage):
    person, motion = scans(5, seed=7), make_up_motion(np.random.default_rng(0))
    wrong = person.weights.copy()
    wrong[:, ARKIT_UNITS.index("jawOpen")] += 0.05
    still = still_figures(stage, tensor(wrong), person.weights)
    assert still["lips_mm"] > still["lids_mm"] and still["lips_mm"] > 0.3
    assert still["face_mm"] == pytest.approx(np.mean([still[f"{name}_mm"] for name in FACE]))

    late = np.roll(motion.weights, 2, axis=0)
    figures = moving_figures(stage, tensor(late), motion)
    assert figures["blink_frames"] == pytest.approx(2, abs=0.2)
    assert figures["closure_frames"] == pytest.approx(2, abs=0.5)
    damped = motion.weights.copy()
    damped[:, ARKIT_UNITS.index("eyeBlinkLeft")] *= 0.5
    figures = moving_figures(stage, tensor(damped), motion)
    assert figures["blink_gap_mm"] == pytest.approx(0.5 * 0.5 * 0.03 / MM, rel=0.3)
    assert figures["closure_gap_mm"] < 0.5
    rough = motion.weights + 0.05 * np.random.default_rng(0).normal(size=motion.weights.shape)
    assert moving_figures(stage, tensor(rough), motion)["jitter"] > 1.5


def test_weights_of_a_phone_are_calibrated_and_smoothed(stage: Stage):
    person, motion = scans(5, seed=7), make_up_motion(np.random.default_rng(0))
    codes = unit_codes(stage, person, motion, np.random.default_rng(0))
    assert codes.still.shape == (5, 52) and codes.moving.shape == motion.weights.shape
    assert codes.still[0].abs().max() < 0.05  # at rest
    assert (codes.still - tensor(person.weights)).abs().max() < 0.2
    figures = [moving_figures(stage, each, motion)["jitter"] for each in codes[1:]]
    assert figures[0] < figures[1]


def test_meshes_tremble_and_turn_and_come_back(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """In place of the fit, what it is given: the person at rest, its scans, and a motion."""
    person, motion = scans(5, seed=7), make_up_motion(np.random.default_rng(0))
    given = []

    def fit(frames: np.ndarray) -> MeshFit:
        given.append(frames)
        codes = torch.zeros(len(frames), 52)
        return MeshFit(codes, np.zeros(len(frames)), np.zeros((len(frames), 3), np.float32))

    def fit_person(nphm, priors, rest, scan, vertices) -> SimpleNamespace:
        assert np.array_equal(scan.points, person.posed[0]) and np.array_equal(
            vertices, person.posed[0]
        )
        return SimpleNamespace(fit=fit)

    monkeypatch.setattr("avatar_viewer.evaluation.transfer_sources.fit_person", fit_person)
    codes = mesh_codes(stage, person, motion, np.random.default_rng(0))
    assert codes.still.shape == (5, 52) and codes.moving.shape == (96, 52)
    scanned, moving = given
    assert np.array_equal(scanned, person.posed)
    true = person.canonical + stage.truth.offsets(motion.weights)
    assert np.abs(moving - turned(true)).mean() == pytest.approx(0.2 * MM * 0.8, rel=0.05)
    assert np.linalg.norm(moving - true, axis=2)[20:].max() > 5 * MM


def test_tables_and_files(stage: Stage, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys):
    def codes(stage: Stage, person: HeadScans, motion: MadeUpMotion, rng) -> Codes:
        return Codes(tensor(person.weights), tensor(motion.weights), tensor(motion.weights * 0.5))

    monkeypatch.setattr(transfer, "mesh_codes", codes)
    monkeypatch.setattr(transfer, "load_stage", lambda folder, heads: stage)
    results = tmp_path / "results.md"
    results.write_text("# Other\n\nkept\n")
    heads = write_heads(tmp_path / "heads")
    evaluate_transfer(None, Sources(heads, 1), tmp_path / "figures.json", results)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert list(figures["mean"]) == ["meshes", "ARKit weights"] and len(figures["people"]) == 1
    assert figures["footage"] == []
    assert figures["mean"]["meshes"]["face_mm"] < 1e-3
    text = results.read_text()
    assert text.startswith("# Other\n\nkept\n\n# Transfer\n")
    assert "| meshes | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | <= 0.8 | kept |" in text
    assert "* video, left out: no --footage was given" in text and "| video |" not in text
    assert (
        "| meshes, not smoothed |" in text and "person 1/1: meshes 0.00" in capsys.readouterr().out
    )


def test_videos_have_rows_where_a_tracker_is(
    stage: Stage, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """In place of meshes, weights and the tracker, what they would find."""
    film = Footage(tmp_path / "footage.mp4", make_up_motion(np.random.default_rng(3)).weights)

    def of_heads(stage: Stage, person: HeadScans, motion: MadeUpMotion, rng) -> Codes:
        return Codes(tensor(person.weights), tensor(motion.weights), tensor(motion.weights))

    def of_film(stage: Stage, footage: Footage, avatar, face_model) -> Codes:
        weights = footage.weights.copy()
        weights[:, ARKIT_UNITS.index("jawOpen")] *= 0.5
        return Codes(*3 * [tensor(weights)])

    for name, value in (
        ("mesh_codes", of_heads),
        ("unit_codes", of_heads),
        ("footage_codes", of_film),
        ("load_stage", lambda folder, heads: stage),
        ("read_footage", lambda folder: film),
        ("tracker_misses", lambda face_model: None),
    ):
        monkeypatch.setattr(transfer, name, value)
    sources = Sources(write_heads(tmp_path / "heads"), 1, (tmp_path, tmp_path))
    evaluate_transfer(None, sources, tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["footage"]) == 2
    assert 1 < figures["mean"]["video"]["lips_mm"] < figures["mean"][AT_REST]["lips_mm"]
    text = capsys.readouterr().out
    assert "* video, of 2 more people" in text and f"| {AT_REST} |" in text
    assert "| <= 2 | kept |" in text

    monkeypatch.setattr(transfer, "tracker_misses", lambda face_model: "no model")
    evaluate_transfer(None, sources, tmp_path / "figures.json")
    assert "* video, left out: no model" in capsys.readouterr().out


def test_what_closes_in_footage_is_known(stage: Stage, tmp_path):
    motion = make_up_motion(np.random.default_rng(0))
    found = Footage(tmp_path / "footage.mp4", motion.weights).motion(stage.truth)
    assert found.blinks == motion.blinks and found.closures
    still = Footage(tmp_path / "footage.mp4", np.zeros((20, 52)))
    with pytest.raises(AvatarError, match=r"footage.mp4: expected blinks, and a mouth that closes"):
        still.motion(stage.truth)


def write_frames(folder: Path, count: int) -> None:
    """Footage as `data synthesize` lists it, of one colour each."""
    (folder / "frames").mkdir()
    lines = []
    for index, frame in enumerate(planned_frames(FOOTAGE, 0, count, np.zeros(3))):
        record = frame.record(32)
        colour = (8 * index, 0, 0, 255)
        Image.new("RGBA", (32, 32), colour).save(folder / record["file"], lossless=True)
        lines.append(json.dumps(record) + "\n")
    (folder / FRAMES_FILE).write_text("".join(lines))


def test_footage_is_read_and_followed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_frames(tmp_path, 20)
    assert write_footage(tmp_path) == f"Saved {tmp_path / 'footage.mp4'} (20 pictures)"
    footage = read_footage(tmp_path)
    assert footage.weights.shape == (20, 52) and footage.weights[0].max() < 0.1
    assert footage.weights[19].max() > 0.2

    def transfer_video(video: Path, out: Path, avatar: Path, options: Options, *rest):
        assert (video, options) == (footage.video, Options(fps=24, smooth=False))
        codes = np.random.default_rng(0).normal(size=(20, 52 + 4)).astype(np.float32)
        return ExpressionSequence(Header(24), codes)

    monkeypatch.setattr(transfer_footage, "transfer_video", transfer_video)
    codes = footage_codes(stage, footage, tmp_path, None)
    assert codes.still.shape == (20, 52) and torch.equal(codes.still, codes.moving)
    assert codes.moving.std() < codes.trembling.std()

    lines = (tmp_path / FRAMES_FILE).read_text().splitlines(keepends=True)
    (tmp_path / FRAMES_FILE).write_text("".join(lines[:-3]))
    with pytest.raises(AvatarError, match=r"footage.mp4: expected 17 pictures, .*, found 20"):
        read_footage(tmp_path)


def test_the_report_says_what_is_missed():
    good = dict.fromkeys([*(f"{name}_mm" for name in (*FACE, "face", "jaw", "head")), *MOVING], 0.5)
    good |= {f"raw_{name}": 9.0 for name in MOVING}
    means = {"meshes": good, "ARKit weights": good}
    assert "MISSED" not in report(means, (3, 0), "demo", "none given")
    for bad in ({"face_mm": 0.9}, {"jitter": 1.6}, {"blink_frames": 1.1}):
        assert report({"meshes": good | bad}, (3, 0), "demo", "").count("MISSED") == 1


def test_timing_is_that_of_the_worst_person():
    rows = [{"meshes": {"face_mm": v, "blink_frames": v}} for v in (1.0, 2.0)]
    assert mean_figures(rows) == {"meshes": {"face_mm": 1.5, "blink_frames": 2.0}}


def write_heads(folder, count: int = 2):
    """The first for training, the last held out."""
    folder.mkdir()
    names = [f"head_{number}.safetensors" for number in range(count)]
    for number, name in enumerate(names):
        head = scans(60 if number == 0 else 5, number)
        save_file({entry.name: getattr(head, entry.name) for entry in fields(head)}, folder / name)
    (folder / "heads.yaml").write_text(yaml.safe_dump({"heads": names, "held_out": names[-1:]}))
    return folder


def test_the_first_head_must_be_the_avatars_person(tmp_path):
    poser, folder = tiny_poser(), tmp_path / "avatar"
    save_network(poser.nphm, folder / "head")
    save_canonical_head(folder / "head" / CANONICAL_HEAD_FILE, poser.head, poser.identity)
    random = torch.randn(5, 4)
    identities = poser.identity + 0.1 * torch.randn(5, len(poser.identity))
    save_tensors({"identity": identities, "expression": random}, folder / "head" / CODES_FILE)
    save_arkit_map(ArkitMap(torch.ones(4, 52), torch.zeros(4)), folder / "head")
    with pytest.raises(AvatarError, match=r"as the first head .*, found one .* mm beside it"):
        load_stage(folder, write_heads(tmp_path / "heads"))
