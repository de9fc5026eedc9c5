"""Training pictures, and how they are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import tiny_hull, tiny_person, tiny_vae, write_tiny_frames

from avatar_viewer.data.person import Person
from avatar_viewer.diffusion.autoencoder import encode, with_fold
from avatar_viewer.stages import GBuffer
from avatar_viewer.training import views as views_module
from avatar_viewer.training.vae import to_signed
from avatar_viewer.training.views import ViewOptions, Views, packed, unpacked

SIZE_PX = 32
OPTIONS = ViewOptions(SIZE_PX, SIZE_PX, zooms=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return tiny_person(write_tiny_frames(tmp_path_factory.mktemp("discs") / "data"))


def views_of(person: Person, folder: Path, options: ViewOptions = OPTIONS, vae=None) -> Views:
    return Views(person.frames("train"), person, vae or tiny_vae(), folder, options)


def same(a: GBuffer, b: GBuffer) -> bool:
    return all(torch.equal(t, vars(b)[name]) for name, t in vars(a).items())


def test_a_view_is_its_frame(person: Person, tmp_path: Path):
    views = views_of(person, tmp_path)
    records = person.frames("train")
    assert len(views) == 3 * len(records)
    batch = views.batch([0, 3], CPU)
    for row, record in enumerate(records[:2]):
        rgb = torch.from_numpy(record.rgb(SIZE_PX)).permute(2, 0, 1)[None]
        with torch.no_grad():
            latents = encode(tiny_vae(), to_signed(rgb))[0]
        torch.testing.assert_close(batch.latents[row], latents)
        assert same(batch.gbuffers[row], person.gbuffer(record, SIZE_PX))
        assert torch.equal(batch.codes[row], person.expression(record).tensor())


def test_zooms_are_a_frames_own_and_change_picture_and_gbuffer(person: Person, tmp_path: Path):
    batch = views_of(person, tmp_path).batch(range(6), CPU)
    sizes = [int(gbuffer.mask.sum()) for gbuffer in batch.gbuffers]
    assert sizes[0] < min(sizes[1:3]) and sizes[1:3] != sizes[4:6]
    assert not torch.allclose(batch.latents[0], batch.latents[1])


def test_what_is_kept_is_found_again(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = views_of(person, tmp_path).batch(range(4), CPU)
    monkeypatch.setattr(views_module, "encode", None)  # nothing is encoded anew
    monkeypatch.setattr(Person, "gbuffer", None)
    again = views_of(person, tmp_path).batch(range(4), CPU)
    assert torch.equal(first.latents, again.latents)
    assert all(same(a, b) for a, b in zip(first.gbuffers, again.gbuffers, strict=True))


def test_without_keeping_gbuffers_are_the_same(person: Person, tmp_path: Path):
    kept = views_of(person, tmp_path).batch([1, 5], CPU)
    options = replace(OPTIONS, keep_gbuffers=False)
    fresh = views_of(person, tmp_path, options).batch([1, 5], CPU)
    assert all(same(a, b) for a, b in zip(kept.gbuffers, fresh.gbuffers, strict=True))


def test_what_was_made_from_something_else_is_not_taken(person: Person, tmp_path: Path):
    vae = tiny_vae()
    folders = {views_of(person, tmp_path).folder}
    vae.encoder.conv_in.weight[0, 0, 0, 0] += 1
    folders.add(views_of(person, tmp_path, vae=vae).folder)
    folders.add(views_of(person, tmp_path, replace(OPTIONS, seed=1)).folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(person.poser, "hull", tiny_hull())
        folders.add(views_of(person, tmp_path).folder)
    assert len(folders) == 4
    assert views_of(person, tmp_path).folder in folders


def test_other_pictures_are_other_views(tmp_path: Path):
    person = tiny_person(write_tiny_frames(tmp_path / "data"))
    before = views_of(person, tmp_path)
    latents = before.batch([0], CPU).latents
    Image.new("RGBA", (SIZE_PX, SIZE_PX), "red").save(person.frames("train")[0].path)
    after = views_of(person, tmp_path)
    assert after.folder != before.folder
    assert (after.batch([0], CPU).latents - latents).abs().max() > 0.01


def test_gbuffers_have_the_size_that_the_encoder_sees(person: Person, tmp_path: Path):
    views = views_of(person, tmp_path, ViewOptions(2 * SIZE_PX, SIZE_PX), with_fold(tiny_vae(), 8))
    batch = views.batch([0], CPU)
    assert batch.gbuffers[0].mask.shape == (SIZE_PX, SIZE_PX)
    assert batch.latents.shape[-1] == SIZE_PX // 4


def test_packing_loses_nothing(person: Person):
    gbuffer = person.gbuffer(person.records[0], SIZE_PX)
    tensors = packed(gbuffer)
    assert len(tensors["normal"]) == int(gbuffer.mask.sum()) < SIZE_PX**2
    assert same(unpacked(tensors), gbuffer)
