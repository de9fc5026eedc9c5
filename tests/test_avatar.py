"""The one flow from a request to a frame, with tiny untrained networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from tiny import FLOAT32, RESOLUTION_PX, VIEW, tiny_avatar, write_tiny_avatar
from torch import nn

from avatar_viewer.avatar import Avatar, resolve
from avatar_viewer.avatar_info import Corner
from avatar_viewer.diffusion.autoencoder import with_fold
from avatar_viewer.errors import AvatarError, RenderCancelled
from avatar_viewer.kept import KEPT_VIEWS
from avatar_viewer.raster.camera import Orbit, crop_and_resize, network_camera
from avatar_viewer.stages import LAYERS, REDUCTIONS, SAMPLERS, ExpressionCode, RenderRequest

STAGES = ["head", "raster", "condition", "denoise", "decode"]


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return tiny_avatar()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_avatar(tmp_path_factory.mktemp("avatars") / "tiny")


def requested(avatar: Avatar, width: int = RESOLUTION_PX, height: int = RESOLUTION_PX, **changes):
    camera = changes.pop("view", VIEW).camera(width, height)
    expression = avatar.info.corners[0].expression
    return replace(RenderRequest(expression, camera, steps=2), **changes)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute, in levels of 0..255."""
    return float(np.abs(a.astype(np.float64) - b).mean())


def same_weights(loaded: nn.Module | None, saved: nn.Module | None) -> bool:
    """But for the rounding to float16 of files."""
    assert loaded is not None and saved is not None
    pairs = zip(loaded.parameters(), saved.parameters(), strict=True)
    return all(torch.equal(a, b.half().float()) for a, b in pairs)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_request_gives_the_same_bytes(avatar: Avatar, sampler):
    request = requested(avatar, sampler=sampler)
    first = avatar.render(request)
    assert first.request == request and first.rgb.std() > 5
    avatar.render(replace(request, seed=1, expression=avatar.info.corners[1].expression))
    assert avatar.render(request).rgb.tobytes() == first.rgb.tobytes()
    assert tiny_avatar().render(request).rgb.tobytes() == first.rgb.tobytes()


def gaze_changed(code: ExpressionCode) -> ExpressionCode:
    return ExpressionCode((*code.values[:-1], code.values[-1] + 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda r, a: replace(r, seed=1),
        lambda r, a: replace(r, steps=3),
        lambda r, a: replace(r, sampler="lcm"),
        lambda r, a: replace(r, expression=a.info.corners[1].expression),
        lambda r, a: replace(r, expression=gaze_changed(r.expression)),
        lambda r, a: replace(r, camera=VIEW.orbited(20, 0).camera(32, 32)),
        lambda r, a: replace(r, camera=VIEW.zoomed(1.2).camera(32, 32)),
    ],
    ids=["seed", "steps", "sampler", "expression", "gaze", "azimuth", "distance"],
)
def test_whatever_is_asked_otherwise_is_seen(avatar: Avatar, change: Callable):
    request = requested(avatar)
    other = change(request, avatar)
    assert difference(avatar.render(request).rgb, avatar.render(other).rgb) > 0.5


def test_the_samplers_fresh_noise_is_the_seeds_too(avatar: Avatar, monkeypatch: pytest.MonkeyPatch):
    same = avatar.noise(VIEW.camera(RESOLUTION_PX, RESOLUTION_PX), 0)
    monkeypatch.setattr(avatar, "noise", lambda camera, seed: same)
    pictures = [avatar.render(requested(avatar, sampler="lcm", seed=s)).rgb for s in (0, 1)]
    assert difference(*pictures) > 0.5


@pytest.mark.parametrize("show", LAYERS)
@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 21), (17, 40), (1, 1), (64, 64)])
def test_every_layer_has_the_size_that_was_asked_for(avatar: Avatar, show, width: int, height: int):
    rgb = avatar.render(requested(avatar, width, height, show=show)).rgb
    assert rgb.shape == (height, width, 3) and rgb.dtype == np.uint8


def test_every_layer_is_another_picture(avatar: Avatar):
    pictures = [avatar.render(requested(avatar, show=show)).rgb for show in LAYERS]
    for i, picture in enumerate(pictures):
        assert all(difference(picture, other) > 2 for other in pictures[:i])
    for picture in pictures[1:]:  # the G-buffer's layers stand on white
        assert (picture[0, 0] == 255).all() and (picture[16, 16] != 255).any()


def test_features_are_rigged_to_the_surface(avatar: Avatar):
    front = avatar.render(requested(avatar, show="features")).rgb
    closer = avatar.render(requested(avatar, 64, 64, show="features")).rgb
    # The centre of the larger picture shows the same points of the head in the same colours.
    assert difference(closer[::2, ::2][12:20, 12:20], front[12:20, 12:20]) < 12
    assert front[12:20, 12:20].std() > 20


BEHIND = Orbit(0, 0, 2.5, (0.0, 0.0, 20.0), 30)
"""A camera that has the head in its back."""
ASIDE = Orbit(0, 0, 2.5, (50.0, 0.0, 0.0), 30)
INSIDE = Orbit(0, 0, 0.05, (0.0, 0.0, 0.0), 30)


@pytest.mark.parametrize("view", [BEHIND, ASIDE, INSIDE], ids=["behind", "aside", "inside"])
@pytest.mark.parametrize("show", LAYERS)
def test_a_head_that_is_not_in_view_is_no_error(avatar: Avatar, view: Orbit, show):
    rgb = avatar.render(requested(avatar, view=view, show=show)).rgb
    if view is not INSIDE and show != "image":
        assert (rgb == 255).all()
    if show == "image":
        assert rgb.std() > 5


def test_stages_are_timed_in_order_and_kept_ones_take_none(avatar: Avatar):
    avatar.forget()
    fresh = requested(avatar, view=VIEW.orbited(-33, 5))
    first = avatar.render(fresh).stage_ms
    assert list(first) == STAGES and all(ms >= 0 for ms in first.values())
    assert list(avatar.render(replace(fresh, seed=8)).stage_ms) == ["denoise", "decode"]
    layer = avatar.render(replace(fresh, show="normal")).stage_ms
    assert list(layer) == ["head", "raster", "shade"]


def test_a_rigged_decoder_sees_head_and_hull_in_the_pictures_own_size():
    avatar, bald = tiny_avatar(rigged=True), tiny_avatar(rigged=True)
    bald.head.hull = None
    request = requested(avatar, steps=1)
    frame = avatar.render(request)
    assert list(frame.stage_ms) == [*STAGES[:-1], "surface", STAGES[-1]]
    assert difference(frame.rgb, bald.render(request).rgb) > 1
    for show in ("normal", "depth", "canonical"):
        layer = replace(request, show=show)
        assert difference(avatar.render(layer).rgb, bald.render(layer).rgb) > 0.1
    # The decoder is asked for what the autoencoder would otherwise draw.
    assert difference(frame.rgb, tiny_avatar().render(request).rgb) > 1
    again = avatar.render(replace(request, seed=9))
    assert list(again.stage_ms) == ["denoise", "decode"]


def test_kept_views_are_bounded_and_give_the_same_picture_when_made_again():
    avatar = tiny_avatar()
    first = avatar.render(requested(avatar, steps=1)).rgb
    for degrees in range(1, 2 * KEPT_VIEWS):
        avatar.render(requested(avatar, steps=1, view=VIEW.orbited(degrees, 0)))
    again = avatar.render(requested(avatar, steps=1))
    assert list(again.stage_ms) == STAGES
    assert np.array_equal(again.rgb, first)


@pytest.mark.parametrize("show", ["image", "normal"])
def test_the_baked_head_gives_a_picture_of_its_own(show):
    """Neither the meshes nor the views that are kept take one for the other."""
    avatar = tiny_avatar()
    exact = requested(avatar, show=show)
    quick = replace(exact, exact_head=False)
    first, second = avatar.render(exact), avatar.render(quick)
    assert "head" in second.stage_ms and not np.array_equal(first.rgb, second.rgb)
    for request, frame in ((exact, first), (quick, second)):
        assert np.array_equal(avatar.render(request).rgb, frame.rgb)


def test_without_a_bake_both_heads_share_what_is_kept():
    avatar = tiny_avatar()
    avatar.head.baked = None
    exact = avatar.render(requested(avatar))
    quick = avatar.render(replace(exact.request, exact_head=False))
    assert np.array_equal(exact.rgb, quick.rgb) and "head" not in quick.stage_ms


@pytest.mark.parametrize("rigged", [False, True])
@pytest.mark.parametrize("reduction", [2, 4])
def test_a_reduced_picture_is_the_same_view_with_less_in_it(rigged: bool, reduction: int):
    avatar = tiny_avatar(rigged=rigged)
    assert avatar.reductions == REDUCTIONS
    whole = avatar.render(requested(avatar))
    reduced = avatar.render(requested(avatar, reduction=reduction))
    assert reduced.rgb.shape == whole.rgb.shape and difference(whole.rgb, reduced.rgb) > 0.1
    # Asked for in its own size it is what is enlarged.
    size_px = RESOLUTION_PX // reduction
    small = avatar.render(requested(avatar, size_px, size_px, reduction=reduction))
    assert small.rgb.shape == (size_px, size_px, 3)
    assert np.array_equal(crop_and_resize(small.rgb, whole.request.camera), reduced.rgb)


def test_a_rigged_decoder_draws_reduced_pictures_from_the_same_latents():
    avatar = tiny_avatar(rigged=True)
    stage_ms = avatar.render(requested(avatar)).stage_ms
    assert "condition" in stage_ms
    stage_ms = avatar.render(requested(avatar, reduction=2)).stage_ms
    assert "condition" not in stage_ms and "surface" in stage_ms


@pytest.fixture
def threads():
    """Sets torch's number of threads, for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_surface_beside_the_denoiser_is_the_same_as_after_it(threads: Callable):
    alone, beside = tiny_avatar(rigged=True), tiny_avatar(rigged=True)
    request = requested(alone)
    threads(1)
    one_after_the_other = alone.render(request)
    assert "surface" in one_after_the_other.stage_ms
    threads(2)
    began = time.perf_counter()
    at_once = beside.render(request)
    took_ms = (time.perf_counter() - began) * 1e3
    assert difference(one_after_the_other.rgb, at_once.rgb) < 0.1
    # No time is told twice, though stages overlap.
    assert sum(at_once.stage_ms.values()) <= took_ms
    assert torch.get_num_threads() == 2


def test_what_fails_beside_the_denoiser_is_told(threads: Callable, monkeypatch: pytest.MonkeyPatch):
    threads(2)
    avatar = tiny_avatar(rigged=True)

    def fail(*_) -> None:
        raise AvatarError("surface: expected one, found none")

    monkeypatch.setattr(avatar, "_surface", fail)
    with pytest.raises(AvatarError, match=r"^surface: expected one"):
        avatar.render(requested(avatar))
    with pytest.raises(RenderCancelled):
        avatar.render(requested(avatar), lambda: True)
    monkeypatch.undo()
    assert avatar.render(requested(avatar)).rgb.any()


def test_an_avatar_says_which_reductions_it_can_draw():
    avatar = tiny_avatar()
    odd = Avatar(avatar.parts._replace(info=replace(avatar.info, resolution_px=24)), FLOAT32)
    assert odd.reductions == (1,)
    with pytest.raises(AvatarError, match="reduction: expected 1 for this avatar, found 2"):
        odd.render(requested(odd, reduction=2))


def test_the_student_draws_unless_the_teacher_is_asked_for(tmp_path: Path):
    plain, both = tiny_avatar(), tiny_avatar(student=True)
    request = requested(both)
    teacher = replace(request, teacher=True)
    assert np.array_equal(plain.render(request).rgb, plain.render(teacher).rgb)
    assert np.array_equal(both.render(teacher).rgb, plain.render(request).rgb)
    assert difference(both.render(request).rgb, plain.render(request).rgb) > 0.5
    both.save(tmp_path / "both")
    loaded = Avatar.load(tmp_path / "both", compute=FLOAT32).parts
    assert same_weights(loaded.student, both.parts.student)
    assert same_weights(loaded.denoiser, both.denoiser)


def test_a_tiny_autoencoder_draws_unless_the_full_one_is_asked_for(tmp_path: Path):
    plain = tiny_avatar()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tiny = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            latent_channels=plain.vae.config["latent_channels"],
        ).eval()
    both = Avatar(plain.parts._replace(tiny=tiny), FLOAT32)
    request = requested(both)
    full = replace(request, full_decoder=True)
    assert np.array_equal(both.render(full).rgb, plain.render(request).rgb)
    assert difference(both.render(request).rgb, plain.render(request).rgb) > 1
    both.save(tmp_path / "both")
    assert same_weights(Avatar.load(tmp_path / "both", compute=FLOAT32).parts.tiny, tiny)


def test_a_picture_of_nan_is_no_picture():
    avatar = tiny_avatar()
    avatar.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(AvatarError, match="picture: expected finite colours, found NaN or inf"):
        avatar.render(requested(avatar))


def test_what_is_kept_can_be_forgotten():
    avatar = tiny_avatar()
    request = requested(avatar)
    first = avatar.render(request)
    mesh = avatar.head.pose(request.expression)
    avatar.render(requested(avatar, view=ASIDE))
    # The mesh is the expression's, whatever the view.
    assert avatar.head.pose(request.expression) is mesh
    avatar.forget()
    again = avatar.render(request)
    assert list(again.stage_ms) == STAGES and np.array_equal(again.rgb, first.rgb)
    assert avatar.head.pose(request.expression) is not mesh


def test_cancelling_between_steps(avatar: Avatar):
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(RenderCancelled):
        avatar.render(requested(avatar, steps=5), cancelled)
    assert len(asked) == 3
    asked.clear()
    assert avatar.render(requested(avatar, steps=2), cancelled).rgb.std() > 0


@pytest.mark.parametrize("show", ["image", "normal"])
def test_an_expression_of_another_length(avatar: Avatar, show):
    request = requested(avatar, show=show, expression=ExpressionCode((0.0, 1.0)))
    with pytest.raises(AvatarError, match=r"^expression: expected 8 values, found 2$"):
        avatar.render(request)


def test_a_saved_avatar_is_loaded_as_it_was(avatar: Avatar, folder: Path):
    heard: list[str] = []
    loaded = Avatar.load(folder, progress=heard.append, compute=FLOAT32)
    assert loaded.info == avatar.info
    assert len(heard) >= 4 and all(heard)
    request = requested(avatar)
    # Weights are stored in half precision.
    assert difference(loaded.render(request).rgb, avatar.render(request).rgb) < 2
    for show in LAYERS[1:]:
        layer = replace(request, show=show)
        assert difference(loaded.render(layer).rgb, avatar.render(layer).rgb) < 3
    assert Avatar.load(str(folder)).render(request).rgb.shape == (32, 32, 3)


def test_saving_a_loaded_avatar_changes_nothing(folder: Path, tmp_path: Path):
    Avatar.load(folder, compute=FLOAT32).save(tmp_path / "again")
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for file in files:
        if file.suffix == ".safetensors":
            assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


@pytest.mark.parametrize(("width", "height"), [(48, 48), (40, 30), (30, 40), (200, 7), (7, 200)])
def test_pictures_of_other_sizes_show_the_same_view(width: int, height: int):
    camera = VIEW.camera(width, height)
    rendered = network_camera(camera, 32, 8)
    assert rendered.height == 32 and rendered.width % 8 == 0
    assert 0 <= rendered.width - 32 * width / height < 8
    assert (rendered.fov_deg, rendered.camera_from_world) == (
        camera.fov_deg,
        camera.camera_from_world,
    )

    # A ramp of the ray's slope, drawn for the network's camera, is the ramp of the wanted one.
    def slopes(camera) -> np.ndarray:
        return (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px

    scale = 100 / max(abs(slopes(rendered)))
    ramp = np.tile(128 + scale * slopes(rendered), (32, 1))[..., None].repeat(3, 2)
    found = crop_and_resize(ramp.round().astype(np.uint8), camera)
    assert found.shape == (height, width, 3)
    middle = slice(width // 4, max(width // 4 + 1, width - width // 4))
    expected = (128 + scale * slopes(camera))[middle]
    np.testing.assert_allclose(found[height // 2, middle, 0], expected, atol=3)


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32), (24, 40, 3)])
@pytest.mark.parametrize("scale", [2, 0.5, 1.375])
def test_pictures_are_resized_as_pillow_does(shape: tuple[int, ...], scale: float):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    camera = VIEW.camera(round(scale * shape[1]), round(scale * shape[0]))
    size_px = (camera.width, camera.height)
    expected = np.asarray(Image.fromarray(picture).resize(size_px, Image.Resampling.BICUBIC))
    found = crop_and_resize(picture, camera)
    assert found.shape == expected.shape and found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_allclose(found.astype(int), expected, atol=2)


# Where an avatar is looked for.


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The ids that the Hub is asked for; it knows one avatar."""
    asked: list[str] = []

    def snapshot_download(repo_id: str, *, allow_patterns: list[str], tqdm_class: type) -> str:
        asked.append(repo_id)
        assert not any(pattern.endswith((".bin", ".pt", ".pkl", "*")) for pattern in allow_patterns)
        if repo_id != "someone/avatar":
            raise ConnectionError("several\nlines of\ntrouble")
        with tqdm_class(total=2, unit="it") as files, tqdm_class(total=0, unit="B") as data:
            data.total = 5_000_000
            data.refresh()
            data.update(2_500_000)
            data.refresh()
            files.update()
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_decoder_may_draw_larger_pictures_than_the_gbuffer(avatar: Avatar):
    info = replace(avatar.info, resolution_px=2 * RESOLUTION_PX)
    larger = Avatar(avatar.parts._replace(info=info, vae=with_fold(avatar.vae, 8)), FLOAT32)
    small = avatar.render(requested(avatar)).rgb
    found = larger.render(requested(avatar, 2 * RESOLUTION_PX, 2 * RESOLUTION_PX)).rgb
    assert np.array_equal(found, small.repeat(2, axis=0).repeat(2, axis=1))


def test_a_hub_id_is_fetched(hub: list[str], avatar: Avatar, capsys):
    heard: list[str] = []
    loaded = Avatar.load("someone/avatar", progress=heard.append)
    label = "someone/avatar from the Hub"
    assert hub == ["someone/avatar"] and heard[0] == label
    assert {f"{label}: 0.0 of 5.0 MB", f"{label}: 2.5 of 5.0 MB"} < set(heard)
    assert capsys.readouterr() == ("", "")
    assert loaded.info == avatar.info


@pytest.mark.parametrize("source", ["someone/other", "no such/folder here"])
def test_what_the_hub_does_not_have(hub: list[str], source: str):
    with pytest.raises(AvatarError) as caught:
        Avatar.load(source)
    line = str(caught.value)
    assert line.startswith(f"{source}: expected an avatar's folder or a Hub id, found")
    assert "ConnectionError" in line and "\n" not in line
    assert hub == [source]


@pytest.mark.parametrize(
    "source",
    [
        "nowhere",
        "./nowhere",
        "../some/where",
        "/no/where",
        "a/b/c",
        "~/no-such-folder",
        "~no-such-user/avatar",
        "x" * 5000,
        "nul\0byte",
        "owner//name",
    ],
)
def test_what_is_neither_a_folder_nor_an_id_never_reaches_the_hub(hub: list[str], source: str):
    with pytest.raises(AvatarError) as caught:
        Avatar.load(source)
    line = str(caught.value)
    assert line.startswith(f"{source}: expected an avatar's folder or a Hub id, found")
    assert "\n" not in line and hub == []


def test_a_file_is_no_avatar(hub: list[str], tmp_path: Path):
    file = tmp_path / "shot.png"
    file.touch()
    with pytest.raises(AvatarError, match=r"shot\.png: expected .* found a file$"):
        Avatar.load(file)
    assert hub == []


def test_a_folder_comes_before_the_hub(
    hub: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder.parent.parent)
    relative = f"{folder.parent.name}/{folder.name}"
    assert resolve(relative, lambda text: None) == Path(relative)
    assert hub == []


def test_corners_decide_the_length_of_an_expression(avatar: Avatar):
    assert avatar.info.expression_dim == 8
    short = tuple(Corner(c.name, ExpressionCode((0.0,))) for c in avatar.info.corners)
    assert replace(avatar.info, corners=short).expression_dim == 1
