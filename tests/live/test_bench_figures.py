"""The benchmark's figures, of avatars whose speed or work is known."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stepwise_avatar import INFO
from tiny import FLOAT32, RESOLUTION_PX, tiny_avatar, tiny_unet

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_info import Corner
from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.full_size import full_size_tiny
from avatar_viewer.diffusion.triplane import Box
from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.bench import against, drag, frames
from avatar_viewer.live.bench.drag import drag_figures
from avatar_viewer.live.bench.flops import flops_figures, matrix_rate, quick_flops
from avatar_viewer.live.bench.frames import (
    Timed,
    Way,
    by_stage,
    frames_figures,
    per_second,
    timed,
)
from avatar_viewer.live.bench.full_size import full_size_avatar, full_size_flops
from avatar_viewer.stages import ExpressionCode, Frame, RenderRequest

STEP_S = 0.01
CORNERS = tuple(Corner(name, ExpressionCode((float(ord(name)),))) for name in "abcd")
STEADY = replace(INFO, steps=8, quick_steps=2, corners=CORNERS)


class SteadyAvatar:
    """Takes 10 ms a step, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.info = replace(STEADY)
        self.expressions = ExpressionSpace()
        self.reductions = (1, 2)
        self.requests: list[RenderRequest] = []

    def render(self, request, cancelled=None):
        self.requests.append(request)
        time.sleep(STEP_S * request.steps)
        size = (request.camera.height, request.camera.width, 3)
        stage_ms = {"head": 1.0, "denoise": 10.0 * request.steps}
        return Frame(request, np.zeros(size, np.uint8), stage_ms)


def of(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}


def test_no_two_places_of_a_way_are_equal():
    info = tiny_avatar().info
    way = Way(info)
    full, quick = way.full(100), way.quick(100)
    assert len({replace(r, steps=1, exact_head=True) for r in (*full, *quick)}) == 200
    assert all(r.exact_head and r.steps == info.steps for r in full)
    assert all(not r.exact_head and r.steps == info.quick_steps for r in quick)
    assert {r.steps for r in way.quick(2, 4)} == {4}
    assert len({r.camera for r in way.full(50, view=False)}) == 1
    assert len({r.expression for r in way.full(50, view=False)}) == 50
    assert len({r.camera for r in way.full(50, pad=False)}) == 50
    assert len({r.expression for r in way.full(50, pad=False)}) == 1
    (half,) = way.full(1, reduction=2)
    assert (half.reduction, half.camera.height) == (2, RESOLUTION_PX // 2)


def test_times_are_taken_apart_by_stage():
    taken = [Timed(10, {"raster": 1, "denoise": 4}), Timed(30, {"head": 2, "denoise": 8})]
    assert by_stage(taken) == {
        "raster": of([1, 0]),
        "denoise": of([4, 8]),
        "head": of([0, 2]),
        "total": of([10, 30]),
    }
    assert per_second(taken) == 50


def test_what_comes_before_a_picture_does_not_count():
    calls = []

    def before() -> None:
        calls.append(time.sleep(0.2))

    requests = Way(STEADY).quick(2, 1)
    assert all(frame.total_ms < 200 for frame in timed(SteadyAvatar().render, requests, before))
    assert len(calls) == 2


def test_the_pictures_of_a_steady_avatar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "QUICK_FRAMES", 5)
    avatar = SteadyAvatar()
    figures = frames_figures(avatar, Way(avatar.info))  # type: ignore[arg-type]
    assert figures["full_ms"]["denoise"] == {"p50": 80, "p95": 80}
    assert figures["quick_ms"]["denoise"] == {"p50": 20, "p95": 20}
    # Sleeping takes at least as long as it is told to.
    assert figures["full_ms"]["total"]["p50"] >= 80
    assert 0 < figures["fps_4"] <= 25 and 0 < figures["fps_1"] <= 100
    assert 0 < figures["pad_fps"] <= 50 and 0 < figures["half_view_fps"] <= 50
    assert {request.reduction for request in avatar.requests} == {1, 2}
    assert len(set(avatar.requests)) == len(avatar.requests)
    avatar.reductions = (1,)
    assert "half_pad_fps" not in frames_figures(avatar, Way(avatar.info))  # type: ignore[arg-type]


def test_a_steady_avatar_is_dragged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drag, "DRAG_PICTURES", 20)
    avatar = SteadyAvatar()
    figures = drag_figures(avatar, Way(avatar.info))
    # The fewest steps take 10 ms.
    assert 0 < figures["drag_fps"] <= 100
    assert figures["latency_p95_ms"] >= figures["latency_p50_ms"] >= 10
    assert figures["evenness"] >= 1
    assert 1 <= figures["mean_steps"] <= 8
    assert 0 <= figures["reduced_percent"] <= 100
    assert figures["unchanged_renders"] == 0
    assert avatar.requests[-1].exact_head, "the last picture is the one at rest"


def test_a_failed_picture_ends_the_benchmark():
    class Failing(SteadyAvatar):
        def render(self, request, cancelled=None):
            raise AvatarError("render: expected luck, found none")

    avatar = Failing()
    with pytest.raises(AvatarError, match="expected luck"):
        drag_figures(avatar, Way(avatar.info))


def test_a_drag_without_pictures_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drag, "TIMEOUT_S", 0.1)

    class Slow(SteadyAvatar):
        def render(self, request, cancelled=None):
            time.sleep(0.2)
            return super().render(request)

    avatar = Slow()
    with pytest.raises(AvatarError, match="expected 20 pictures within"):
        drag_figures(avatar, Way(avatar.info))


def with_quick_steps(avatar: Avatar, steps: int) -> Avatar:
    info = replace(avatar.info, quick_steps=steps)
    return Avatar(avatar.parts._replace(info=info), avatar.compute)


def test_operations_are_counted_by_network():
    once, twice = (with_quick_steps(tiny_avatar(), steps) for steps in (1, 2))
    one, two = (quick_flops(avatar, Way(avatar.info)) for avatar in (once, twice))
    assert all(value > 0 for value in one.values())
    assert (two["embed"], two["decode"]) == (one["embed"], one["decode"])
    assert two["unet"] == pytest.approx(2 * one["unet"], rel=0.01)
    assert two["controlnet"] == pytest.approx(2 * one["controlnet"], rel=0.01)


def test_a_decoder_s_operations_are_those_of_its_convolutions():
    avatar = tiny_avatar()
    decoder = avatar.vae.decoder
    weights: dict[str, int] = {}
    for name, module in avatar.vae.named_modules():
        if isinstance(module, torch.nn.Conv2d) and name.startswith(("decoder", "post_quant")):
            weights[name] = module.weight.numel()
    # One level: all convolutions see the latents' size.
    assert len(decoder.up_blocks) == 1
    assert avatar.info.resolution_px == RESOLUTION_PX
    expected = 2 * sum(weights.values()) * (RESOLUTION_PX // 4) ** 2
    assert quick_flops(avatar, Way(avatar.info))["decode"] == expected


def test_the_paper_s_sizes_take_the_known_work():
    """In TFLOP: Stable Diffusion 2.1's U-Net 0.80, to which attention to expressions adds a little,
    its ControlNet 0.285, TAESD's decoder 0.14."""
    tflop = {name: flops / 1e12 for name, flops in full_size_flops().items()}
    assert 0.80 < tflop["unet"] < 0.83
    assert tflop["controlnet"] + tflop["embed"] == pytest.approx(0.285, rel=0.01)
    assert tflop["decode"] == pytest.approx(0.14, rel=0.02)


def test_a_full_size_avatar_draws(monkeypatch: pytest.MonkeyPatch):
    def small_denoiser(code_dim: int, box: Box) -> Denoiser:
        config = DenoiserConfig(code_dim, plane_channels=2, plane_resolution=8, prompt_tokens=2)
        return Denoiser.build(tiny_unet(), config, box)

    module = "avatar_viewer.live.bench.full_size"
    monkeypatch.setattr(f"{module}.full_size_denoiser", small_denoiser)
    monkeypatch.setattr(f"{module}.full_size_vae", full_size_tiny)
    monkeypatch.setattr(f"{module}.RESOLUTION_PX", 64)
    avatar = full_size_avatar(FLOAT32, "eager", print)
    (request,) = Way(avatar.info).quick(1)
    assert avatar.render(request).rgb.shape == (64, 64, 3)
    assert avatar.parts.tiny is not None and avatar.parts.decoder is None
    assert not any(p.requires_grad for p in avatar.denoiser.parameters())


def test_a_share_is_work_by_time_and_rate(monkeypatch: pytest.MonkeyPatch):
    avatar = tiny_avatar()
    monkeypatch.setattr("avatar_viewer.live.bench.flops.matrix_rate", lambda compute: 2e9)
    work = {"embed": 10**6, "unet": 3 * 10**6, "controlnet": 10**6, "decode": 2 * 10**6}
    monkeypatch.setattr("avatar_viewer.live.bench.flops.quick_flops", lambda avatar, way: work)
    ms = {"denoise": {"p50": 20.0}, "decode": {"p50": 10.0}, "total": {"p50": 35.0}}
    figures = flops_figures(avatar, Way(avatar.info), ms)
    assert figures["denoise_percent"] == pytest.approx(10)
    assert figures["decode_percent"] == pytest.approx(10)
    assert figures["frame_percent"] == pytest.approx(10)


def test_matrices_are_multiplied():
    assert matrix_rate(FLOAT32) > 1e8


def test_plain_pictures_are_those_of_the_teacher_in_twenty_steps(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[RenderRequest, Any]] = []

    def plain(parts, request, compute, decoder):
        asked.append((request, decoder))
        return np.zeros((request.camera.height, request.camera.width, 3), np.uint8)

    monkeypatch.setattr(against, "plain_render", plain)
    avatar = SimpleNamespace(parts=None, compute=None)
    (request,) = Way(STEADY).quick(1)
    against.plain_frame_of(avatar)(request)  # type: ignore[arg-type]
    assert asked == [(replace(request, steps=20, teacher=True), "vae")]
