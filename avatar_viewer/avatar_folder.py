"""An avatar's folder: which files there are, how they are read, and that they belong together.

avatar.yaml        name, licence, provenance, resolution, default view, corner expressions
head/  triplane/  expression_encoder/  unet/  controlnet/  vae/
                   config.json and safetensors of one network each;
                   head/ also has canonical_head.safetensors and, for drags on a CPU,
                   baked_expressions.safetensors; arkit_map.safetensors where the avatar's data
                   had ARKit weights; hull.safetensors where hair and shoulders have a mesh too
scheduler/         the noise schedule
decoder/           a rigged decoder, where the avatar has one in place of the autoencoder's
student/           unet/ and controlnet/ of a distilled denoiser, where the avatar has one: it then
                   draws by default
tiny_vae/          an AutoencoderTiny of the same latents, for avatars with a large autoencoder and
                   no rigged decoder: it then draws by default
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn

from avatar_viewer import hub
from avatar_viewer.avatar_info import AvatarInfo, read_avatar_info, write_avatar_info
from avatar_viewer.device import Compute
from avatar_viewer.diffusion.autoencoder import Autoencoder, load_autoencoder, pixels_per_latent
from avatar_viewer.diffusion.conditioning import GEOMETRY_CHANNELS, ExpressionEncoder
from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.expression_attention import expression_tokens, load_unet
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.diffusion.samplers import REGRESSION
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.head.arkit import ARKIT_MAP_FILE, ArkitMap, load_arkit_map, save_arkit_map
from avatar_viewer.head.expression_space import ExpressionSpace, load_directions
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM, NPHM
from avatar_viewer.head.storage import (
    BAKED_FILE,
    CANONICAL_HEAD_FILE,
    HULL_FILE,
    load_baked,
    load_canonical_head,
    load_hull,
    save_baked,
    save_canonical_head,
    save_hull,
)
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.weights import load_network, read_json, save_network

STUDENT_FOLDER = "student"
TINY_FOLDER = "tiny_vae"


class Parts(NamedTuple):
    """What an avatar is made of."""

    info: AvatarInfo
    head: HeadPoser
    denoiser: Denoiser
    vae: Autoencoder
    schedule: DDIMScheduler
    decoder: RiggedDecoder | None = None
    """None: the autoencoder's own decodes."""
    student: Denoiser | None = None
    """Distilled from `denoiser` to need fewer steps; it shares planes, tokens and prompt."""
    tiny: AutoencoderTiny | None = None
    """Decodes the same latents as `vae`, faster."""
    expressions: ExpressionSpace = ExpressionSpace()
    """What sliders turn."""


def load_parts(folder: Path, compute: Compute, progress: Callable[[str], None]) -> Parts:
    """Read a folder; raises AvatarError: one line with the file, expected and found."""
    info = read_avatar_info(folder / "avatar.yaml")
    progress("head model")
    head = load_head(folder / "head", compute.device)
    progress("triplane and expression encoder")
    triplane = load_network(TriPlane, folder / "triplane")
    encoder = load_network(ExpressionEncoder, folder / "expression_encoder")
    progress("U-Net and ControlNet")
    unet, controlnet = _load_steering(folder, compute)
    progress("decoder")
    vae = load_autoencoder(folder / "vae", compute.dtype)
    schedule = _load_schedule(folder / "scheduler" / "scheduler_config.json")
    has_decoder = (folder / "decoder").is_dir()
    decoder = load_network(RiggedDecoder, folder / "decoder") if has_decoder else None
    denoiser = Denoiser(triplane, encoder, unet, controlnet)
    student = None
    if (folder / STUDENT_FOLDER).is_dir():
        progress("student")
        student = Denoiser(triplane, encoder, *_load_steering(folder / STUDENT_FOLDER, compute))
    has_tiny = (folder / TINY_FOLDER).is_dir()
    tiny = load_network(AutoencoderTiny, folder / TINY_FOLDER, compute.dtype) if has_tiny else None
    directions = load_directions(folder / "head", head.nphm.expression_dim)
    expressions = ExpressionSpace(directions, head.arkit_map)
    parts = Parts(info, head, denoiser, vae, schedule, decoder, student, tiny, expressions)
    _check_fit(folder, parts)
    layout: dict[str, Any] = {"memory_format": torch.channels_last}
    for network in (denoiser, vae, student, tiny):
        if network is not None:
            nn.Module.to(network, compute.device, **layout)
    if decoder is not None:
        nn.Module.to(decoder, compute.device, **layout)
        # Planes and sheets stay float32, in which they are looked up.
        for name, module in decoder.named_children():
            if name not in ("triplane", "eyes", "mouth"):
                module.to(compute.dtype)
    return parts


def _load_steering(folder: Path, compute: Compute) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """The U-Net and the ControlNet that steers it."""
    unet = load_unet(folder / "unet", compute.dtype)
    return unet, load_network(ControlNetModel, folder / "controlnet", compute.dtype)


def save_parts(parts: Parts, folder: Path) -> None:
    """Write a folder, weights in float16; avatar.yaml comes last."""
    head, denoiser = parts.head, parts.denoiser
    save_network(head.nphm, folder / "head")
    save_canonical_head(folder / "head" / CANONICAL_HEAD_FILE, head.head, head.identity)
    if head.baked is not None:
        save_baked(folder / "head" / BAKED_FILE, head.baked)
    if head.arkit_map is not None:
        save_arkit_map(head.arkit_map, folder / "head")
    if head.hull is not None:
        save_hull(folder / "head" / HULL_FILE, head.hull)
    save_network(denoiser.triplane, folder / "triplane")
    save_network(denoiser.encoder, folder / "expression_encoder")
    for network, place in ((denoiser, folder), (parts.student, folder / STUDENT_FOLDER)):
        if network is not None:
            save_network(network.unet, place / "unet")
            save_network(network.controlnet, place / "controlnet")
    save_network(parts.vae, folder / "vae")
    parts.schedule.save_pretrained(folder / "scheduler")
    if parts.decoder is not None:
        save_network(parts.decoder, folder / "decoder")
    if parts.tiny is not None:
        save_network(parts.tiny, folder / TINY_FOLDER)
    write_avatar_info(parts.info, folder / "avatar.yaml")


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
    try:
        return hub.download(text, progress)
    except Exception as error:
        raise AvatarError(
            f"{source}: expected an avatar's folder or a Hub id, found no folder, and the Hub"
            f" answered {type(error).__name__}"
        ) from error


def load_head(folder: Path, device: torch.device) -> HeadPoser:
    """The head of an avatar; without baked expressions, ARKit map or hull where it has none."""
    nphm = load_network(NPHM, folder)
    head, identity = load_canonical_head(folder / CANONICAL_HEAD_FILE)
    if len(identity) != nphm.identity_dim:
        raise AvatarError(
            f"{folder / CANONICAL_HEAD_FILE}: expected an identity code of "
            f"{nphm.identity_dim} values, found {len(identity)}"
        )
    nn.Module.to(nphm, device)
    path, hull_path = folder / BAKED_FILE, folder / HULL_FILE
    poser = HeadPoser(
        nphm,
        head.to(device),
        identity.to(device),
        vertex_normals,
        baked=load_baked(path, head).to(device) if path.exists() else None,
        arkit_map=_load_arkit_map(folder, nphm),
    )
    poser.hull = load_hull(hull_path).to(device) if hull_path.exists() else None
    return poser


def _load_arkit_map(folder: Path, nphm: NPHM) -> ArkitMap | None:
    path = folder / ARKIT_MAP_FILE
    if not path.exists():
        return None
    arkit_map = load_arkit_map(folder)
    if len(arkit_map.offset) != nphm.expression_dim:
        raise AvatarError(
            f"{path}: expected codes of {nphm.expression_dim} values, found {len(arkit_map.offset)}"
        )
    return arkit_map


def _load_schedule(path: Path) -> DDIMScheduler:
    config = read_json(path)
    try:
        schedule = DDIMScheduler.from_config(config)
    except Exception as error:
        raise AvatarError(f"{path}: expected a DDIM schedule, found: {one_line(error)}") from error
    assert isinstance(schedule, DDIMScheduler)
    if schedule.config["prediction_type"] not in ("v_prediction", REGRESSION):
        raise AvatarError(
            f"{path}: expected prediction_type v_prediction or {REGRESSION}, found "
            f"{schedule.config['prediction_type']}"
        )
    return schedule


def _check_denoiser(folder: Path, denoiser: Denoiser) -> None:
    """That U-Net, ControlNet, planes and tokens belong together."""
    unet, controlnet = denoiser.unet.config, denoiser.controlnet.config
    encoder = denoiser.encoder.config
    channels = (GEOMETRY_CHANNELS + denoiser.triplane.features) * denoiser.fold_factor**2
    widths = [list(net["block_out_channels"]) for net in (unet, controlnet)]
    token_dim = unet["cross_attention_dim"]
    for what, expected, found in (
        ("controlnet: latent channels", unet["in_channels"], controlnet["in_channels"]),
        ("controlnet: channels of control", channels, controlnet["conditioning_channels"]),
        ("controlnet: cross_attention_dim", token_dim, controlnet["cross_attention_dim"]),
        ("controlnet: block_out_channels", *widths),
        ("expression_encoder: token_dim", token_dim, encoder["token_dim"]),
        ("expression_encoder: tokens", expression_tokens(denoiser.unet), encoder["tokens"]),
    ):
        if expected != found:
            raise AvatarError(f"{folder}/{what}: expected {expected}, found {found}")


def _check_decoder(folder: Path, decoder: RiggedDecoder, parts: Parts) -> None:
    """That a rigged decoder belongs to the rest."""
    denoiser = parts.denoiser
    for what, expected, found in (
        ("latent channels", denoiser.unet.config["in_channels"], decoder.config["latent_channels"]),
        (
            "values of an expression",
            denoiser.encoder.config["code_dim"],
            decoder.config["code_dim"],
        ),
        ("pixels per latent", pixels_per_latent(parts.vae), decoder.pixels_per_latent),
    ):
        if expected != found:
            raise AvatarError(f"{folder}/decoder: {what}: expected {expected}, found {found}")


def _check_fit(folder: Path, parts: Parts) -> None:
    """That the parts of a folder belong together."""
    info, head, denoiser, vae, _, decoder, student, tiny, _ = parts
    unet, size_px = denoiser.unet.config, pixels_per_latent(vae)
    encoder = denoiser.encoder.config
    for what, expected, found in (
        ("avatar.yaml: values of an expression", encoder["code_dim"], info.expression_dim),
        ("head: values of an expression", encoder["code_dim"], head.nphm.expression_dim + GAZE_DIM),
        ("vae: latent channels", unet["in_channels"], vae.config["latent_channels"]),
    ):
        if expected != found:
            raise AvatarError(f"{folder}/{what}: expected {expected}, found {found}")
    _check_denoiser(folder, denoiser)
    if student is not None:
        _check_denoiser(folder / STUDENT_FOLDER, student)
        for what in ("in_channels", "cross_attention_dim"):
            if student.unet.config[what] != unet[what]:
                raise AvatarError(
                    f"{folder / STUDENT_FOLDER}/unet: {what}: expected the teacher's "
                    f"{unet[what]}, found {student.unet.config[what]}"
                )
    if tiny is not None and (
        tiny.config["latent_channels"] != unet["in_channels"] or pixels_per_latent(tiny) != size_px
    ):
        raise AvatarError(
            f"{folder / TINY_FOLDER}: expected {unet['in_channels']} latent channels of {size_px} "
            f"pixels, found {tiny.config['latent_channels']} of {pixels_per_latent(tiny)}"
        )
    if decoder is not None:
        _check_decoder(folder, decoder, parts)
    if size_px % denoiser.pixels_per_latent:
        raise AvatarError(
            f"{folder}/vae: expected a multiple of {denoiser.pixels_per_latent} pixels per latent, "
            f"found {size_px}"
        )
    if info.resolution_px % size_px:
        raise AvatarError(
            f"{folder}/avatar.yaml: resolution_px: expected a multiple of {size_px}, "
            f"found {info.resolution_px}"
        )
