"""The ablation in miniature: what each variant lacks, and that the command ends in results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from known_person import know_codes, known_codes
from PIL import Image
from tiny import (
    CODE_DIM,
    FLOAT32,
    VIEW,
    tiny_person,
    tiny_unet,
    tiny_vae,
    write_tiny_frames,
)
from tiny_training import tiny_training, write_inputs

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import read_config, write_config
from avatar_viewer.diffusion.conditioning import GEOMETRY_CHANNELS
from avatar_viewer.diffusion.expression_attention import ExpressionAttention
from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import ablation as module
from avatar_viewer.evaluation.ablation import (
    RIGGED,
    VARIANTS,
    Ablation,
    VariantName,
    make_variant,
    run_ablation,
)
from avatar_viewer.evaluation.results import table
from avatar_viewer.stages import ExpressionCode, RenderRequest
from avatar_viewer.training import avatar as training
from avatar_viewer.training import avatar_check
from avatar_viewer.training import decoder as decoder_training
from avatar_viewer.training.avatar_networks import build_denoiser
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.decoder_settings import DecoderTraining
from avatar_viewer.training.loop import LoopConfig
from avatar_viewer.training.losses import regression_loss
from avatar_viewer.training.views import ViewOptions, Views

SIZE_PX = 32
ROWS = [row for name in VARIANTS for row in (name, f"{name}_rigged")[: 1 + (name in RIGGED)]]
"""Of a report: variants, and after some of them the same with a rigged decoder."""
OTHER = ExpressionCode(tuple(3.0 for _ in range(CODE_DIM)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    tiny_unet().save_pretrained(folder / "base" / "unet")
    return folder


@pytest.fixture(scope="module", autouse=True)
def known_person(inputs: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        know_person(inputs, monkeypatch)
        yield


def know_person(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the codes' fit, which needs registered meshes."""
    know_codes(inputs / "data", monkeypatch)

    def load_person(data, head, cache, extraction, hull):
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / "codes").exists():
            (cache / "codes").write_text(str(cache))
        return tiny_person(data)

    monkeypatch.setattr(training, "load_person", load_person)
    monkeypatch.setattr(avatar_check, "check_registrable", lambda data, records: None)
    monkeypatch.setattr(decoder_training, "person_of", known_codes(inputs / "data"))


def full_settings(inputs: Path, out: Path, **changes) -> AvatarTraining:
    """As in the paper: over a pre-trained U-Net that stays frozen."""
    changes = {"base": str(inputs / "base"), "train_unet": False, **changes}
    return tiny_training(inputs, out, steps=2, **changes)


@pytest.fixture(scope="module")
def finished(inputs: Path, known_person: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs` and `results.md` of a whole ablation."""
    folder = tmp_path_factory.mktemp("finished")
    run_ablation(write_ablation(inputs, folder), folder / "runs", folder / "results.md")
    return folder


def trained(finished: Path, name: VariantName) -> Avatar:
    """A variant's avatar as it is loaded from its folder."""
    return Avatar.load(finished / "runs" / name / "avatar", compute=FLOAT32)


def difference(avatar: Avatar, one: RenderRequest, other: RenderRequest) -> int:
    """The largest, of 255."""
    pictures = [avatar.render(request).rgb.astype(int) for request in (one, other)]
    return int(np.abs(pictures[0] - pictures[1]).max())


def request(avatar: Avatar, **changes) -> RenderRequest:
    view = VIEW.camera(SIZE_PX, SIZE_PX)
    first = RenderRequest(avatar.info.corners[0].expression, view, steps=avatar.info.steps)
    return replace(first, **changes)


def new_attention(avatar: Avatar) -> list[ExpressionAttention]:
    unet = avatar.denoiser.unet
    return [layer for layer in unet.modules() if isinstance(layer, ExpressionAttention)]


def test_the_full_method_has_every_part(finished: Path):
    avatar = trained(finished, "full")
    assert new_attention(avatar) and avatar.denoiser.encoder.config["tokens"] == 4
    assert avatar.denoiser.triplane.features == 6
    assert avatar.schedule.config["prediction_type"] == "v_prediction"
    before = tiny_unet().state_dict()
    after = avatar.denoiser.unet.state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-3) for name in before)
    assert difference(avatar, request(avatar), request(avatar, seed=5)) > 0


def test_without_expression_attention_no_token_reaches_the_unet(finished: Path):
    avatar = trained(finished, "no_attention")
    assert new_attention(avatar) == []
    assert avatar.denoiser.encoder.linear.weight.numel() == 0
    assert type(avatar.denoiser.unet).__name__ == "UNet2DConditionModel"
    # The expression only moves the mesh: of two codes that differ in gaze alone the same comes.
    gaze = (*request(avatar).expression.values[:-4], 9.0, 9.0, 9.0, 9.0)
    looks = request(avatar, expression=ExpressionCode(gaze))
    assert difference(avatar, request(avatar), looks) == 0
    full = trained(finished, "full")
    with torch.no_grad():
        for layer in new_attention(full):
            layer.to_out.weight.normal_()
    assert difference(full, request(full), looks) > 0


def test_without_spatial_features_geometry_alone_steers(finished: Path):
    avatar = trained(finished, "no_features")
    denoiser = avatar.denoiser
    channels = denoiser.controlnet.config["conditioning_channels"]
    assert channels == GEOMETRY_CHANNELS * denoiser.fold_factor**2
    assert denoiser.triplane.planes.numel() == 0 and new_attention(avatar)
    assert avatar.render(request(avatar)).rgb.shape == (SIZE_PX, SIZE_PX, 3)
    with pytest.raises(AvatarError, match="features: expected an avatar with planes"):
        avatar.render(request(avatar, show="features"))


def test_without_a_prior_the_bases_sizes_are_untrained(inputs: Path, tmp_path: Path):
    base = tiny_unet()
    settings = make_variant("no_prior", full_settings(inputs, tmp_path), tmp_path).settings
    assert settings is not None and settings.train_unet
    person = tiny_person(settings.data)
    found = build_denoiser(settings, tiny_vae(), person).unet
    assert list(found.config["block_out_channels"]) == list(base.config["block_out_channels"])
    assert not torch.equal(found.conv_in.weight, base.conv_in.weight)
    prior = build_denoiser(replace(settings, pretrained=True), tiny_vae(), person).unet
    assert torch.equal(prior.conv_in.weight, base.conv_in.weight)


def test_without_diffusion_one_pass_answers(finished: Path, monkeypatch: pytest.MonkeyPatch):
    avatar = trained(finished, "no_diffusion")
    assert avatar.schedule.config["prediction_type"] == "sample"
    assert (avatar.info.steps, avatar.info.quick_steps) == (1, 1)
    passes: list[torch.Tensor] = []
    denoise = avatar.runtime.denoise

    def counted(latents, *rest, **which):
        passes.append(latents)
        return denoise(latents, *rest, **which)

    monkeypatch.setattr(avatar.runtime, "denoise", counted)
    same = difference(avatar, request(avatar), request(avatar, seed=5, steps=7, sampler="lcm"))
    assert same == 0
    assert len(passes) == 2 and not passes[0].any()


def test_regression_learns_the_latents(inputs: Path, tmp_path: Path):
    """Its loss falls, and what is learnt is what is rendered."""
    settings = full_settings(
        inputs, tmp_path, objective="regression", train_unet=True, batch_size=2
    )
    settings = replace(settings, loop=replace(settings.loop, steps=40))
    training.train_avatar(settings)
    avatar = Avatar.load(tmp_path / "avatar", compute=FLOAT32)
    person = tiny_person(settings.data)
    records = person.frames("train")
    views = Views(records, person, tiny_vae(), tmp_path, ViewOptions(SIZE_PX, SIZE_PX))
    batch = views.batch(range(len(records)), torch.device("cpu"))
    new = build_denoiser(settings, tiny_vae(), person)
    losses = [
        regression_loss(net, batch, avatar.schedule).item()
        for net in (avatar.denoiser.float(), new)
    ]
    assert losses[0] < 0.8 * losses[1]
    zeros = torch.zeros_like(batch.latents)
    conditioning = avatar.denoiser.condition(batch.gbuffers, batch.codes)
    answer = avatar.denoiser(zeros, torch.tensor(999), conditioning)
    assert (answer - batch.latents).abs().mean().item() == pytest.approx(losses[0], rel=1e-3)


def test_the_unet_is_trained_too_or_frozen(inputs: Path, tmp_path: Path):
    for train_unet, title in ((False, "U-Net trained too"), (True, "U-Net frozen")):
        full = full_settings(inputs, tmp_path, train_unet=train_unet)
        variant = make_variant("unet", full, tmp_path)
        assert variant.title == title and variant.settings is not None
        assert variant.settings.train_unet is not train_unet


def test_what_needs_a_base_is_skipped_without_one(inputs: Path, tmp_path: Path):
    full = full_settings(inputs, tmp_path, base=None, train_unet=True)
    for name in ("no_prior", "unet"):
        variant = make_variant(name, full, tmp_path)
        assert variant.settings is None and "name no base" in variant.skipped


def write_ablation(inputs: Path, folder: Path, **changes) -> Ablation:
    write_config(full_settings(inputs, folder / "elsewhere"), folder / "avatar.yaml")
    decoder = DecoderTraining(
        data=folder,
        avatar=folder,
        out=folder,
        loop=LoopConfig(steps=2),
        channels=(16,),
        blocks=(1,),
        plane_resolution=8,
    )
    write_config(decoder, folder / "decoder.yaml")
    ablation = Ablation(
        folder / "avatar.yaml",
        steps=2,
        pictures=2,
        picture_px=16,
        decoder=folder / "decoder.yaml",
    )
    write_config(replace(ablation, **changes), folder / "ablation.yaml")
    return read_config(folder / "ablation.yaml", Ablation)


def test_one_command_trains_evaluates_and_tells(finished: Path):
    out = finished / "runs"
    report = json.loads((out / "results.json").read_text())
    assert list(report["variants"]) == ROWS
    for name, entry in report["variants"].items():
        assert set(entry["splits"]["test"]["frames"]) == {"frame_4", "frame_5"}
        assert entry["splits"]["test"] == json.loads((out / name / "test.json").read_text())
        log = (out / name / "log.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["step"] == 2
        if not name.endswith("_rigged"):
            # What is the same for all was made once, by the first.
            assert (out / name / "person" / "codes").read_text() == str(out / "full" / "person")
            for views in (out / name).glob("views-*"):
                assert views.resolve().parent == (out / "full").resolve()
    scores = [entry["splits"]["test"]["psnr"] for entry in report["variants"].values()]
    assert len(set(scores)) > 3
    text = (finished / "results.md").read_text()
    assert f"**{max(scores):.2f}**" in text and "| no spatial features | " in text
    assert "## Split `test`" in text and "(results_test.webp)" in text
    of_picture = next(line for line in text.splitlines() if line.startswith("| frame_4 | "))
    first = report["variants"][ROWS[0]]["splits"]["test"]["frames"]["frame_4"]
    assert of_picture.startswith(f"| frame_4 | {first['psnr']:.2f} / {first['ssim']:.4f} ")
    assert of_picture.count("|") == 2 + len(ROWS)
    with Image.open(finished / "results_test.webp") as sheet:
        assert sheet.size == (2 * 16, (1 + len(ROWS)) * 16)


def test_what_is_finished_is_not_done_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    for name in ("train_avatar", "train_decoder", "evaluate_split"):
        monkeypatch.setattr(module, name, lambda *arguments: pytest.fail("done again"))
    ablation = read_config(finished / "ablation.yaml", Ablation)
    run_ablation(ablation, finished / "runs", finished / "again.md")
    text, again = ((finished / name).read_text() for name in ("results.md", "again.md"))
    assert again == text.replace("results_test", "again_test")
    assert capsys.readouterr().out.count("trained before") == len(ROWS)
    # Only the split that is new is evaluated.
    more = replace(ablation, splits=("test", "train"), variants=("full",))
    asked = []

    def evaluate_split(avatar, data, split, judges):
        asked.append(split)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate_split", evaluate_split)
    with pytest.raises(KeyboardInterrupt):
        run_ablation(more, finished / "runs", None)
    assert asked == ["train"]


def test_a_rigged_decoder_is_trained_for_the_variants_own_latents(finished: Path):
    for name in RIGGED:
        plain, rigged = trained(finished, name), trained(finished, f"{name}_rigged")
        assert plain.decoder is None and rigged.decoder is not None
        weights = rigged.denoiser.state_dict()
        for key, tensor in plain.denoiser.state_dict().items():
            assert torch.equal(tensor, weights[key]), key


def test_a_cut_off_variant_goes_on(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ablation = write_ablation(inputs, tmp_path, variants=("no_features",))
    out = tmp_path / "runs"
    with monkeypatch.context() as patch:

        def killed(*arguments):
            raise KeyboardInterrupt

        patch.setattr(training, "_write_sheet", killed)
        with pytest.raises(KeyboardInterrupt):
            run_ablation(ablation, out, None)
    assert not (out / "no_features" / "trained").exists()
    run_ablation(ablation, out, None)
    assert (out / "no_features" / "trained").exists() and (out / "results.md").exists()
    assert "no spatial features" in (out / "results.md").read_text()


def test_bad_input_is_said_in_one_line(inputs: Path, tmp_path: Path):
    ablation = write_ablation(inputs, tmp_path)
    with pytest.raises(AvatarError, match="split 'val', found test, train"):
        run_ablation(replace(ablation, splits=("val",)), tmp_path / "runs", None)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(AvatarError, match="variants: expected at least one, found none"):
        replace(ablation, variants=())
    with pytest.raises(AvatarError, match="steps: expected 1 or more, found 0"):
        replace(ablation, steps=0)
    with pytest.raises(AvatarError, match="writable path"):
        run_ablation(ablation, tmp_path / "runs", tmp_path / "none" / "results.md")
    start = full_settings(inputs, tmp_path, start=tmp_path)
    write_config(start, tmp_path / "avatar.yaml")
    with pytest.raises(AvatarError, match=r"avatar.yaml: start: expected none in an ablation"):
        run_ablation(ablation, tmp_path / "runs", None)


def test_bad_data_are_reported_whole(inputs: Path, tmp_path: Path):
    data = write_tiny_frames(tmp_path / "data")
    for number in (1, 4):
        (data / f"frames/{number}.png").unlink()
    ablation = write_ablation(inputs, tmp_path)
    settings = full_settings(inputs, tmp_path / "elsewhere", data=data, batch_size=3)
    write_config(settings, tmp_path / "avatar.yaml")
    decoder = replace(read_config(tmp_path / "decoder.yaml", DecoderTraining), batch_size=5)
    write_config(decoder, tmp_path / "decoder.yaml")
    with pytest.raises(AvatarError) as caught:
        run_ablation(ablation, tmp_path / "runs", None)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4 and "expected 5 or more frames of split 'train'" in lines[1]
    assert "1.png" in lines[2] and "4.png" in lines[3]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["start", "features_from"])
def test_the_decoders_settings_are_read_at_the_start(inputs: Path, tmp_path: Path, name: str):
    ablation = write_ablation(inputs, tmp_path)
    decoder = read_config(tmp_path / "decoder.yaml", DecoderTraining)
    write_config(replace(decoder, **{name: tmp_path / "none"}), tmp_path / "decoder.yaml")
    with pytest.raises(AvatarError, match=r"none/config.json: expected a JSON file, found none"):
        run_ablation(ablation, tmp_path / "runs", None)
    (tmp_path / "decoder.yaml").write_text("chanels: [16]\n")
    with pytest.raises(AvatarError, match=r"decoder.yaml: .*found 'chanels'"):
        run_ablation(ablation, tmp_path / "runs", None)
    assert not (tmp_path / "runs").exists()


def test_another_ablations_folder_is_refused(finished: Path):
    ablation = replace(read_config(finished / "ablation.yaml", Ablation), steps=3)
    with pytest.raises(AvatarError, match=r"settings.yaml: expected the settings of this ablation"):
        run_ablation(ablation, finished / "runs", None)


def test_the_table_marks_the_best_and_says_what_is_missing():
    means = {"psnr": 20.0, "flip": 0.2}, {"psnr": 21.0, "flip": 0.3, "jod": 7.0}
    report = {
        "variants": {
            "full": {"title": "full", "splits": {"test": means[0]}},
            "no_features": {"title": "no features", "splits": {"test": means[1]}},
            "no_prior": {"title": "no prior", "skipped": "no base"},
        }
    }
    lines = table(report, "test").splitlines()
    assert lines[0] == "| variant | PSNR, dB | FLIP | JOD |"
    assert lines[2:] == [
        "| full | 20.00 | **0.2000** | - |",
        "| no features | **21.00** | 0.3000 | **7.00** |",
        "| no prior: skipped, no base | - | - | - |",
    ]
