"""Codes of somebody's meshes: on a head model that can make them, turned and trembling."""

from functools import partial

import numpy as np
import pytest
import torch
import trimesh
import yaml
from scipy.spatial.transform import Rotation
from tiny import Z_DIM, tiny_nphm, tiny_poser

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression import from_meshes
from avatar_viewer.expression.fit import ANCHOR_NAMES
from avatar_viewer.expression.from_meshes import (
    MeshFit,
    TrackedPerson,
    fit_person,
    influence_mm,
    telling,
)
from avatar_viewer.expression.sequence import load_sequence
from avatar_viewer.expression.transfer import (
    Meshes,
    Options,
    mesh_files,
    read_vertices,
    transfer_meshes,
    transfer_units,
)
from avatar_viewer.head.arkit import ArkitMap, save_arkit_map
from avatar_viewer.head.arkit_units import ARKIT_UNITS
from avatar_viewer.head.fit_scan import CodePrior, carried, fit_scan
from avatar_viewer.head.nphm import CODES_FILE
from avatar_viewer.head.scan import Scan
from avatar_viewer.head.storage import CANONICAL_HEAD_FILE, save_canonical_head
from avatar_viewer.weights import save_network, save_tensors

T = 20
PRIORS = (
    CodePrior(torch.zeros(tiny_nphm().identity_dim), torch.zeros(0, 1)),
    CodePrior(torch.zeros(Z_DIM), 0.5 * torch.eye(Z_DIM)),
)


def moving_codes() -> torch.Tensor:
    """[T,Z] a course that begins at rest."""
    time = torch.arange(T) / T
    return 0.5 * torch.stack([(k + 1) * time.mul(4 + k).sin() for k in range(Z_DIM)], dim=1) / 3


def posed(codes: torch.Tensor) -> np.ndarray:
    """[T,N,3] the tiny head."""
    poser = tiny_poser()
    points = poser.head.vertices
    with torch.no_grad():
        return torch.stack(
            [points + poser.nphm.deform(points, poser.identity, z) for z in codes]
        ).numpy()


def tracked() -> TrackedPerson:
    """The tiny head, whose identity and points are known."""
    poser, rest = tiny_poser(), torch.zeros(Z_DIM)
    points, axes = poser.head.vertices, PRIORS[1].axes
    return TrackedPerson(
        poser.nphm,
        poser.identity,
        rest,
        np.arange(len(points)),
        points,
        posed(rest[None])[0],
        influence_mm(poser.nphm, poser.identity, points, rest, axes).detach(),
        axes,
        np.eye(3),
    )


def test_codes_of_a_known_person_are_found():
    person = tracked()
    fit = person.fit(posed(moving_codes()))
    assert fit.codes.shape == (T, Z_DIM) and fit.error_mm.max() < 1
    still = person.fit(np.repeat(posed(torch.zeros(1, Z_DIM)), 5, axis=0))
    assert still.error_mm.max() < 0.3 and np.abs(still.head_pose_deg).max() < 0.1


def test_what_expressions_move():
    poser = tiny_poser()
    points, rest = poser.head.vertices[:50], torch.zeros(Z_DIM)
    with torch.no_grad():
        influence = influence_mm(poser.nphm, poser.identity, points, rest, PRIORS[1].axes)
        moved = poser.nphm.deform(points, poser.identity, PRIORS[1].axes[1])
        moved = moved - poser.nphm.deform(points, poser.identity, rest)
    assert influence.shape == (50, 3, Z_DIM)
    assert influence[..., 1].numpy() == pytest.approx(moved.numpy() * 250, abs=1e-3)


def test_places_that_tell_most_are_chosen(monkeypatch):
    """Ten points that alone show the second axis, a little; a thousand that show the first."""
    monkeypatch.setattr(from_meshes, "PLACES", 100)
    influence = torch.zeros(1010, 3, 2)
    influence[:1000, 0, 0], influence[1000:, 1, 1] = 20.0, 5.0
    chosen = telling(influence)
    assert len(set(chosen)) == 100 and (chosen >= 1000).sum() >= 8
    assert len(telling(influence[:7])) == 7


def test_a_sequence_of_a_fit():
    fit = MeshFit(torch.ones(3, 2), np.array([0.0, 2.0, 20.0]), np.zeros((3, 3), np.float32))
    sequence = fit.sequence(25, "a folder")
    assert sequence.codes.tolist() == [[1, 1, 0, 0, 0, 0]] * 3
    assert sequence.confidence == pytest.approx((1, 0.5, 0.01), abs=1e-3)
    assert (sequence.header.fps, sequence.header.source) == (25, "a folder")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(from_meshes, "fit_scan", partial(fit_scan, steps=40))


def test_a_mesh_that_the_model_cannot_make_is_named():
    poser = tiny_poser()
    scan, far = Scan(poser.head.vertices), torch.full((Z_DIM,), 60.0)
    prior = CodePrior(poser.identity, torch.zeros(1, len(poser.identity)))
    with pytest.raises(AvatarError, match="neutral mesh: expected a face at rest, of which 100"):
        fit_person(poser.nphm, (prior, PRIORS[1]), far, scan, scan.points.numpy())


def test_a_person_is_fitted_where_landmarks_say():
    """The mesh lies far away and turned: landmarks bring it back, and tell the head's axes."""
    poser = tiny_poser()
    prior = CodePrior(poser.identity, torch.zeros(1, len(poser.identity)))
    away = torch.eye(4)
    away[:3, :3] = torch.from_numpy(
        Rotation.from_euler("xyz", (30, 60, -20), degrees=True).as_matrix()
    ).float()
    away[:3, 3] = torch.tensor([5.0, 1.0, -3.0])
    rest = torch.from_numpy(posed(torch.zeros(1, Z_DIM))[0])
    anchors = poser.nphm.anchors(poser.identity)
    with torch.no_grad():
        anchors = anchors + poser.nphm.deform(anchors, poser.identity, torch.zeros(Z_DIM))
    here = Scan(rest, None, dict(enumerate(anchors.detach())))
    scan = carried(here, away)
    person = fit_person(
        poser.nphm, (prior, PRIORS[1]), torch.zeros(Z_DIM), scan, scan.points.numpy()
    )
    assert person.head_from_scan @ away[:3, :3].numpy() == pytest.approx(np.eye(3), abs=0.1)
    assert np.abs(person.rest - rest.numpy()[person.places]).max() < 0.1
    fit = person.fit(scan.points.numpy()[None].repeat(2, axis=0))
    assert np.abs(fit.head_pose_deg).max() < 8
    with pytest.raises(AvatarError, match="vertices in the head model's box, found 0; see --land"):
        fit_person(poser.nphm, PRIORS, None, Scan(scan.points), scan.points.numpy())


@pytest.fixture
def avatar(tmp_path):
    """An avatar's head, which is all that is read."""
    poser = tiny_poser()
    head = tmp_path / "avatar/head"
    save_network(poser.nphm, head)
    save_canonical_head(head / CANONICAL_HEAD_FILE, poser.head, poser.identity)
    random = torch.Generator().manual_seed(0)
    identities = poser.identity + 0.05 * torch.randn(4, len(poser.identity), generator=random)
    expressions = torch.randn(9, Z_DIM, generator=random)
    save_tensors({"identity": identities, "expression": expressions}, head / CODES_FILE)
    return tmp_path / "avatar"


def write_meshes(folder, frames, metres=0.25, faces=None):
    folder.mkdir()
    faces = tiny_poser().head.faces.numpy() if faces is None else faces
    for number, vertices in enumerate(frames):
        mesh = trimesh.Trimesh(vertices * metres, faces, process=False)
        mesh.export(folder / f"head{number}.{'obj' if number % 2 else 'ply'}")
    return folder


def test_meshes_become_a_file(tmp_path, avatar, monkeypatch):
    monkeypatch.setattr(from_meshes, "STEPS", 20)
    save_arkit_map(ArkitMap(torch.ones(Z_DIM, 52), torch.zeros(Z_DIM)), avatar / "head")
    folder, said = write_meshes(tmp_path / "meshes", posed(moving_codes())), []
    out = tmp_path / "codes.npz"
    transfer_meshes(Meshes(folder), out, avatar, Options(fps=24), said.append)
    sequence = load_sequence(out)
    assert sequence.codes.shape == (T, Z_DIM + 4) and not sequence.codes[:, -4:].any()
    assert (sequence.header.fps, sequence.header.source) == (24, "meshes")
    assert sequence.head_pose_deg.shape == (T, 3) and (sequence.confidence > 0).all()
    assert "fitting expressions to 20 meshes" in said
    with pytest.raises(AvatarError, match="neutral: expected 0 to 19, found 20"):
        transfer_meshes(Meshes(folder), out, avatar, Options(neutral=20))
    with pytest.raises(AvatarError, match=r"found .* m; it would be one in dm"):
        write_meshes(tmp_path / "dm", posed(moving_codes()[:1]), metres=2.5)
        transfer_meshes(Meshes(tmp_path / "dm"), out, avatar, Options())
    marks = tmp_path / "landmarks.yaml"
    marks.write_text(yaml.safe_dump({"ear": [0, 0, 0]}))
    with pytest.raises(AvatarError, match=f"such as '{ANCHOR_NAMES[0]}', found 'ear'"):
        transfer_meshes(Meshes(folder, "m", marks), out, avatar, Options())


def test_meshes_are_taken_by_their_numbers(tmp_path):
    for name in ("f10.ply", "f9.ply", "f2.obj", "f.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in mesh_files(tmp_path)] == ["f2.obj", "f9.ply", "f10.ply"]


def test_meshes_that_are_none_are_one_line(tmp_path):
    with pytest.raises(AvatarError, match="none: expected a folder of meshes, found"):
        mesh_files(tmp_path / "none")
    with pytest.raises(AvatarError, match=r"expected meshes \(\.obj, \.ply\), found none"):
        mesh_files(tmp_path)
    frames = posed(moving_codes()[:2])
    files = mesh_files(write_meshes(tmp_path / "a", frames))
    assert read_vertices(files, 4).shape == frames.shape
    files[1].write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(AvatarError, match=r"head1\.obj: expected 642 vertices and the faces of"):
        read_vertices(files, 4)


def test_weights_become_a_file(tmp_path, avatar):
    lines = [",".join(ARKIT_UNITS), *[",".join([f"{0.1 * t:.1f}"] * 52) for t in range(9)]]
    (tmp_path / "w.csv").write_text("\n".join(lines))
    out = tmp_path / "codes.npz"
    with pytest.raises(AvatarError, match="expected an avatar with an ARKit map"):
        transfer_units(tmp_path / "w.csv", out, avatar, Options())
    save_arkit_map(ArkitMap(torch.ones(Z_DIM, 52), torch.zeros(Z_DIM)), avatar / "head")
    rough = transfer_units(tmp_path / "w.csv", out, avatar, Options(smooth=False))
    loaded = load_sequence(out)
    assert np.array_equal(loaded.codes, rough.codes) and loaded.header.source == "w.csv"
    assert rough.codes[:, 0] == pytest.approx(5.2 * np.arange(9), abs=1e-3)
    with pytest.raises(AvatarError, match="expected a writable path"):
        transfer_units(tmp_path / "w.csv", tmp_path / "no/codes.npz", avatar, Options())
