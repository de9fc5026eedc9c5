"""Pictures to latents and back, in every kind of autoencoder."""

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from tiny import LATENT_CHANNELS, tiny_vae

from avatar_viewer.diffusion.autoencoder import (
    build_autoencoder,
    decode,
    encode,
    encoder_fold_of,
    fold_of,
    load_autoencoder,
    pixels_per_latent,
    to_uint8,
    with_fold,
)
from avatar_viewer.errors import AvatarError
from avatar_viewer.weights import save_network


def taesd_like() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=4,
    )


@pytest.fixture(params=["fold 1", "fold 4", "two levels", "tiny"])
def case(request) -> tuple[AutoencoderKL | AutoencoderTiny, int, int]:
    """An autoencoder, its fold, and how many pixels one latent stands for."""
    torch.manual_seed(0)
    return {
        "fold 1": lambda: (build_autoencoder((8, 8, 16), 4), 1, 4),
        "fold 4": lambda: (build_autoencoder((16,), 4, fold=4), 4, 4),
        "two levels": lambda: (build_autoencoder((8, 16), 4, fold=2), 2, 4),
        "tiny": lambda: (taesd_like(), 1, 4),
    }[request.param]()


@torch.no_grad()
def test_shapes(case):
    vae, fold, pixels = case
    assert (fold_of(vae), pixels_per_latent(vae)) == (fold, pixels)
    rgb = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = encode(vae, rgb)
    assert latents.shape == (2, 4, 4, 6)
    decoded = decode(vae, latents)
    assert decoded.shape == rgb.shape and decoded.abs().max() <= 1
    assert torch.equal(encode(vae, rgb), latents)  # the mean, nothing drawn
    assert not torch.allclose(encode(vae, -rgb), latents)


@torch.no_grad()
def test_both_sides_take_the_same_pixels_as_the_same_channel():
    vae = tiny_vae()
    rgb = torch.rand(1, 3, 8, 12)
    seen = []
    vae.encoder.conv_in.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encode(vae, rgb)
    # A decoder that says, at every place, what the encoder saw at row 1, column 2.
    vae.decoder.conv_out.weight.zero_()
    vae.decoder.conv_out.bias.copy_(seen[0][0, :, 1, 2])
    decoded = decode(vae, torch.zeros(1, LATENT_CHANNELS, 3, 3))
    torch.testing.assert_close(decoded, rgb[:, :, 4:8, 8:12].tile(1, 1, 3, 3))


@torch.no_grad()
def test_a_larger_fold_draws_the_same_picture_larger():
    vae = build_autoencoder((16,), LATENT_CHANNELS, fold=4).eval()
    larger = with_fold(vae, 8)
    assert (encoder_fold_of(larger), fold_of(larger), pixels_per_latent(larger)) == (4, 8, 8)
    rgb = torch.rand(1, 3, 16, 24) * 2 - 1
    enlarged = rgb.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(encode(larger, enlarged), encode(vae, rgb))
    latents = torch.randn(1, LATENT_CHANNELS, 3, 5)
    expected = decode(vae, latents).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(decode(larger, latents), expected)
    with pytest.raises(AvatarError, match="fold: expected a multiple of 4, found 6"):
        with_fold(vae, 6)


@torch.no_grad()
def test_latents_are_scaled_by_the_config():
    vae, rgb = tiny_vae(), torch.rand(1, 3, 8, 8)
    raw, decoded = encode(vae, rgb), decode(vae, encode(vae, rgb))
    vae.register_to_config(scaling_factor=3.0)
    torch.testing.assert_close(encode(vae, rgb), 3 * raw)
    torch.testing.assert_close(decode(vae, 3 * raw), decoded)


def test_to_uint8():
    rgb = torch.tensor([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0]).repeat(3, 2, 1)
    rgb[1] = -rgb[1]
    picture = to_uint8(rgb)
    assert picture.shape == (2, 6, 3) and picture.dtype == torch.uint8
    assert picture[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255]
    assert picture[1, :, 1].tolist() == [255, 255, 191, 128, 0, 0]
    assert to_uint8(rgb.bfloat16()[None]).shape == (1, 2, 6, 3)


@torch.no_grad()
def test_either_kind_is_loaded_as_what_it_is(case, tmp_path):
    vae, _, pixels = case
    save_network(vae, tmp_path, torch.float32)
    loaded = load_autoencoder(tmp_path)
    assert type(loaded) is type(vae) and pixels_per_latent(loaded) == pixels
    latents = torch.randn(1, 4, 3, 3)
    assert torch.equal(decode(loaded, latents), decode(vae.eval(), latents))
