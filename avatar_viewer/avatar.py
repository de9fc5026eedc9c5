"""An avatar: its networks, and the one flow from a request to a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avatar_viewer.avatar_folder import Parts, load_parts, resolve, save_parts
from avatar_viewer.device import Compute, best_compute
from avatar_viewer.diffusion.autoencoder import (
    decode,
    pixels_per_latent,
    to_uint8,
)
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.diffusion.samplers import initial_noise, sample
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.raster.camera import world_rays
from avatar_viewer.raster.gbuffer import rasterize
from avatar_viewer.raster.shading import shade
from avatar_viewer.stages import (
    Camera,
    Conditioning,
    ExpressionCode,
    Frame,
    GBuffer,
    RenderRequest,
)

STAGE_PARTS = {
    "head": "head or avatar.yaml",
    "raster": "head or avatar.yaml",
    "surface": "decoder",
    "condition": "triplane or expression_encoder",
    "denoise": "unet, controlnet or scheduler",
    "decode": "vae or decoder",
}
"""Which files a failing stage points to; the stages in their order."""

KEPT_VIEWS = 2
"""How many views' conditioning is kept, tens of megabytes each: the view that is refined at rest,
and the one before."""


class Avatar:
    """A person's trained avatar; nothing in it changes after loading but bounded caches."""

    def __init__(self, parts: Parts, compute: Compute) -> None:
        """Without a rigged decoder among its parts the autoencoder's own draws the pictures."""
        self.parts, self.compute = parts, compute
        self.info, self.head, self.denoiser, self.vae, self.schedule, self.decoder = parts
        self._conditioned: dict[tuple[ExpressionCode, Camera, bool], Conditioning] = {}

    @staticmethod
    def load(
        source: str | Path,
        *,
        progress: Callable[[str], None] = lambda text: None,
        compute: Compute | None = None,
    ) -> Avatar:
        """Load an avatar from a folder or a Hub id; `progress` hears what is being loaded.

        Raises AvatarError: one line with the file, what was expected and what was found.
        """
        folder = resolve(source, progress)
        compute = compute or best_compute()
        avatar = Avatar(load_parts(folder, compute, progress), compute)
        progress("trial picture")
        avatar._check_renders(folder)
        return avatar

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
            tiny._image(request, lambda: False, stage_ms)
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
        """The picture that a request asks for; the same request gives the same bytes on a CPU.

        `cancelled` is asked between denoising steps; RenderCancelled is raised when it says so.
        """
        expected = self.info.expression_dim
        if len(request.expression.values) != expected:
            raise AvatarError(
                f"expression: expected {expected} values, found {len(request.expression.values)}"
            )
        stage_ms: dict[str, float] = {}
        if request.show == "image":
            rgb = crop_and_resize(self._image(request, cancelled, stage_ms), request.camera)
        else:
            rgb = self._layer(request, stage_ms)
        return Frame(request, rgb, stage_ms)

    def _image(
        self, request: RenderRequest, cancelled: Callable[[], bool], stage_ms: dict[str, float]
    ) -> np.ndarray:
        camera = network_camera(request.camera, self.info.resolution_px, self.pixels_per_bottleneck)
        request = replace(request, camera=camera)
        conditioning = self._condition(request, stage_ms)
        with _timed(stage_ms, "denoise"):
            latents = self._denoised(request, conditioning, cancelled)
        with _timed(stage_ms, "decode"):
            rgb = self._decoded(latents.to(self.compute.dtype), request, conditioning)
            return to_uint8(rgb[0]).cpu().numpy()

    def _denoised(
        self, request: RenderRequest, conditioning: Conditioning, cancelled: Callable[[], bool]
    ) -> Tensor:
        return sample(
            lambda x, t: self.denoiser(x.to(self.compute.dtype), t, conditioning),
            self.noise(request.camera, request.seed).to(self.compute.device),
            self.schedule,
            steps=request.steps,
            sampler=request.sampler,
            seed=request.seed,
            cancelled=cancelled,
        )

    def _decoded(
        self, latents: Tensor, request: RenderRequest, conditioning: Conditioning
    ) -> Tensor:
        if self.decoder is None or conditioning.surface is None:
            return decode(self.vae, latents)
        codes = request.expression.tensor()[None].to(latents)
        return self.decoder(latents, conditioning.surface, codes).clamp(-1, 1)

    @torch.inference_mode()
    def latents(self, request: RenderRequest) -> Tensor:
        """[1,C,h,w] what is decoded to the picture of a request for one of the networks' sizes."""
        return self._denoised(request, self._condition(request, {}), lambda: False)

    def _layer(self, request: RenderRequest, stage_ms: dict[str, float]) -> np.ndarray:
        gbuffer = self._gbuffer(request, stage_ms)
        with _timed(stage_ms, "shade"):
            if request.show == "features":
                return self._features(gbuffer)
            box = self.denoiser.triplane.config
            return shade(gbuffer, request.show, (box["box_min"], box["box_max"]))

    def _condition(self, request: RenderRequest, stage_ms: dict[str, float]) -> Conditioning:
        """What an expression and a view give, kept for the next frames of the same."""
        key = (request.expression, request.camera, request.exact_head or self.head.baked is None)
        if key not in self._conditioned:
            scale = self.denoiser.pixels_per_latent / pixels_per_latent(self.vae)
            camera = scaled_camera(request.camera, scale)
            gbuffer = self._gbuffer(replace(request, camera=camera), stage_ms)
            surface = None
            if self.decoder is not None:
                with _timed(stage_ms, "surface"):
                    surface = self._looked_up(request, self.decoder)
            with _timed(stage_ms, "condition"):
                codes = request.expression.tensor()[None].to(self.compute.device)
                full = self.denoiser.condition([gbuffer], codes)
                conditioning = Conditioning(
                    self._laid_out(full.control),
                    full.expression_tokens.to(self.compute.dtype),
                    surface,
                )
            while len(self._conditioned) >= KEPT_VIEWS:
                self._conditioned.pop(next(iter(self._conditioned)))
            self._conditioned[key] = conditioning
        return self._conditioned[key]

    def _looked_up(self, request: RenderRequest, decoder: RiggedDecoder) -> Tensor:
        """What the decoder sees of the surface, in the picture's own size."""
        codes = request.expression.tensor()[None].to(self.compute.device)
        rays = world_rays(request.camera, self.compute.device)
        return self._laid_out(decoder.look_up([self._gbuffer(request, {})], [rays], codes))

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.to(self.compute.dtype).contiguous(memory_format=torch.channels_last)

    def _gbuffer(self, request: RenderRequest, stage_ms: dict[str, float]) -> GBuffer:
        with _timed(stage_ms, "head"):
            mesh = self.head.pose_whole(request.expression, exact=request.exact_head)
        with _timed(stage_ms, "raster"):
            return rasterize(mesh, request.camera)

    def _features(self, gbuffer: GBuffer) -> np.ndarray:
        """The rigged features' first three principal components as red, green and blue."""
        if self.denoiser.triplane.features == 0:
            raise AvatarError("features: expected an avatar with planes, found one without")
        basis, mean, spread = self._feature_basis()
        rgb = torch.ones((*gbuffer.mask.shape, 3), device=gbuffer.mask.device)
        features = self.denoiser.triplane(gbuffer.canonical[gbuffer.mask])
        rgb[gbuffer.mask] = 0.5 + (features - mean) @ basis / (4 * spread)
        return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()

    def _feature_basis(self) -> tuple[Tensor, Tensor, Tensor]:
        features = self.denoiser.triplane(self.head.head.vertices)
        mean = features.mean(0)
        values, vectors = torch.linalg.eigh((features - mean).T @ (features - mean))
        basis = vectors[:, -3:].flip(1)
        # An eigenvector's sign is arbitrary; fix it so that colours never flip.
        basis = basis * basis.sum(0).sign()
        # Rounding makes the variance of a constant feature a little less than zero.
        return basis, mean, (values[-3:].flip(0) / len(features)).clamp(min=1e-12).sqrt()

    @property
    def pixels_per_bottleneck(self) -> int:
        """What picture sizes must be a multiple of: the U-Net's lowest level, in pixels."""
        levels = len(self.denoiser.unet.config["block_out_channels"])
        return pixels_per_latent(self.vae) * 2 ** (levels - 1)

    def noise(self, camera: Camera, seed: int) -> Tensor:
        """[1,C,h,w] the seed's initial latents for a picture of this size."""
        factor = pixels_per_latent(self.vae)
        channels = self.denoiser.unet.config["in_channels"]
        return initial_noise((1, channels, camera.height // factor, camera.width // factor), seed)


def network_camera(camera: Camera, resolution_px: int, multiple_px: int) -> Camera:
    """The same view in a size that the networks take: trained height, width rounded up.

    The networks know faces at the size that they were trained on, so other sizes are resampled
    from that.
    """
    width = resolution_px * camera.width / camera.height
    return replace(camera, height=resolution_px, width=-int(-width // multiple_px) * multiple_px)


def scaled_camera(camera: Camera, scale: float) -> Camera:
    """The same view in a picture `scale` times as large."""
    return replace(camera, width=round(camera.width * scale), height=round(camera.height * scale))


def crop_and_resize(rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """Undo `network_camera`: [H',W',3] uint8 -> [H,W,3] of the wanted camera."""
    height, width = rgb.shape[:2]
    if (height, width) == (camera.height, camera.width):
        return rgb
    margin = (width - height * camera.width / camera.height) / 2
    picture = Image.fromarray(rgb).resize(
        (camera.width, camera.height),
        Image.Resampling.LANCZOS,
        box=(margin, 0, width - margin, height),
    )
    return np.asarray(picture)


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    stage_ms[stage] = (time.perf_counter() - started) * 1e3
