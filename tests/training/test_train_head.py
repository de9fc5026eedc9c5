"""The head's training, on spheres that an expression stretches."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from avatar_viewer.data.heads import load_heads
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit import load_arkit_map
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm
from avatar_viewer.training import loop
from avatar_viewer.training.head import HeadTraining, train_head
from avatar_viewer.training.head_codes import (
    CODE_SCALE,
    components,
    linear_expression_codes,
    orthogonal,
    shape_identity_codes,
)
from avatar_viewer.training.head_data import Heads
from avatar_viewer.training.loop import LoopConfig

RADII, HELD_OUT_RADIUS = (0.3, 0.4), 0.35
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
    for radius in (*RADII, HELD_OUT_RADIUS):
        arrays = sphere_head(radius)
        names.append(f"{radius}.safetensors")
        save_file(
            {k: v if v.dtype == np.uint8 else v.astype(np.float32) for k, v in arrays.items()},
            folder / names[-1],
        )
    (folder / "heads.yaml").write_text(yaml.safe_dump({"heads": names, "held_out": names[-1:]}))
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
    size = {"learning_rate": 5e-3, "weight_decay": 0.0, "bf16": False, "save_every": 1000}
    settings = LoopConfig(**(size | changes))
    return HeadTraining(
        settings, heads_folder, out, identities_per_step=2, scans_per_step=4, points=64
    )


def parameters(folder):
    weights = dict(load_nphm(folder).state_dict())
    return weights | load_codes(folder)


def test_training_learns_the_sphere_and_its_motion(heads_folder, tmp_path):
    final = train_head(config(heads_folder, tmp_path, steps=500), small_nphm())
    nphm, codes = load_nphm(final), load_codes(final)
    assert codes["identity"].shape == (2, nphm.identity_dim) and len(codes["expression"]) == 24
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    for radius, identity in zip(RADII, codes["identity"], strict=True):
        assert nphm.sdf(directions * radius, identity).abs().mean() < 0.02
        assert (nphm.sdf(directions * (radius + 0.15), identity) > 0).all()
        assert (nphm.sdf(directions * (radius - 0.15), identity) < 0).all()
    upper, lower = torch.tensor([[0.0, 0.3, 0.0]]), torch.tensor([[0.0, -0.3, 0.0]])
    weights = torch.zeros(52).index_fill(0, torch.tensor(0), 0.8)
    z = linear_expression_codes(weights[None], nphm.expression_dim)[0]
    assert nphm.deform(upper, codes["identity"][0], z)[0, 1] == pytest.approx(0.08, abs=0.02)
    assert nphm.deform(lower, codes["identity"][0], z)[0].norm() < 0.02
    errors_mm = json.loads((tmp_path / "samples" / "000500.json").read_text())
    assert 0 < errors_mm["held-out motion"] < 10 and 0 < errors_mm["surface of person"] < 6


def test_a_killed_run_goes_on_as_if_nothing_had_happened(heads_folder, tmp_path, monkeypatch):
    whole = train_head(config(heads_folder, tmp_path / "whole", steps=6), small_nphm())
    step = loop.Run._one_step

    def killed(run, loss):
        if run.step == 5:
            raise KeyboardInterrupt
        return step(run, loss)

    broken = config(heads_folder, tmp_path / "broken", steps=6, save_every=3)
    monkeypatch.setattr(loop.Run, "_one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_head(broken, small_nphm())
    monkeypatch.setattr(loop.Run, "_one_step", step)
    resumed = train_head(broken, small_nphm())
    expected, found = parameters(whole), parameters(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_finished_run_is_left_alone(heads_folder, tmp_path):
    run = config(heads_folder, tmp_path, steps=2)
    before = parameters(train_head(run, small_nphm()))
    after = parameters(train_head(run, small_nphm()))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_arkit_map_comes_with_the_head(heads_folder, tmp_path):
    final = train_head(config(heads_folder, tmp_path, steps=400), small_nphm())
    nphm, codes, arkit_map = load_nphm(final), load_codes(final), load_arkit_map(final)
    weights = torch.zeros(52).index_fill(0, torch.tensor(0), 0.8)
    upper = torch.tensor([[0.0, 0.3, 0.0]])
    lift = nphm.deform(upper, codes["identity"][0], arkit_map.codes(weights))[0, 1]
    assert lift == pytest.approx(0.08, abs=0.02)


def test_no_heads(tmp_path):
    with pytest.raises(AvatarError, match=r"heads\.yaml: expected heads"):
        train_head(config(tmp_path, tmp_path / "out", steps=1))


def test_held_out_identities_are_not_trained_on(heads_folder):
    assert len(load_heads(heads_folder, "train")) == 2
    held_out = load_heads(heads_folder, "held_out")
    assert [float(abs(head.canonical).max()) for head in held_out] == [
        pytest.approx(0.35, abs=0.01)
    ]


def test_every_head_holds_out_scans_and_draws_them_alike(heads_folder):
    heads = Heads(load_heads(heads_folder, "train"))
    assert len(heads.held_out_scans) == 4 and len(heads.train_scans) == 20
    assert set(heads.scan_identity[heads.held_out_scans].tolist()) == {0, 1}
    assert heads.share.tolist() == [0.5, 0.5]
    torch.testing.assert_close(heads.scan_share(), torch.full((20,), 1 / 20))
    canonical, offsets = heads.motion(13, torch.tensor([5]))
    assert torch.equal(canonical[0], heads.canonical[1][5])
    assert torch.allclose(canonical + offsets, heads.posed[1][1][[5]])


def test_focus_draws_the_person_more_often(heads_folder):
    heads = Heads(load_heads(heads_folder, "train"), focus=0.5)
    assert heads.share.tolist() == [0.75, 0.25]
    share, of_person = heads.scan_share(), heads.scan_identity[heads.train_scans] == 0
    assert float(share.sum()) == pytest.approx(1)
    assert float(share[of_person].sum()) == pytest.approx(0.75)


def test_the_embedding_keeps_lengths():
    matrix = orthogonal(56, 52)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(52), atol=1e-6, rtol=0)


def test_components_are_uncorrelated_and_explain_the_rows():
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 3, generator=random) @ torch.randn(3, 20, generator=random) + 5
    found = components(rows, 6)
    assert found.shape == (50, 6) and not found[:, 3:].any()
    torch.testing.assert_close(found[:, :3].T @ found[:, :3] / 50, torch.eye(3), atol=1e-4, rtol=0)
    design = torch.cat([found[:, :3], torch.ones(50, 1)], dim=1)
    explained = design @ torch.linalg.lstsq(design, rows).solution
    torch.testing.assert_close(explained, rows, atol=1e-3, rtol=0)


def test_mirrored_heads_have_exchanged_local_codes():
    """A head and its mirror image: what is one's left code is the other's right code."""
    random = torch.Generator().manual_seed(0)
    side = torch.randn(300, 3, generator=random).abs() * 0.2
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mean = torch.cat([side, side * flip])  # point i and i + 300 mirror each other
    shapes = mean + 0.02 * torch.randn(8, 600, 3, generator=random)
    mirrored = torch.cat([shapes[:, 300:], shapes[:, :300]], dim=1) * flip
    canonical = torch.cat([shapes, mirrored])
    anchors = canonical[:, [7, 307, 20]]
    sdf = small_nphm().identity_sdf
    codes = shape_identity_codes(canonical, anchors, sdf)
    assert codes.std() == pytest.approx(CODE_SCALE, rel=0.3)
    local = sdf.local_codes(codes)
    torch.testing.assert_close(local[:8, 0], local[8:, 1], atol=2e-3, rtol=0)
    torch.testing.assert_close(local[:8, 1], local[8:, 0], atol=2e-3, rtol=0)
