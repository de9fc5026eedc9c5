import pytest
import torch
from tiny_nphm import tiny_nphm

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.stages import CanonicalHead, ExpressionCode

HEAD = CanonicalHead(torch.rand(6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32))


class Counted:
    """Stands for the vertex normals, which are the rasterizer's."""

    def __init__(self):
        self.calls = 0

    def __call__(self, vertices, faces):
        self.calls += 1
        return torch.zeros_like(vertices)


def code(first, gaze=0.0):
    return ExpressionCode((first, *[0.0] * 51, gaze, 0.0, 0.0, 0.0))


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def poser(counted):
    nphm = tiny_nphm()
    return HeadPoser(nphm, HEAD, torch.randn(nphm.identity_dim), counted, capacity=2)


def test_vertices_are_canonical_plus_deformation(poser):
    mesh = poser.pose(code(1.0))
    with torch.no_grad():
        offsets = poser.nphm.deform(HEAD.vertices, poser.identity, code(1.0).tensor())
    assert torch.equal(mesh.vertices, HEAD.vertices + offsets)
    assert mesh.canonical is HEAD.vertices and mesh.faces is HEAD.faces
    assert not mesh.vertices.requires_grad


def test_an_expression_is_posed_once(poser, counted):
    assert poser.pose(code(1.0)) is poser.pose(code(1.0))
    assert counted.calls == 1


def test_gaze_alone_gives_the_same_mesh(poser, counted):
    assert poser.pose(code(1.0, gaze=0.5)) is poser.pose(code(1.0, gaze=-0.5))
    assert counted.calls == 1


def test_the_oldest_is_forgotten_and_a_used_one_kept(poser, counted):
    first, _ = poser.pose(code(1.0)), poser.pose(code(2.0))
    assert poser.pose(code(1.0)) is first
    poser.pose(code(3.0))  # drops 2, the one used least recently
    assert poser.pose(code(1.0)) is first and counted.calls == 3
    poser.pose(code(2.0))
    assert counted.calls == 4


def test_wrong_length_names_the_expression(poser):
    with pytest.raises(AvatarError, match="expression: expected 56 values"):
        poser.pose(ExpressionCode((0.0,) * 52))


def test_the_hull_keeps_still_behind_the_head(poser):
    assert poser.pose_whole(code(1.0)) is poser.pose(code(1.0))
    poser.hull = CanonicalHead(HEAD.vertices + 5, HEAD.faces)
    head, whole = poser.pose(code(1.0)), poser.pose_whole(code(1.0))
    count = len(HEAD.vertices)
    assert torch.equal(whole.vertices[:count], head.vertices)
    assert torch.equal(whole.vertices[count:], poser.hull.vertices)
    assert torch.equal(whole.canonical[count:], poser.hull.vertices)
    assert torch.equal(whole.faces[: len(HEAD.faces)], head.faces)
    assert torch.equal(whole.faces[len(HEAD.faces) :], HEAD.faces + count)
    assert whole.normals.shape == whole.vertices.shape
    assert torch.equal(poser.pose_whole(code(2.0)).vertices[count:], poser.hull.vertices)


def test_the_newest_whole_mesh_is_kept(poser):
    poser.hull = CanonicalHead(HEAD.vertices + 5, HEAD.faces)
    whole = poser.pose_whole(code(1.0))
    assert poser.pose_whole(code(1.0)) is whole
    other = poser.pose_whole(code(2.0))
    assert not torch.equal(other.vertices, whole.vertices)
    assert torch.equal(poser.pose_whole(code(1.0)).vertices, whole.vertices)
    poser.forget()
    assert poser.pose_whole(code(1.0)) is not whole
