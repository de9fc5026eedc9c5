"""Training of an avatar, on a few small discs and a person whose codes are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import (
    CODE_DIM,
    FLOAT32,
    LATENT_CHANNELS,
    VIEW,
    tiny_person,
    tiny_unet,
    tiny_vae,
    write_tiny_avatar,
    write_tiny_frames,
)
from tiny_training import tiny_training, write_inputs

from avatar_viewer.avatar import Avatar
from avatar_viewer.config import from_plain, to_plain
from avatar_viewer.data.person import Person
from avatar_viewer.data.visual_hull import Carving
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.expression_attention import ExpressionAttention
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.nphm import CODES_FILE
from avatar_viewer.stages import RenderRequest
from avatar_viewer.training import avatar as training
from avatar_viewer.training import avatar_check
from avatar_viewer.training.avatar import train_avatar
from avatar_viewer.training.avatar_check import check_start
from avatar_viewer.training.avatar_networks import build_denoiser, trained_parts
from avatar_viewer.training.avatar_settings import AvatarTraining
from avatar_viewer.training.loop import Run
from avatar_viewer.training.losses import v_loss
from avatar_viewer.training.views import Batch, ViewOptions, Views
from avatar_viewer.weights import load_tensors

SIZE_PX = 32


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def known_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the codes' fit, which needs registered meshes."""
    monkeypatch.setattr(
        training, "load_person", lambda data, head, cache, extraction, hull: tiny_person(data)
    )
    monkeypatch.setattr(avatar_check, "check_registrable", lambda data, records: None)


@torch.no_grad()
def loss_on_test(denoiser: Denoiser, person: Person, settings: AvatarTraining) -> float:
    """With the same noise whenever it is called."""
    batch = batch_of("test", person, settings.out)
    generator = torch.Generator().manual_seed(0)
    return v_loss(denoiser.float(), batch, training.training_schedule(), generator).item()


def batch_of(split: str, person: Person, folder: Path) -> Batch:
    """All frames of a split, eight times."""
    records = person.frames(split)
    views = Views(records, person, tiny_vae(), folder, ViewOptions(SIZE_PX, SIZE_PX))
    return views.batch(list(range(len(records))) * 8, torch.device("cpu"))


def test_training_lowers_the_loss_and_writes_an_avatar(inputs: Path, tmp_path: Path):
    out = tmp_path / "run"
    settings = tiny_training(inputs, out, steps=50, batch_size=2)
    train_avatar(settings)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50]
    sheet = np.asarray(Image.open(out / "samples" / "000050.png"))
    assert sheet.shape == (3 * SIZE_PX, 2 * SIZE_PX, 3)

    avatar = Avatar.load(out / "avatar", compute=FLOAT32)
    person = tiny_person(inputs / "data")
    untrained = build_denoiser(settings, tiny_vae(), person)
    assert loss_on_test(avatar.denoiser, person, settings) < 0.8 * loss_on_test(
        untrained, person, settings
    )
    assert [c.name for c in avatar.info.corners] == ["neutral", "smile", "surprise", "frown"]
    for corner, record in zip(avatar.info.corners, person.frames("train"), strict=True):
        assert corner.expression == person.expression(record)
    assert (avatar.info.steps, avatar.info.default_view) == (2, VIEW)
    request = RenderRequest(avatar.info.corners[0].expression, VIEW.camera(SIZE_PX, SIZE_PX))
    assert avatar.render(request).rgb.shape == (SIZE_PX, SIZE_PX, 3)
    # It holds the averaged weights.
    state = torch.load(out / "state.pt", weights_only=True)
    planes = avatar.denoiser.triplane.planes
    torch.testing.assert_close(planes, state["ema"]["triplane"]["planes"], atol=2e-3, rtol=2e-3)
    assert not torch.equal(
        state["ema"]["triplane"]["planes"], state["modules"]["triplane"]["planes"]
    )


def weights_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")
    }


def test_training_goes_on_from_an_avatar(inputs: Path, tmp_path: Path):
    first = tiny_training(inputs, tmp_path / "first", steps=50)
    train_avatar(first)
    fresh = loss_of_first_step(tiny_training(inputs, tmp_path / "fresh", steps=1))
    start = tmp_path / "first" / "avatar"
    longer = tiny_training(inputs, tmp_path / "longer", steps=1, start=start)
    assert loss_of_first_step(longer) < 0.9 * fresh


def test_an_avatar_of_other_codes_is_no_start(inputs: Path, tmp_path: Path):
    avatar = write_tiny_avatar(tmp_path / "avatar")
    person = tiny_person(inputs / "data")
    person.poser.nphm.register_to_config(expression_dim=99)
    settings = tiny_training(inputs, tmp_path / "run", start=avatar)
    with pytest.raises(AvatarError, match=r"start: .*avatar: expected expression codes of 103"):
        training.build_denoiser(settings, tiny_vae(), person)


def loss_of_first_step(settings: AvatarTraining) -> float:
    train_avatar(settings)
    return json.loads((settings.out / "log.jsonl").read_text().splitlines()[0])["loss"]


def test_a_killed_run_ends_in_the_same_avatar(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_avatar(tiny_training(inputs, tmp_path / "whole"))
    with monkeypatch.context() as patch:

        def killed(*arguments):
            raise KeyboardInterrupt

        patch.setattr(training, "_write_sheet", killed)
        with pytest.raises(KeyboardInterrupt):  # after the last checkpoint, before the avatar
            train_avatar(tiny_training(inputs, tmp_path / "broken"))
    assert not (tmp_path / "broken" / "avatar").exists()
    train_avatar(tiny_training(inputs, tmp_path / "broken"))
    whole = weights_of(tmp_path / "whole" / "avatar")
    assert len(whole) == 8 and weights_of(tmp_path / "broken" / "avatar") == whole


def test_bfloat16_trains_too(inputs: Path, tmp_path: Path):
    settings = tiny_training(inputs, tmp_path, steps=2)
    train_avatar(replace(settings, loop=replace(settings.loop, bf16=True)))
    assert Avatar.load(tmp_path / "avatar").info.name == "discs"


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes is not begun."""
    monkeypatch.setattr(training, "load_person", lambda *arguments: pytest.fail("fits codes"))


WINK = ("corner: neutral", "corner: smile", "corner: wink", "corner: frown")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corners": WINK}, "corners: expected a training frame of kind or id 'corner: wink'"),
        ({"hull": Carving()}, "hull: expected 8 or more training frames (least_frames), found 4"),
        (
            {"resolution_px": 30},
            "resolution_px: expected a multiple of 4, the autoencoder's pixels per latent, ",
        ),
        ({"control_px_per_latent": 3}, "control_px_per_latent: expected a divisor of 4"),
        ({"stem_channels": (16,) * 4}, "control_px_per_latent: expected a divisor of 4 and a"),
        ({"base": "/no/base"}, "base: expected a folder or Hub id with a U-Net, /no/base: "),
        ({"tiny_vae": "/no/vae"}, "tiny_vae: expected a folder or Hub id with an AutoencoderTiny"),
        ({"start": Path("/no/start")}, "/no/start/avatar.yaml: expected a YAML file, found: "),
        ({"head": Path("/no/head")}, "/no/head/config.json: expected a JSON file, found none"),
        ({"vae": Path("/no/vae")}, "/no/vae/config.json: expected a JSON file, found none"),
    ],
)
def test_what_cannot_be_trained_is_said_before_codes_are_fitted(
    inputs: Path, tmp_path: Path, no_fit: None, capsys, changes: dict, said: str
):
    with pytest.raises(AvatarError) as caught:
        train_avatar(tiny_training(inputs, tmp_path / "run", **changes))
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
    assert capsys.readouterr().out == "" and not (tmp_path / "run").exists()


def test_all_that_stops_a_training_is_in_one_report(inputs: Path, tmp_path: Path, no_fit: None):
    data = write_tiny_frames(tmp_path / "data")
    frames = (data / "frames.jsonl").read_text()
    (data / "frames.jsonl").write_text(frames.replace('{"jawOpen": 0.0}', '{"jawOpen": 2.0}'))
    (data / "frames/1.png").unlink()
    with pytest.raises(AvatarError) as caught:
        train_avatar(
            tiny_training(
                inputs,
                tmp_path / "run",
                data=data,
                corners=WINK,
                hull=Carving(least_frames=5),
                resolution_px=30,
                head=tmp_path / "none",
            )
        )
    assert str(caught.value).splitlines() == [
        "train avatar: expected data and settings without faults, found 6:",
        f"{data / 'frames.jsonl'}, line 1: expected jawOpen in 0..1, found 2.0",
        f"{data / 'frames/1.png'}: expected a picture, found no file",
        "corners: expected a training frame of kind or id 'corner: wink', found none",
        "hull: expected 5 or more training frames (least_frames), found 4",
        f"{tmp_path / 'none/config.json'}: expected a JSON file, found none",
        "resolution_px: expected a multiple of 4, the autoencoder's pixels per latent, found 30",
    ]


def test_a_person_is_asked_for_until_codes_are_fitted(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(avatar_check, "check_registrable", lambda data, _: asked.append(data))
    settings = tiny_training(inputs, tmp_path / "run")
    check_start(settings)
    assert asked == [settings.data]
    kept = tmp_path / "run/person/made-from"
    kept.mkdir(parents=True)
    (kept / CODES_FILE).touch()
    check_start(settings)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"plane_channels": -1}, "plane_channels: expected 0 or more, found -1"),
        ({"plane_resolution": 0}, "plane_resolution: expected 1 or more, found 0"),
        ({"stem_channels": []}, "stem_channels: expected one or more numbers"),
        ({"stem_channels": [16, 0]}, "stem_channels: expected one or more numbers, each 1 or more"),
        ({"zooms": -1}, "zooms: expected 0 or more, found -1"),
        ({"pure_noise_share": 3}, "pure_noise_share: expected 0 to 1, found 3.0"),
        ({"resolution_px": 0}, "resolution_px: expected 1 to 4096, found 0"),
        ({"steps": 0}, "steps: expected 1 to 1000, found 0"),
        ({"quick_steps": 1001}, "quick_steps: expected 1 to 1000, found 1001"),
        ({"prompt_tokens": 0}, "prompt_tokens: expected 1 or more, found 0"),
        ({"control_px_per_latent": 0}, "control_px_per_latent: expected 1 or more, found 0"),
        ({"small": {"channels": [15, 32]}}, "small: channels: expected multiples of 16, found [15"),
        ({"small": {"channels": []}}, "small: channels: expected one or more numbers"),
        (
            {"small": {"channels": [32, 64], "heads": 64}},
            "small: heads: expected 1 to 32, found 64",
        ),
    ],
)
def test_impossible_settings(inputs: Path, tmp_path: Path, changes: dict, said: str):
    plain = to_plain(tiny_training(inputs, tmp_path))
    assert from_plain(plain, AvatarTraining, "a.yaml") == tiny_training(inputs, tmp_path)
    with pytest.raises(AvatarError) as caught:
        from_plain(plain | changes, AvatarTraining, "a.yaml")
    assert str(caught.value).startswith(f"a.yaml: {said}")


def test_a_smaller_control_makes_a_smaller_first_layer(inputs: Path, tmp_path: Path):
    settings = tiny_training(inputs, tmp_path / "run", steps=1, batch_size=2)
    settings = replace(settings, control_px_per_latent=2)
    train_avatar(settings)
    avatar = Avatar.load(tmp_path / "run" / "avatar", compute=FLOAT32)
    assert avatar.denoiser.pixels_per_latent == avatar.denoiser.fold_factor == 2
    kept = next((tmp_path / "run").glob("views-*/*.st"))
    assert load_tensors(kept)["mask"].shape == (SIZE_PX // 2, SIZE_PX // 2)
    for pixels in (3, 8):
        with pytest.raises(AvatarError, match="control_px_per_latent: expected a divisor of 4"):
            train_avatar(replace(settings, control_px_per_latent=pixels))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_frames(inputs: Path, tmp_path: Path, split: str):
    data = write_tiny_frames(tmp_path / "data", **{split: 0})
    with pytest.raises(AvatarError, match=rf"split '{split}', found"):
        train_avatar(tiny_training(inputs, tmp_path / "out", data=data))


def copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def a_few_steps(inputs: Path, out: Path, train_unet: bool):
    """The U-Net's weights before and after, and which of them are the new attention's."""
    settings = tiny_training(inputs, out)
    person = tiny_person(settings.data)
    denoiser = build_denoiser(settings, tiny_vae(), person)
    run = Run(out, trained_parts(denoiser, train_unet), settings.loop)
    batch = Batch(
        [person.gbuffer(person.records[0], SIZE_PX)],
        person.expression(person.records[0]).tensor()[None],
        torch.randn(1, LATENT_CHANNELS, 8, 8),
    )
    before = copied(denoiser.unet), copied(denoiser.controlnet)
    schedule = training.training_schedule()
    run.train(lambda step, generator: v_loss(denoiser, batch, schedule, generator))
    new = {
        f"{name}.{parameter}"
        for name, module in denoiser.unet.named_modules()
        if isinstance(module, ExpressionAttention)
        for parameter, _ in module.named_parameters()
    }
    changed = {k for k, v in copied(denoiser.unet).items() if not torch.equal(v, before[0][k])}
    control = {
        k for k, v in copied(denoiser.controlnet).items() if not torch.equal(v, before[1][k])
    }
    return set(before[0]), changed, new, control


def test_a_frozen_unet_keeps_its_weights_but_learns_expressions(inputs: Path, tmp_path: Path):
    _, changed, new, control = a_few_steps(inputs, tmp_path, train_unet=False)
    assert new and changed == new
    assert control


def test_a_trained_unet_moves(inputs: Path, tmp_path: Path):
    every, changed, new, _ = a_few_steps(inputs, tmp_path, train_unet=True)
    assert new < changed and len(changed) > 0.9 * len(every)


def test_the_loss_is_that_of_v():
    """A denoiser that answers the true v has none, one that answers zero has v's mean square."""
    schedule = training.training_schedule()
    latents = torch.randn(2, LATENT_CHANNELS, 4, 4)
    batch = Batch([], torch.zeros(2, CODE_DIM), latents)

    class Oracle:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def condition(self, gbuffers, codes):
            return None

        def __call__(self, noisy, times, conditioning):
            alpha_bar = schedule.alphas_cumprod[times].view(-1, 1, 1, 1)
            v = (alpha_bar.sqrt() * noisy - latents) / (1 - alpha_bar).sqrt()
            return self.scale * v

    def loss(scale: float) -> float:
        generator = torch.Generator().manual_seed(0)
        return v_loss(Oracle(scale), batch, schedule, generator).item()  # type: ignore[arg-type]

    assert loss(1) < 1e-6 and 0.3 < loss(0) < 3
    assert loss(0.5) == pytest.approx(loss(0) / 4, rel=1e-3)


def test_a_base_leaves_the_unet_frozen_by_default(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As in the paper; one that starts from nothing is trained."""
    trained = []
    monkeypatch.setattr(
        training,
        "trained_parts",
        lambda denoiser, train_unet: trained.append(train_unet) or trained_parts(denoiser, False),
    )
    tiny_unet().save_pretrained(tmp_path / "base" / "unet")
    base = str(tmp_path / "base")
    for number, changes in enumerate(({}, {"base": base}, {"base": base, "train_unet": True})):
        train_avatar(tiny_training(inputs, tmp_path / str(number), steps=1, **changes))
    assert trained == [True, False, True]
