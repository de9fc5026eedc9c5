import time

import pytest
import torch
import trimesh
from tiny_nphm import tiny_nphm

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.baked_expressions import (
    SNAPSHOTS,
    BakedExpressions,
    bake,
    baking_error_mm,
    snapshot_codes,
)
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.storage import load_baked, save_baked
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.stages import CanonicalHead, ExpressionCode
from avatar_viewer.weights import load_tensors, save_tensors

BALL = trimesh.creation.icosphere(subdivisions=2, radius=0.4)
HEAD = CanonicalHead(torch.from_numpy(BALL.vertices).float(), torch.from_numpy(BALL.faces).int())


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 52, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model():
    nphm = tiny_nphm()
    return nphm, torch.randn(nphm.identity_dim, generator=torch.Generator().manual_seed(4))


def test_what_was_baked_comes_back(model):
    """With as many modes as there are snapshots, these are reproduced."""
    codes = random_codes(20)
    baked = bake(*model[:1], HEAD, model[1], codes, rank=20)
    assert baking_error_mm(baked, model[0], HEAD, model[1], codes)[1] < 0.05


def test_more_modes_are_better_and_unseen_codes_are_close(model):
    nphm, identity = model
    unseen = random_codes(30, seed=1)
    errors = [
        baking_error_mm(
            bake(nphm, HEAD, identity, random_codes(300), rank), nphm, HEAD, identity, unseen
        )[0]
        for rank in (2, 8, 40)
    ]
    with torch.no_grad():
        offsets = torch.stack([nphm.deform(HEAD.vertices, identity, z) for z in unseen])
    size_mm = float(offsets.std(dim=0).norm(dim=1).mean()) * 250
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.1 * size_mm


def test_a_linear_model_is_baked_exactly(model):
    """Rank 3 motion needs 3 modes, and holds for any code, however far away."""
    nphm, identity = model

    class Linear:
        config = nphm.config

        def deform(self, points, identity, z):
            return z[0] * points + z[1] * points.roll(1, 1) + z[2] * points.flip(1)

    baked = bake(Linear(), HEAD, identity, random_codes(50), rank=10)
    assert len(baked.modes) == 3
    mean, largest = baking_error_mm(baked, Linear(), HEAD, identity, 20 * random_codes(5, seed=2))
    assert mean < 0.01 and largest < 0.1


def test_snapshots_are_codes_and_blends_of_them():
    codes = random_codes(2000)
    found = snapshot_codes(codes)
    assert found.shape == (SNAPSHOTS, 52) and torch.equal(found, snapshot_codes(codes))
    known = {tuple(code) for code in codes.tolist()}
    assert sum(tuple(code) in known for code in found.tolist()) == SNAPSHOTS // 2
    assert (found >= codes.min(dim=0).values).all() and (found <= codes.max(dim=0).values).all()
    assert len(snapshot_codes(codes[:3])) == SNAPSHOTS


@pytest.fixture(scope="module")
def poser(model):
    nphm, identity = model
    baked = bake(nphm, HEAD, identity, random_codes(100), rank=4)
    return HeadPoser(nphm, HEAD, identity, vertex_normals, baked=baked)


def expression(seed: int) -> ExpressionCode:
    return ExpressionCode.from_array(torch.cat([random_codes(1, seed)[0], torch.zeros(4)]))


def test_the_poser_keeps_exact_and_baked_apart(poser):
    exact, baked = poser.pose(expression(5)), poser.pose(expression(5), exact=False)
    assert exact is not baked and not torch.equal(exact.vertices, baked.vertices)
    assert poser.pose(expression(5), exact=False) is baked and poser.pose(expression(5)) is exact
    assert torch.equal(baked.normals, vertex_normals(baked.vertices, baked.faces))
    assert torch.equal(baked.canonical, exact.canonical)


def test_without_a_bake_the_exact_head_is_taken(poser):
    plain = HeadPoser(poser.nphm, HEAD, poser.identity, vertex_normals)
    assert plain.pose(expression(5), exact=False) is plain.pose(expression(5))


def test_it_is_saved_and_loaded(poser, tmp_path):
    path = tmp_path / "baked.safetensors"
    save_baked(path, poser.baked)
    loaded = load_baked(path, HEAD)
    codes = random_codes(10, seed=6)
    error = baking_error_mm(loaded, poser.nphm, HEAD, poser.identity, codes)[0]
    before = baking_error_mm(poser.baked, poser.nphm, HEAD, poser.identity, codes)[0]
    assert error == pytest.approx(before, rel=0.01, abs=0.01)


def test_a_file_that_does_not_fit_gives_one_line(poser, tmp_path):
    path = tmp_path / "baked.safetensors"
    save_baked(path, poser.baked)
    fewer = CanonicalHead(HEAD.vertices[:-1], HEAD.faces)
    with pytest.raises(AvatarError, match=r"baked.safetensors: expected offsets of 161 vertices"):
        load_baked(path, fewer)
    tensors = load_tensors(path)
    for name, wrong, message in (
        ("solve", tensors["solve"][:, :-1], "solve: expected shape"),
        ("controls", tensors["controls"] + 1000, "controls: expected vertices 0 to 161"),
        ("modes", None, "expected modes, found none"),
    ):
        changed = {k: v for k, v in tensors.items() if k != name}
        save_tensors(changed if wrong is None else {**changed, name: wrong}, path)
        with pytest.raises(AvatarError, match=rf"baked\.safetensors: {message}"):
            load_baked(path, HEAD)


def test_shapes_are_checked():
    with pytest.raises(AvatarError, match=r"modes: expected shape \(2, 5, 3\)"):
        BakedExpressions(
            torch.zeros(1, dtype=torch.int64),
            torch.zeros(5, 3),
            torch.zeros(2, 4, 3),
            torch.zeros(2, 3),
        )


def test_it_is_faster_than_the_exact_head(model):
    nphm, identity = tiny_nphm(deform_hidden=160, deform_layers=4), model[1]
    ball = trimesh.creation.icosphere(subdivisions=5)
    head = CanonicalHead(
        torch.from_numpy(ball.vertices).float(), torch.from_numpy(ball.faces).int()
    )
    baked = bake(nphm, head, identity, random_codes(20), rank=16)
    z = random_codes(1)[0]

    def fastest_s(call) -> float:
        times = []
        for _ in range(10):
            began = time.perf_counter()
            with torch.no_grad():
                call()
            times.append(time.perf_counter() - began)
        return min(times)

    exact_s = fastest_s(lambda: nphm.deform(head.vertices, identity, z))
    assert fastest_s(lambda: baked.offsets(nphm, head, identity, z)) < 0.5 * exact_s
