"""The head's training, on spheres that an expression stretches."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm
from avatar_viewer.training import head as training
from avatar_viewer.training.head import Heads, HeadTraining, orthogonal, train_head

RADII = (0.3, 0.4)
ANCHORS = np.float32([[0.2, 0, 0.2], [-0.2, 0, 0.2], [0, 0.2, 0.2]])


def sphere_head(radius: float, scans: int = 12) -> dict[str, np.ndarray]:
    """A ball whose ARKit unit 0 lifts its upper half by 0.1."""
    rng = np.random.default_rng(int(1000 * radius))
    normals = rng.normal(size=(800, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    canonical = radius * normals
    weights = np.zeros((scans, 52))
    weights[:, 0] = rng.random(scans)
    lift = 0.1 * weights[:, :1, None] * (canonical[None, :, 1:2] > 0) * (0, 1, 0)
    points = np.concatenate(
        [canonical + rng.normal(0, 0.02, (800, 3)), 1.2 * rng.random((800, 3)) - 0.6]
    )
    return {
        "canonical": canonical,
        "normals": normals,
        "on_surface": np.ones(800, np.uint8),
        "anchors": ANCHORS,
        "posed": canonical + lift,
        "weights": weights,
        "gaze": np.zeros((scans, 4)),
        "sdf_points": points,
        "sdf": np.linalg.norm(points, axis=1) - radius,
    }


@pytest.fixture(scope="module")
def heads_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    names = []
    for radius in RADII:
        arrays = sphere_head(radius)
        names.append(f"{radius}.safetensors")
        save_file(
            {k: v if v.dtype == np.uint8 else v.astype(np.float32) for k, v in arrays.items()},
            folder / names[-1],
        )
    (folder / "heads.yaml").write_text(yaml.safe_dump({"heads": names}))
    return folder


def small_nphm() -> NPHM:
    torch.manual_seed(1)
    return NPHM(
        global_dim=6,
        local_dim=4,
        anchor_pairs=1,
        anchor_middles=1,
        sdf_hidden=24,
        sdf_nearest=2,
        squeezed_dim=4,
        deform_hidden=32,
        deform_layers=2,
        deform_frequencies=2,
    )


def config(heads_folder, out, **changes) -> HeadTraining:
    size = {"identities_per_step": 2, "scans_per_step": 4, "points": 64, "save_every": 1000}
    return HeadTraining(heads=heads_folder, out=out, **(size | changes))


def parameters(folder):
    weights = dict(load_nphm(folder).state_dict())
    return weights | load_codes(folder)


def test_training_learns_the_sphere_and_its_motion(heads_folder, tmp_path):
    lines = []
    final = train_head(
        config(heads_folder, tmp_path, steps=500, learning_rate=5e-3), small_nphm(), lines.append
    )
    nphm, codes = load_nphm(final), load_codes(final)
    assert codes["identity"].shape == (2, nphm.identity_dim) and len(codes["expression"]) == 24
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    for radius, identity in zip(RADII, codes["identity"], strict=True):
        assert nphm.sdf(directions * radius, identity).abs().mean() < 0.02
        assert (nphm.sdf(directions * (radius + 0.15), identity) > 0).all()
        assert (nphm.sdf(directions * (radius - 0.15), identity) < 0).all()
    upper, lower = torch.tensor([[0.0, 0.3, 0.0]]), torch.tensor([[0.0, -0.3, 0.0]])
    weights = torch.zeros(52).index_fill(0, torch.tensor(0), 0.8)
    z = codes["embedding"] @ (weights - codes["canonical_weights"])
    assert nphm.deform(upper, codes["identity"][0], z)[0, 1] == pytest.approx(0.08, abs=0.02)
    assert nphm.deform(lower, codes["identity"][0], z)[0].norm() < 0.02
    assert "held-out motion" in lines[-1] and "surface of person" in lines[-1]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(heads_folder, tmp_path, monkeypatch):
    whole = train_head(config(heads_folder, tmp_path / "whole", steps=6), small_nphm(), len)
    step = training.training_step

    def killed(*arguments):
        if arguments[2].step == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    broken = config(heads_folder, tmp_path / "broken", steps=6, save_every=3)
    monkeypatch.setattr(training, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_head(broken, small_nphm(), len)
    monkeypatch.setattr(training, "training_step", step)
    lines = []
    resumed = train_head(broken, small_nphm(), lines.append)
    assert "going on from step 3" in lines[0]
    expected, found = parameters(whole), parameters(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_finished_run_is_left_alone(heads_folder, tmp_path):
    run = config(heads_folder, tmp_path, steps=2)
    before = parameters(train_head(run, small_nphm(), len))
    after = parameters(train_head(run, small_nphm(), len))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_gives_one_line(heads_folder, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(AvatarError, match=r"checkpoint\.pt: expected a checkpoint") as caught:
        train_head(config(heads_folder, tmp_path, steps=2), small_nphm(), len)
    assert "\n" not in str(caught.value)


def test_no_heads(tmp_path):
    with pytest.raises(AvatarError, match=r"heads\.yaml: expected heads"):
        train_head(config(tmp_path, tmp_path / "out", steps=1), small_nphm(), len)


def test_every_head_holds_out_scans_and_draws_by_their_number(heads_folder):
    heads = Heads(training.load_heads(heads_folder))
    assert len(heads.held_out_scans) == 4 and len(heads.train_scans) == 20
    assert set(heads.scan_identity[heads.held_out_scans].tolist()) == {0, 1}
    assert heads.share.tolist() == [0.5, 0.5]
    canonical, offsets = heads.motion(13, torch.tensor([5]))
    assert torch.equal(canonical[0], heads.canonical[1][5])
    assert torch.allclose(canonical + offsets, heads.posed[1][1][[5]])


def test_focus_draws_the_person_more_often(heads_folder):
    scans = training.load_heads(heads_folder)
    heads = Heads(scans, focus=0.5)
    assert heads.share.tolist() == [0.75, 0.25]
    of_person = heads.scan_identity[heads.train_scans] == 0
    share = heads.scan_share / heads.scan_share.sum()
    assert float(share[of_person].sum()) == pytest.approx(0.75)


def test_the_embedding_keeps_lengths():
    matrix = orthogonal(56, 52)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(52), atol=1e-6, rtol=0)
