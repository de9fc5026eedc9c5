"""Quick pictures against what they would be without the means that make them quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from avatar_viewer.avatar import Avatar
from avatar_viewer.live.bench.frames import Way, median_ms, timed
from avatar_viewer.plain import plain_render
from avatar_viewer.stages import Frame, RenderRequest

FRAMES = 15
PLAIN_STEPS = 20
PLAIN_FRAMES = 3
COMPARED = {
    "plain": "quick",
    "eager": "quick",
    "turned_forgetful": "turned",
    "same_view_forgetful": "same_view",
}
"""References, and what they are compared with."""


def against_figures(avatar: Avatar, way: Way) -> dict[str, float]:
    """Median milliseconds of pictures, and how many times as long the references take.

    `plain` is the undistilled denoiser in 20 steps with the autoencoder's whole decoder, by
    `plain_render`; `eager` runs all networks in torch, where the avatar does not anyway;
    `forgetful` keeps nothing from picture to picture, of a head that turns and of one view with
    other noise.
    """
    (view,) = way.quick(1)
    same_view = [replace(view, seed=seed) for seed in range(FRAMES)]

    def turned() -> list[RenderRequest]:
        return way.quick(FRAMES, pad=False)

    frames = {
        "quick": timed(avatar.render, way.quick(FRAMES)),
        "plain": timed(plain_frame_of(avatar), way.quick(PLAIN_FRAMES)),
        "turned": timed(avatar.render, turned()),
        "turned_forgetful": timed(avatar.render, turned(), avatar.forget),
        "same_view": timed(avatar.render, same_view),
        "same_view_forgetful": timed(avatar.render, same_view, avatar.forget),
    }
    if avatar.runtime.name != "eager":
        eager = Avatar(avatar.parts, avatar.compute)
        frames["eager"] = timed(eager.render, way.quick(FRAMES))
    ms = {name: median_ms(taken) for name, taken in frames.items()}
    times = {name: ms[name] / ms[other] for name, other in COMPARED.items() if name in ms}
    return {f"{n}_ms": value for n, value in ms.items()} | {
        f"{n}_times": value for n, value in times.items()
    }


def plain_frame_of(avatar: Avatar) -> Callable[[RenderRequest], Frame]:
    """Answers a request as if nothing had been made faster, the denoiser's steps included."""

    def render(request: RenderRequest) -> Frame:
        request = replace(request, steps=PLAIN_STEPS, teacher=True)
        return Frame(request, plain_render(avatar.parts, request, avatar.compute, decoder="vae"))

    return render
