import math

import pytest
import torch
import trimesh
from golden_pictures import assert_matches_golden

from avatar_viewer.errors import AvatarError
from avatar_viewer.raster import gbuffer as gbuffer_module
from avatar_viewer.raster import numba_backend
from avatar_viewer.raster.camera import Orbit, pixel_rays
from avatar_viewer.raster.gbuffer import (
    filled,
    interpolate,
    rasterize,
    torch_vertex_normals,
    vertex_normals,
)
from avatar_viewer.raster.shading import shade
from avatar_viewer.stages import GBuffer, HeadMesh, Hits

RADIUS = 0.5
VIEW = Orbit(azimuth_deg=40, elevation_deg=25, distance=2, target=(0.0, 0.0, 0.0), fov_deg=40)
CPU_BACKENDS = pytest.mark.parametrize("backend", ["numba", "torch", None])


def sphere(subdivisions: int = 4) -> HeadMesh:
    """A sphere whose canonical coordinates are its vertices, moved and squeezed."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=RADIUS)
    vertices, faces = torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces).int()
    canonical = vertices * torch.tensor([1.0, 0.5, 2.0]) + 0.1
    return HeadMesh(vertices, canonical, vertex_normals(vertices, faces), faces)


@CPU_BACKENDS
@pytest.mark.parametrize("size", [(96, 96), (120, 64)])
def test_sphere_is_the_analytic_one(backend, size):
    camera = VIEW.camera(*size)
    found = rasterize(sphere(), camera, backend)

    x, y = (torch.from_numpy(rays) for rays in pixel_rays(camera))
    rays = torch.stack(
        [x.expand(len(y), -1), y[:, None].expand(-1, len(x)), -torch.ones(len(y), len(x))], dim=2
    )
    # |d r - centre| = radius, the sphere's centre 2 in front of the camera.
    squared = (rays**2).sum(2)
    root = VIEW.distance**2 - squared * (VIEW.distance**2 - RADIUS**2)
    depth = (VIEW.distance - root.clamp(min=0).sqrt()) / squared
    normal = (depth[..., None] * rays + torch.tensor([0.0, 0.0, VIEW.distance])) / RADIUS

    # The mesh's chords lie a little inside the sphere, so its rim is not compared.
    inside, outside = root > 0.05, root < 0
    assert inside.any() and found.mask[inside].all() and not found.mask[outside].any()
    torch.testing.assert_close(found.depth[inside].double(), depth[inside], rtol=0, atol=5e-3)
    torch.testing.assert_close(found.normal[inside].double(), normal[inside], rtol=0, atol=0.03)

    rotation = torch.from_numpy(camera.matrix[:3, :3])
    world = RADIUS * normal @ rotation
    canonical = world * torch.tensor([1.0, 0.5, 2.0]) + 0.1
    torch.testing.assert_close(
        found.canonical[inside].double(), canonical[inside], rtol=0, atol=0.01
    )


@CPU_BACKENDS
def test_channels_are_zero_off_the_mesh_and_normals_unit_on_it(backend):
    found = rasterize(sphere(2), VIEW.camera(40, 30), backend)
    off = ~found.mask
    assert off.any() and found.mask.any()
    for channel in (found.depth, found.normal, found.canonical):
        assert channel.dtype == torch.float32
        assert (channel[off] == 0).all()
    length = found.normal[found.mask].norm(dim=1)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_interpolation_is_perspective_correct():
    """Along a floor that runs away from the camera, depth itself is a vertex attribute."""
    camera = Orbit(0, 0, 2, (0.0, 0.0, 0.0), 60).camera(16, 33)
    vertices = torch.tensor([[-5.0, -0.5, 1.5], [5, -0.5, 1.5], [5, -0.5, -3], [-5, -0.5, -3]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    mesh = HeadMesh(vertices, vertices, vertex_normals(vertices, faces), faces)
    found = rasterize(mesh, camera)
    slope = torch.from_numpy(pixel_rays(camera)[1]).float()[:, None].expand(33, 16)
    expected = -0.5 / slope
    assert found.mask.sum() > 50
    torch.testing.assert_close(found.depth[found.mask], expected[found.mask])
    torch.testing.assert_close(found.canonical[..., 2][found.mask], 2 - expected[found.mask])


@pytest.mark.parametrize("shift", [0.0, 50.0], ids=["seen", "out of view"])
def test_the_fast_gbuffer_is_the_plain_one(shift):
    mesh, camera = sphere(2), VIEW.panned(shift, 0).camera(40, 30)
    normals = torch.randn(len(mesh.vertices), 3, generator=torch.Generator().manual_seed(0))
    normals[mesh.faces[5].long()] = 0  # no direction at all
    mesh = HeadMesh(mesh.vertices, mesh.canonical, normals, mesh.faces)
    hits = gbuffer_module.BACKENDS["numba"](mesh.vertices, mesh.faces, camera)
    fast, plain = numba_backend.filled(hits, mesh, camera), filled(hits, mesh, camera)
    assert plain.mask.any() == (shift == 0)
    assert torch.equal(fast.mask, plain.mask)
    for name in ("depth", "normal", "canonical"):
        found, expected = getattr(fast, name), getattr(plain, name)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_interpolation_weighs_the_corners_in_order():
    hits = Hits(
        torch.tensor([[0, 0, 0, 0, -1]], dtype=torch.int32),
        torch.tensor([[[1.0, 0], [0, 1], [0, 0], [0.5, 0.25], [0, 0]]]),
    )
    faces = torch.tensor([[2, 0, 1]], dtype=torch.int32)
    attributes = torch.tensor([[10.0], [20.0], [30.0]])
    values = interpolate(hits, faces, attributes).flatten().tolist()
    assert values == pytest.approx([30, 10, 20, 22.5, 0])


def test_interpolation_passes_gradients_to_the_attributes():
    mesh = sphere(1)
    hits = gbuffer_module.BACKENDS["numba"](mesh.vertices, mesh.faces, VIEW.camera(20, 20))
    attributes = torch.ones(len(mesh.vertices), 1, requires_grad=True)
    picture = interpolate(hits, mesh.faces, attributes)
    picture.sum().backward()
    assert attributes.grad is not None
    # Each pixel's three weights add up to one.
    assert attributes.grad.sum().item() == pytest.approx(
        (hits.triangle >= 0).sum().item(), rel=1e-5
    )


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, monkeypatch):
    mesh, camera = sphere(3), VIEW.camera(50, 47)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = rasterize(mesh, camera)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    together = rasterize(mesh, camera)
    assert alone.mask.any()
    for name, channel in vars(alone).items():
        assert torch.equal(channel, getattr(together, name)), name


def test_fast_vertex_normals_are_the_plain_ones():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(200, 3, generator=generator)
    faces = torch.randint(0, 199, (500, 3), generator=generator).int()
    found = vertex_normals(vertices, faces)
    torch.testing.assert_close(found, torch_vertex_normals(vertices, faces), rtol=1e-4, atol=1e-5)
    assert (found[199] == 0).all()  # no face uses it


@pytest.mark.parametrize("function", [vertex_normals, torch_vertex_normals])
def test_vertex_normals_are_weighted_by_area_and_point_outside(function):
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])  # area 1.5 facing +z, 0.5 facing +x
    found = function(vertices, faces)
    expected = torch.tensor([1.0, 0.0, 3.0]) / math.sqrt(10)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], torch.tensor([0.0, 0.0, 1.0]))


def test_vertex_normals_are_differentiable():
    vertices = sphere(1).vertices.requires_grad_()
    vertex_normals(vertices, sphere(1).faces)[:, 0].sum().backward()
    assert vertices.grad is not None and torch.isfinite(vertices.grad).all()


def test_unknown_backend_is_named():
    with pytest.raises(AvatarError, match=r"numba \| torch \| nvdiffrast, found 'opengl'"):
        rasterize(sphere(1), VIEW.camera(8, 8), "opengl")


@pytest.mark.parametrize("index", [-1, 99])
def test_faces_that_name_no_vertex_are_refused(index):
    mesh = sphere(1)
    faces = mesh.faces.clone()
    faces[3, 1] = index
    broken = HeadMesh(mesh.vertices, mesh.canonical, mesh.normals, faces)
    with pytest.raises(
        AvatarError, match=f"faces: expected vertex numbers 0 to 41, found.*{index}"
    ):
        rasterize(broken, VIEW.camera(8, 8))


def test_best_backend_depends_on_device_and_installation(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(gbuffer_module, "find_spec", lambda name: None)
    assert gbuffer_module.best_backend(cuda) == "torch"
    monkeypatch.setattr(gbuffer_module, "find_spec", lambda name: object())
    assert gbuffer_module.best_backend(cuda) == "nvdiffrast"
    assert gbuffer_module.best_backend(torch.device("cpu")) == "numba"


def flat(depth: float, normal: tuple[float, float, float]) -> GBuffer:
    """Two pixels: one on the mesh, one off it."""
    return GBuffer(
        mask=torch.tensor([[True, False]]),
        depth=torch.tensor([[depth, 0.0]]),
        normal=torch.tensor([[normal, (0.0, 0.0, 0.0)]]),
        canonical=torch.tensor([[(0.0, 1.0, 4.0), (0.0, 0.0, 0.0)]]),
    )


def test_shading_levels():
    facing = flat(1.0, (0.0, 0.0, 1.0))
    box = ((-1.0, 0.0, 2.0), (1.0, 1.0, 3.0))
    assert shade(facing, "normal")[0].tolist() == [[128, 128, 255], [255, 255, 255]]
    assert shade(facing, "canonical", box)[0].tolist() == [[128, 255, 255], [255, 255, 255]]
    bright, _ = shade(facing, "mesh")[0]
    dark, _ = shade(flat(1.0, (1.0, 0.0, 0.0)), "mesh")[0]
    inside, _ = shade(flat(1.0, (0.0, 0.0, -1.0)), "mesh")[0]
    assert bright[0] > dark[0] and (bright == inside).all() and bright[0] == bright[1] == bright[2]


def test_nearer_is_lighter_and_the_ground_white():
    found = rasterize(sphere(3), VIEW.camera(41, 41))
    rgb = shade(found, "depth")
    grey = rgb[..., 0].astype(int)
    assert grey[20, 20] > grey[20, 8] > 0
    assert (rgb[~found.mask.numpy()] == 255).all()
    assert (rgb[found.mask.numpy()] < 255).all()


@pytest.mark.parametrize("layer", ["normal", "depth", "canonical", "mesh"])
def test_an_empty_picture_is_white(layer):
    empty = rasterize(sphere(1), VIEW.panned(50, 0).camera(8, 6))
    assert not empty.mask.any()
    assert (shade(empty, layer) == 255).all()


def test_unknown_layer_is_named():
    with pytest.raises(AvatarError, match=r"layer: expected normal .* found 'features'"):
        shade(flat(1.0, (0.0, 0.0, 1.0)), "features")


def test_golden_sphere():
    found = rasterize(sphere(3), VIEW.camera(96, 72))
    assert_matches_golden(shade(found, "normal"), "raster_sphere_normal", tolerance=0.5)
