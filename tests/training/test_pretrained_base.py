"""An avatar's training over a pre-trained text-to-image base."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import tiny_person, tiny_unet, tiny_vae
from tiny_training import tiny_training, write_inputs

from avatar_viewer.errors import AvatarError
from avatar_viewer.training import avatar_networks as training
from avatar_viewer.training.avatar_networks import build_denoiser, trained_parts
from avatar_viewer.training.base import empty_prompt


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def test_a_pretrained_base_is_taken_from_its_folder(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    base, prompt = tiny_unet(), torch.randn(1, 7, 12)
    base.save_pretrained(tmp_path / "base" / "unet")
    monkeypatch.setattr(training, "empty_prompt", lambda source: prompt)
    settings = tiny_training(inputs, tmp_path, base=str(tmp_path / "base"))
    person = tiny_person(settings.data)
    denoiser = build_denoiser(settings, tiny_vae(), person)
    trained_parts(denoiser, train_unet=False)
    assert torch.equal(denoiser.unet.conv_in.weight, base.conv_in.weight)
    assert torch.equal(denoiser.controlnet.conv_in.weight, base.conv_in.weight)
    assert torch.equal(denoiser.encoder.prompt, prompt)
    assert not denoiser.encoder.prompt.requires_grad and denoiser.encoder.linear.bias.requires_grad
    vae = tiny_vae()
    vae.register_to_config(latent_channels=9)
    with pytest.raises(AvatarError, match=r"^base: expected .* 9 latent channels, found 4$"):
        build_denoiser(settings, vae, person)


def test_a_base_that_is_none_is_named(inputs: Path, tmp_path: Path):
    settings = tiny_training(inputs, tmp_path, base=str(tmp_path))
    with pytest.raises(AvatarError) as caught:
        build_denoiser(settings, tiny_vae(), tiny_person(settings.data))
    line = str(caught.value)
    assert line.startswith("base: expected") and str(tmp_path) in line and "\n" not in line


def test_a_base_is_not_unpickled(inputs: Path, tmp_path: Path):
    folder = tmp_path / "base" / "unet"
    tiny_unet().save_pretrained(folder, safe_serialization=False)
    assert [path.suffix for path in sorted(folder.iterdir())] == [".json", ".bin"]
    settings = tiny_training(inputs, tmp_path, base=str(tmp_path / "base"))
    with pytest.raises(AvatarError, match="base: expected a folder or Hub id with a U-Net"):
        build_denoiser(settings, tiny_vae(), tiny_person(settings.data))


def test_the_empty_prompt_comes_from_the_bases_text_encoder(monkeypatch: pytest.MonkeyPatch):
    hidden = torch.randn(1, 5, 12)

    class Tokenizer:
        @staticmethod
        def from_pretrained(base: str, subfolder: str):
            assert (base, subfolder) == ("owner/base", "tokenizer")
            return lambda text, **options: SimpleNamespace(input_ids=f"{text!r}")

    class Encoder:
        @staticmethod
        def from_pretrained(base: str, subfolder: str, use_safetensors: bool):
            assert (base, subfolder, use_safetensors) == ("owner/base", "text_encoder", True)
            return lambda ids: SimpleNamespace(last_hidden_state={"''": hidden}[ids])

    module = SimpleNamespace(CLIPTokenizer=Tokenizer, CLIPTextModel=Encoder)
    monkeypatch.setitem(sys.modules, "transformers", module)
    assert torch.equal(empty_prompt("owner/base"), hidden)

    def fails(*arguments, **options):
        raise OSError("no such\nfile")

    Encoder.from_pretrained = fails
    with pytest.raises(AvatarError, match=r"^base: expected .* owner/base: no such file$"):
        empty_prompt("owner/base")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AvatarError, match=r"^package transformers: .* avatar-viewer\[train\]$"):
        empty_prompt("owner/base")
