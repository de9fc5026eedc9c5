"""`Avatar.render` draws what `plain_render` does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diffusers import AutoencoderTiny
from tiny import tiny_avatar

from avatar_viewer.avatar import Avatar
from avatar_viewer.live.still import Picture
from avatar_viewer.plain import plain_render

TOLERANCE = 1
"""Levels of 0..255: in float32 both round the same numbers, of sums in another order."""

PICTURE = Picture(pad=(0.2, 0.3), azimuth=20, elevation=-5, steps=3, seed=4)
LARGER = replace(PICTURE, size=45)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest, in levels."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("rigged", [False, True])
@pytest.mark.parametrize("picture", [PICTURE, LARGER])
def test_an_avatar_draws_the_plain_picture(rigged: bool, picture: Picture):
    avatar = tiny_avatar(rigged=rigged)
    request = picture.request(avatar.info)
    plain = plain_render(avatar.parts, request, avatar.compute)
    assert plain.std() > 10, "a picture of nothing would prove nothing"
    assert difference(avatar.render(request).rgb, plain) <= TOLERANCE
    # What is kept from the first time gives the same once more.
    other_noise = replace(request, seed=5)
    plain = plain_render(avatar.parts, other_noise, avatar.compute)
    assert difference(avatar.render(other_noise).rgb, plain) <= TOLERANCE


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
def test_student_and_teacher_are_told_apart(sampler):
    avatar = tiny_avatar(student=True)
    request = replace(PICTURE.request(avatar.info), sampler=sampler)
    plain = {}
    for teacher in (False, True):
        asked = replace(request, teacher=teacher)
        plain[teacher] = plain_render(avatar.parts, asked, avatar.compute)
        assert difference(avatar.render(asked).rgb, plain[teacher]) <= TOLERANCE
    assert difference(plain[False], plain[True]) > 10 * TOLERANCE


def test_a_tiny_autoencoder_draws_unless_the_full_one_is_asked_for():
    plain = tiny_avatar()
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(4,) * 3,
        decoder_block_out_channels=(4,) * 3,
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )
    avatar = Avatar(plain.parts._replace(tiny=tiny.eval()), plain.compute)
    request = PICTURE.request(avatar.info)
    for asked in (request, replace(request, full_decoder=True)):
        drawn = plain_render(avatar.parts, asked, avatar.compute)
        assert difference(avatar.render(asked).rgb, drawn) <= TOLERANCE
    full = plain_render(avatar.parts, request, avatar.compute, decoder="vae")
    assert difference(full, plain.render(request).rgb) <= TOLERANCE


def test_the_autoencoder_can_draw_in_place_of_the_rigged_decoder():
    avatar = tiny_avatar(rigged=True)
    request = PICTURE.request(avatar.info)
    plain = plain_render(avatar.parts, request, avatar.compute, decoder="vae")
    without = Avatar(avatar.parts._replace(decoder=None), avatar.compute)
    assert difference(without.render(request).rgb, plain) <= TOLERANCE
    assert difference(plain, plain_render(avatar.parts, request, avatar.compute)) > 10 * TOLERANCE
