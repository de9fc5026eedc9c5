"""An avatar: its networks, and the one flow from a request to a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler
from PIL import Image
from torch import Tensor, nn

from avatar_viewer.avatar_info import AvatarInfo, read_avatar_info, write_avatar_info
from avatar_viewer.device import Compute, best_compute
from avatar_viewer.diffusion.autoencoder import (
    Autoencoder,
    decode,
    load_autoencoder,
    pixels_per_latent,
    to_uint8,
)
from avatar_viewer.diffusion.conditioning import GEOMETRY_CHANNELS, ExpressionEncoder
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.expression_attention import ExpressionUNet
from avatar_viewer.diffusion.samplers import initial_noise, sample
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM, NPHM
from avatar_viewer.head.storage import (
    CANONICAL_HEAD_FILE,
    load_canonical_head,
    save_canonical_head,
)
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.raster.shading import shade
from avatar_viewer.stages import (
    Camera,
    CanonicalHead,
    Conditioning,
    ExpressionCode,
    Frame,
    GBuffer,
    RenderRequest,
)
from avatar_viewer.weights import load_network, read_json, save_network

PARTS = ("head", "triplane", "expression_encoder", "unet", "controlnet", "vae", "scheduler")
"""The folders of an avatar, beside avatar.yaml."""

KEPT_VIEWS = 8
"""How many views' conditioning is kept: those of the pad's corners and of the view at rest."""


class Avatar:
    """A person's trained avatar; nothing in it changes after loading but bounded caches."""

    def __init__(
        self,
        info: AvatarInfo,
        head: HeadPoser,
        denoiser: Denoiser,
        vae: Autoencoder,
        schedule: DDIMScheduler,
        compute: Compute,
    ) -> None:
        self.info, self.head, self.schedule, self.compute = info, head, schedule, compute
        self.denoiser, self.vae = denoiser, vae
        self._conditioned: dict[tuple[ExpressionCode, Camera], Conditioning] = {}

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
        info = read_avatar_info(folder / "avatar.yaml")
        progress("head model")
        head = _load_head(folder / "head", compute.device)
        progress("triplane and expression encoder")
        triplane = load_network(TriPlane, folder / "triplane")
        encoder = load_network(ExpressionEncoder, folder / "expression_encoder")
        progress("U-Net")
        unet = load_network(ExpressionUNet, folder / "unet", compute.dtype)
        progress("ControlNet")
        controlnet = load_network(ControlNetModel, folder / "controlnet", compute.dtype)
        progress("decoder")
        vae = load_autoencoder(folder / "vae", compute.dtype)
        schedule = _load_schedule(folder / "scheduler" / "scheduler_config.json")
        denoiser = Denoiser(triplane, encoder, unet, controlnet)
        _check_fit(folder, info, head, denoiser, vae)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        for network in (denoiser, vae):
            nn.Module.to(network, compute.device, **layout)
        return Avatar(info, head, denoiser, vae, schedule, compute)

    def save(self, folder: Path) -> None:
        """Write the avatar's folder, weights in float16; avatar.yaml comes last."""
        save_network(self.head.nphm, folder / "head")
        save_canonical_head(
            folder / "head" / CANONICAL_HEAD_FILE, self.head.head, self.head.identity
        )
        save_network(self.denoiser.triplane, folder / "triplane")
        save_network(self.denoiser.encoder, folder / "expression_encoder")
        save_network(self.denoiser.unet, folder / "unet")
        save_network(self.denoiser.controlnet, folder / "controlnet")
        save_network(self.vae, folder / "vae")
        self.schedule.save_pretrained(folder / "scheduler")
        write_avatar_info(self.info, folder / "avatar.yaml")

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
            rgb = self._image(request, cancelled, stage_ms)
        else:
            rgb = self._layer(request, stage_ms)
        return Frame(request, rgb, stage_ms)

    def _image(
        self, request: RenderRequest, cancelled: Callable[[], bool], stage_ms: dict[str, float]
    ) -> np.ndarray:
        camera = network_camera(request.camera, self.info.resolution_px, self.pixels_per_bottleneck)
        conditioning = self._condition(replace(request, camera=camera), stage_ms)
        with _timed(stage_ms, "denoise"):
            noise = self.noise(camera, request.seed)
            latents = sample(
                lambda x, t: self.denoiser(x.to(self.compute.dtype), t, conditioning),
                noise.to(self.compute.device),
                self.schedule,
                steps=request.steps,
                sampler=request.sampler,
                seed=request.seed,
                cancelled=cancelled,
            )
        with _timed(stage_ms, "decode"):
            rgb = to_uint8(decode(self.vae, latents.to(self.compute.dtype))[0]).cpu().numpy()
            return crop_and_resize(rgb, request.camera)

    def _layer(self, request: RenderRequest, stage_ms: dict[str, float]) -> np.ndarray:
        gbuffer = self._gbuffer(request, stage_ms)
        with _timed(stage_ms, "shade"):
            if request.show == "features":
                return self._features(gbuffer)
            box = self.denoiser.triplane.config
            return shade(gbuffer, request.show, (box["box_min"], box["box_max"]))

    def _condition(self, request: RenderRequest, stage_ms: dict[str, float]) -> Conditioning:
        """What an expression and a view give, kept for the next frames of the same."""
        key = (request.expression, request.camera)
        if key not in self._conditioned:
            gbuffer = self._gbuffer(request, stage_ms)
            with _timed(stage_ms, "condition"):
                codes = request.expression.tensor()[None].to(self.compute.device)
                full = self.denoiser.condition([gbuffer], codes)
                conditioning = Conditioning(
                    full.control.to(self.compute.dtype).contiguous(
                        memory_format=torch.channels_last
                    ),
                    full.expression_tokens.to(self.compute.dtype),
                )
            while len(self._conditioned) >= KEPT_VIEWS:
                self._conditioned.pop(next(iter(self._conditioned)))
            self._conditioned[key] = conditioning
        return self._conditioned[key]

    def _gbuffer(self, request: RenderRequest, stage_ms: dict[str, float]) -> GBuffer:
        with _timed(stage_ms, "head"):
            mesh = self.head.pose(request.expression)
        with _timed(stage_ms, "raster"):
            return rasterize(mesh, request.camera)

    def _features(self, gbuffer: GBuffer) -> np.ndarray:
        """The rigged features' first three principal components as red, green and blue."""
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


def resolve(source: str | Path, progress: Callable[[str], None]) -> Path:
    """The folder of an avatar given as a folder or as a Hub id ("owner/name")."""
    text = str(source)
    try:
        folder = Path(source).expanduser()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError) as error:
        raise AvatarError(
            f"{source}: expected an avatar's folder or a Hub id, found: {one_line(error)}"
        ) from error
    looks_like_id = text.count("/") == 1 and not text.startswith((".", "/", "~"))
    if folder.exists() or not looks_like_id:
        found = "a file" if folder.exists() else "nothing"
        raise AvatarError(f"{source}: expected an avatar's folder or a Hub id, found {found}")
    from huggingface_hub import snapshot_download

    progress(f"{text} from the Hub")
    patterns = ["*.yaml", "*.json", "*.safetensors", "README.md"]
    try:
        return Path(snapshot_download(text, allow_patterns=patterns))
    except Exception as error:
        raise AvatarError(
            f"{source}: expected an avatar's folder or a Hub id, found no folder, and the Hub"
            f" answered {type(error).__name__}"
        ) from error


def _load_head(folder: Path, device: torch.device) -> HeadPoser:
    nphm = load_network(NPHM, folder)
    head, identity = load_canonical_head(folder / CANONICAL_HEAD_FILE)
    if len(identity) != nphm.identity_dim:
        raise AvatarError(
            f"{folder / CANONICAL_HEAD_FILE}: expected an identity code of "
            f"{nphm.identity_dim} values, found {len(identity)}"
        )
    on_device = CanonicalHead(head.vertices.to(device), head.faces.to(device))
    nn.Module.to(nphm, device)
    return HeadPoser(nphm, on_device, identity.to(device), vertex_normals)


def _load_schedule(path: Path) -> DDIMScheduler:
    config = read_json(path)
    try:
        schedule = DDIMScheduler.from_config(config)
    except Exception as error:
        raise AvatarError(f"{path}: expected a DDIM schedule, found: {one_line(error)}") from error
    assert isinstance(schedule, DDIMScheduler)
    if schedule.config["prediction_type"] != "v_prediction":
        raise AvatarError(
            f"{path}: expected prediction_type v_prediction, found "
            f"{schedule.config['prediction_type']}"
        )
    return schedule


def _check_fit(
    folder: Path, info: AvatarInfo, head: HeadPoser, denoiser: Denoiser, vae: Autoencoder
) -> None:
    """That the parts of a folder belong together."""
    unet, controlnet = denoiser.unet.config, denoiser.controlnet.config
    encoder = denoiser.encoder.config
    channels = (GEOMETRY_CHANNELS + denoiser.triplane.features) * denoiser.fold_factor**2
    control_stride = 2 ** (len(controlnet["conditioning_embedding_out_channels"]) - 1)
    widths = [list(net["block_out_channels"]) for net in (unet, controlnet)]
    token_dim, size_px = unet["cross_attention_dim"], pixels_per_latent(vae)
    for what, expected, found in (
        ("avatar.yaml: values of an expression", encoder["code_dim"], info.expression_dim),
        ("head: values of an expression", encoder["code_dim"], head.nphm.expression_dim + GAZE_DIM),
        ("vae: latent channels", unet["in_channels"], vae.config["latent_channels"]),
        ("controlnet: latent channels", unet["in_channels"], controlnet["in_channels"]),
        ("vae: pixels per latent", denoiser.fold_factor * control_stride, size_px),
        ("controlnet: channels of control", channels, controlnet["conditioning_channels"]),
        ("controlnet: cross_attention_dim", token_dim, controlnet["cross_attention_dim"]),
        ("controlnet: block_out_channels", *widths),
        ("expression_encoder: token_dim", token_dim, encoder["token_dim"]),
        ("expression_encoder: tokens", ExpressionUNet.expression_tokens, encoder["tokens"]),
    ):
        if expected != found:
            raise AvatarError(f"{folder}/{what}: expected {expected}, found {found}")
    if info.resolution_px % size_px:
        raise AvatarError(
            f"{folder}/avatar.yaml: resolution_px: expected a multiple of {size_px}, "
            f"found {info.resolution_px}"
        )


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    stage_ms[stage] = (time.perf_counter() - started) * 1e3
