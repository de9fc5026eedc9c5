"""An avatar: its networks, and the one flow from a request to a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.avatar_folder import Parts, load_parts, resolve, save_parts
from avatar_viewer.beside import beside, threads_beside
from avatar_viewer.config import RuntimeName
from avatar_viewer.device import Compute, best_compute
from avatar_viewer.diffusion.autoencoder import pixels_per_latent
from avatar_viewer.diffusion.finished_picture import finished
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.diffusion.runtime import (
    Decoding,
    Networks,
    Runtime,
    cache_folder,
    choose_runtime,
    eager_runtime,
)
from avatar_viewer.diffusion.samplers import initial_noise, sample
from avatar_viewer.diffusion.step import Step
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.kept import Kept
from avatar_viewer.layers import drawn_layer
from avatar_viewer.raster.camera import crop_and_resize, network_camera, scaled_camera, world_rays
from avatar_viewer.raster.gbuffer import rasterize
from avatar_viewer.stages import (
    REDUCTIONS,
    Camera,
    ExpressionCode,
    Frame,
    GBuffer,
    Rays,
    RenderRequest,
)

STAGE_PARTS = {
    "head": "head or avatar.yaml",
    "raster": "head or avatar.yaml",
    "condition": "triplane or expression_encoder",
    "denoise": "unet, controlnet or scheduler",
    "surface": "decoder",
    "decode": "vae or decoder",
}
"""Which files a failing stage points to; the stages in their order."""

FULL_DECODER, TINY_DECODER = "vae", "tiny_vae"
"""What decoders that see latents alone are called; rigged ones by the reduction of the picture."""
TARGET_MS = {"cuda": 33.0, "cpu": 66.0}
"""Between new frames while somebody drags."""


class Avatar:
    """A person's trained avatar; nothing in it changes after loading but bounded caches."""

    def __init__(
        self,
        parts: Parts,
        compute: Compute,
        make_runtime: Callable[[Networks], Runtime] = eager_runtime,
    ) -> None:
        """Without a rigged decoder among its parts the autoencoder's own draws the pictures."""
        self.parts, self.compute = parts, compute
        self.info, self.head, self.denoiser, self.vae, self.schedule = parts[:5]
        self.decoder, self.expressions = parts.decoder, parts.expressions
        self._make_runtime = make_runtime
        self._threads = torch.get_num_threads()
        self._steering: Kept[tuple[Tensor, Tensor]] = Kept()
        self._surfaces: Kept[tuple[Tensor, ...]] = Kept()
        self._rays: Kept[Rays] = Kept()
        self._noises: Kept[Tensor] = Kept()

    @staticmethod
    def load(
        source: str | Path,
        *,
        progress: Callable[[str], None] = lambda text: None,
        compute: Compute | None = None,
        runtime: RuntimeName = "eager",
        notify: Callable[[str], None] = lambda text: None,
    ) -> Avatar:
        """Load an avatar from a folder or a Hub id.

        `progress` hears what is being loaded, `notify` one line whenever a faster runtime than
        torch is ready or failed, from another thread. Raises AvatarError: one line with the file,
        what was expected and what was found.
        """
        folder = resolve(source, progress)
        compute = compute or best_compute()
        make = partial(
            choose_runtime,
            runtime,
            device=compute.device,
            cache=cache_folder(folder),
            say=notify,
        )
        avatar = Avatar(load_parts(folder, compute, progress), compute, make)
        progress("trial picture")
        avatar._check_renders(folder)
        return avatar

    @cached_property
    def runtime(self) -> Runtime:
        """What runs the networks; their weights must not change any more once it is asked for."""
        parts = self.parts
        # What is made here must be fit for conversion too.
        with torch.inference_mode(False), torch.no_grad():
            steps = {False: Step(parts.student or parts.denoiser)}
            if parts.student is not None:
                steps[True] = Step(parts.denoiser)
            decoders: dict[Hashable, Decoding] = {
                FULL_DECODER: Decoding(parts.vae),
                **{reduction: Decoding(each) for reduction, each in self._rigged.items()},
            }
            if parts.tiny is not None:
                decoders[TINY_DECODER] = Decoding(parts.tiny)
            threads = self._threads
            has_surface = self.compute.device.type == "cpu" and self.decoder is not None
            step_threads = threads_beside(threads) if has_surface else threads
            return self._make_runtime(Networks(steps, decoders, step_threads, threads))

    @cached_property
    def _rigged(self) -> dict[int, RiggedDecoder]:
        """Rigged decoders by the reduction of their pictures."""
        if self.decoder is None:
            return {}
        with torch.inference_mode(False), torch.no_grad():
            return {r: self.decoder.smaller(r) for r in self.reductions}

    @property
    def reductions(self) -> tuple[int, ...]:
        """By how much pictures can be drawn smaller than the networks' size."""
        if self.decoder is not None:
            return tuple(r for r in REDUCTIONS if self.decoder.config["fold"] % r == 0)
        return tuple(
            r for r in REDUCTIONS if self.info.resolution_px % (r * self.pixels_per_bottleneck) == 0
        )

    @property
    def target_ms(self) -> float:
        """What the time between two new frames should be while somebody drags."""
        return TARGET_MS.get(self.compute.device.type, TARGET_MS["cpu"])

    def forget(self) -> None:
        """Empty the caches: the next picture is made anew."""
        self.head.forget()
        for kept in (self._steering, self._surfaces, self._rays, self._noises):
            kept.clear()

    def save(self, folder: Path) -> None:
        """Write the avatar's folder, weights in float16; avatar.yaml comes last."""
        save_parts(self.parts, folder)

    @torch.inference_mode()
    def _check_renders(self, folder: Path) -> None:
        """Render a tiny picture: some faults of a config.json show only when it is used."""
        size_px = 2 * self.pixels_per_bottleneck
        info = replace(self.info, resolution_px=size_px)
        tiny = Avatar(self.parts._replace(info=info), self.compute)
        camera = info.default_view.camera(size_px, size_px)
        request = RenderRequest(info.corners[0].expression, camera, steps=1, sampler=info.sampler)
        stage_ms: dict[str, float] = {}
        try:
            for teacher in (False, True) if self.parts.student is not None else (False,):
                stage_ms.clear()
                tiny._image(replace(request, teacher=teacher), lambda: False, stage_ms)
        except Exception as error:
            unfinished = STAGE_PARTS.keys() - stage_ms.keys()
            if self.decoder is None:
                unfinished -= {"surface"}
            failed = next(parts for stage, parts in STAGE_PARTS.items() if stage in unfinished)
            raise AvatarError(
                f"{folder}: {failed}: expected configs that can run, found: {one_line(error)}"
            ) from error

    @torch.inference_mode()
    def render(
        self, request: RenderRequest, cancelled: Callable[[], bool] = lambda: False
    ) -> Frame:
        """The picture that a request asks for. On a CPU the same request gives the same bytes, as
        long as the number of threads is the same.

        `cancelled` is asked between denoising steps; RenderCancelled is raised when it says so.
        """
        expected = self.info.expression_dim
        if len(request.expression.values) != expected:
            raise AvatarError(
                f"expression: expected {expected} values, found {len(request.expression.values)}"
            )
        if request.reduction not in self.reductions:
            raise AvatarError(
                f"reduction: expected {' | '.join(map(str, self.reductions))} for this avatar, "
                f"found {request.reduction}"
            )
        stage_ms: dict[str, float] = {}
        if request.show == "image":
            rgb, opacity = self._image(request, cancelled, stage_ms)
        else:
            rgb, opacity = self._layer(request, stage_ms), None
        return Frame(request, rgb, stage_ms, runtime=self.runtime.label, opacity=opacity)

    def _image(
        self, request: RenderRequest, cancelled: Callable[[], bool], stage_ms: dict[str, float]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Colours over white, and opacity where the decoder tells it."""
        denoised, drawn = self._for_networks(request)
        latents, surface = self._latents_and_surface(denoised, drawn, cancelled, stage_ms)
        with _timed(stage_ms, "decode"):
            picture = self.runtime.decode(self._decoder_of(request), latents, *surface)
            rgb, opacity = finished(picture[0])
            return (
                crop_and_resize(rgb, request.camera),
                None if opacity is None else crop_and_resize(opacity, request.camera),
            )

    def _latents_and_surface(
        self,
        denoised: RenderRequest,
        drawn: RenderRequest,
        cancelled: Callable[[], bool],
        stage_ms: dict[str, float],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is decoded, and what of the surface is decoded with it.

        A processor makes both at the same time, for each is a chain of small operations that leave
        cores idle. Then "surface" is only for how long the denoiser waited for it.
        """
        at_once = self.compute.device.type == "cpu" and torch.get_num_threads() > 1
        if self.decoder is None or not at_once:
            latents = self._denoised(denoised, cancelled, stage_ms)
            return latents, self._surface(drawn, stage_ms)
        is_kept = self._surface_key(drawn) in self._surfaces
        if not is_kept:
            with _timed(stage_ms, "head"):  # which both look at
                self.head.pose_whole(drawn.expression, exact=drawn.exact_head)
        # Also of a kept surface, for a picture's bytes depend on the denoiser's threads.
        with beside(lambda: self._surface(drawn, {})) as surface:
            latents = self._denoised(denoised, cancelled, stage_ms)
            with _timed({} if is_kept else stage_ms, "surface"):
                return latents, surface()

    def _for_networks(self, request: RenderRequest) -> tuple[RenderRequest, RenderRequest]:
        """The same view in the size that is denoised, and in the one that is drawn."""
        size_px, reduction = self.info.resolution_px, request.reduction
        if self.decoder is None:  # fewer latents make a smaller picture
            size_px, reduction = size_px // reduction, 1
        camera = network_camera(request.camera, size_px, self.pixels_per_bottleneck)
        denoised = replace(request, camera=camera)
        return denoised, replace(request, camera=scaled_camera(camera, 1 / reduction))

    def _decoder_of(self, request: RenderRequest) -> Hashable:
        if self.decoder is not None:
            return request.reduction
        has_tiny = self.parts.tiny is not None
        return TINY_DECODER if has_tiny and not request.full_decoder else FULL_DECODER

    def _denoised(
        self,
        request: RenderRequest,
        cancelled: Callable[[], bool],
        stage_ms: dict[str, float],
    ) -> Tensor:
        teacher = request.teacher and self.parts.student is not None
        steering = self._steered(request, teacher, stage_ms)
        with _timed(stage_ms, "denoise"):
            latents = sample(
                lambda x, t: self.runtime.denoise(self._laid_out(x), t, *steering, teacher=teacher),
                self.noise(request.camera, request.seed),
                self.schedule,
                steps=request.steps,
                sampler=request.sampler,
                seed=request.seed,
                cancelled=cancelled,
            )
            return self._laid_out(latents)

    @torch.inference_mode()
    def latents(self, request: RenderRequest) -> Tensor:
        """[1,C,h,w] what is decoded to the picture of a request for one of the networks' sizes."""
        return self._denoised(request, lambda: False, {})

    def _steered(
        self, request: RenderRequest, teacher: bool, stage_ms: dict[str, float]
    ) -> tuple[Tensor, Tensor]:
        """Embedded control [1,W,h,w] and expression tokens [1,T,D]."""

        def make() -> tuple[Tensor, Tensor]:
            scale = self.denoiser.pixels_per_latent / pixels_per_latent(self.vae)
            camera = scaled_camera(request.camera, scale)
            gbuffer = self._gbuffer(replace(request, camera=camera), stage_ms)
            with _timed(stage_ms, "condition"):
                conditioning = self.denoiser.condition([gbuffer], self._codes(request))
                control = self._laid_out(conditioning.control)
                return (
                    self._laid_out(self.runtime.embed(control, teacher)),
                    conditioning.expression_tokens.to(self.compute.dtype),
                )

        return self._steering.get((*self._pose(request), request.camera, teacher), make)

    def _surface(self, request: RenderRequest, stage_ms: dict[str, float]) -> tuple[Tensor, ...]:
        """What a rigged decoder sees of the surface in the size that is drawn, and codes [1,E]."""
        if self.decoder is None:
            return ()
        decoder = self._rigged[request.reduction]

        def make() -> tuple[Tensor, ...]:
            gbuffer = self._gbuffer(request, stage_ms)
            with _timed(stage_ms, "surface"):
                codes = self._codes(request)
                camera = request.camera
                rays = self._rays.get(camera, lambda: world_rays(camera, self.compute.device))
                seen = decoder.look_up([gbuffer], [rays], codes)
                return *map(self._laid_out, seen), codes.to(self.compute.dtype)

        return self._surfaces.get(self._surface_key(request), make)

    def _surface_key(self, request: RenderRequest) -> Hashable:
        return *self._pose(request), request.camera, request.reduction

    def _pose(self, request: RenderRequest) -> tuple[ExpressionCode, bool]:
        """What the mesh depends on."""
        return request.expression, request.exact_head or self.head.baked is None

    def _codes(self, request: RenderRequest) -> Tensor:
        return request.expression.tensor()[None].to(self.compute.device)

    def _layer(self, request: RenderRequest, stage_ms: dict[str, float]) -> np.ndarray:
        gbuffer = self._gbuffer(request, stage_ms)
        with _timed(stage_ms, "shade"):
            return drawn_layer(request, self.head, gbuffer, self.denoiser.triplane)

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.to(self.compute.dtype).contiguous(memory_format=torch.channels_last)

    def _gbuffer(self, request: RenderRequest, stage_ms: dict[str, float]) -> GBuffer:
        with _timed(stage_ms, "head"):
            mesh = self.head.pose_whole(request.expression, exact=request.exact_head)
        with _timed(stage_ms, "raster"):
            return rasterize(mesh, request.camera)

    @property
    def pixels_per_bottleneck(self) -> int:
        """What picture sizes must be a multiple of: the U-Net's lowest level, in pixels."""
        levels = len(self.denoiser.unet.config["block_out_channels"])
        return pixels_per_latent(self.vae) * 2 ** (levels - 1)

    def noise(self, camera: Camera, seed: int) -> Tensor:
        """[1,C,h,w] the seed's initial latents for a picture of this size."""
        factor = pixels_per_latent(self.vae)
        channels = self.denoiser.unet.config["in_channels"]
        shape = (1, channels, camera.height // factor, camera.width // factor)
        return self._noises.get(
            (shape, seed), lambda: initial_noise(shape, seed).to(self.compute.device)
        )


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    # A stage may run more than once, for two sizes.
    stage_ms[stage] = stage_ms.get(stage, 0.0) + (time.perf_counter() - started) * 1e3
