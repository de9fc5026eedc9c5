"""A request's picture by the shortest way: nothing kept, nothing compiled, nothing shared.

`Avatar.render` must look like it, and is compared with it in speed. The mesh is posed by the exact
head model, surfaces are found and looked up in torch, each denoising step embeds control and
prompt anew, and the picture is drawn at the networks' full size.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.avatar_folder import Parts
from avatar_viewer.device import Compute
from avatar_viewer.diffusion.autoencoder import decode, pixels_per_latent, to_uint8
from avatar_viewer.diffusion.conditioning import plain_folded_control
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder, Surface
from avatar_viewer.diffusion.samplers import initial_noise, sample
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.raster.camera import crop_and_resize, network_camera, scaled_camera, world_rays
from avatar_viewer.raster.gbuffer import rasterize, torch_vertex_normals
from avatar_viewer.stages import Camera, Conditioning, GBuffer, HeadMesh, RenderRequest


@torch.inference_mode()
def plain_render(
    parts: Parts,
    request: RenderRequest,
    compute: Compute,
    decoder: Literal["own", "vae"] = "own",
) -> np.ndarray:
    """[H,W,3] uint8, drawn by the decoder that is the avatar's own (a rigged or a tiny one, if it
    has it), or else by its whole autoencoder.

    Of the request all counts but `show`, `exact_head` and `reduction`.
    """
    levels = len(parts.denoiser.unet.config["block_out_channels"])
    multiple_px = pixels_per_latent(parts.vae) * 2 ** (levels - 1)
    camera = network_camera(request.camera, parts.info.resolution_px, multiple_px)
    mesh = _posed(parts.head, request)
    codes = request.expression.tensor()[None].to(compute.device)
    latents = _denoised(parts, request, compute, (mesh, camera, codes))
    if decoder == "own" and parts.decoder is not None:
        gbuffer = rasterize(mesh, camera, backend="torch")
        surface = _surface(parts.decoder, gbuffer, camera, codes)
        rgb = parts.decoder(latents, surface, codes.to(compute.dtype))
    elif decoder == "own" and parts.tiny is not None and not request.full_decoder:
        rgb = decode(parts.tiny, latents)
    else:
        rgb = decode(parts.vae, latents)
    return crop_and_resize(to_uint8(rgb[0, :3].clamp(-1, 1)).cpu().numpy(), request.camera)


def _posed(head: HeadPoser, request: RenderRequest) -> HeadMesh:
    """The head by a poser that has not posed before."""
    poser = HeadPoser(head.nphm, head.head, head.identity, torch_vertex_normals)
    poser.hull = head.hull
    return poser.pose_whole(request.expression)


def _denoised(
    parts: Parts, request: RenderRequest, compute: Compute, seen: tuple[HeadMesh, Camera, Tensor]
) -> Tensor:
    """[1,C,h,w] latents of what is seen: a mesh by a camera of the networks' size, and codes."""
    mesh, camera, codes = seen
    has_student = parts.student is not None and not request.teacher
    denoiser = parts.student if has_student else parts.denoiser
    assert denoiser is not None
    factor = pixels_per_latent(parts.vae)
    small = scaled_camera(camera, denoiser.pixels_per_latent / factor)
    gbuffer = rasterize(mesh, small, backend="torch")
    control = plain_folded_control([gbuffer], denoiser.triplane, denoiser.fold_factor)
    conditioning = Conditioning(
        control.to(compute.dtype), denoiser.encoder(codes).to(compute.dtype)
    )
    channels = denoiser.unet.config["in_channels"]
    shape = (1, channels, camera.height // factor, camera.width // factor)
    latents = sample(
        lambda x, timestep: denoiser(x.to(compute.dtype), timestep, conditioning),
        initial_noise(shape, request.seed).to(compute.device),
        parts.schedule,
        steps=request.steps,
        sampler=request.sampler,
        seed=request.seed,
    )
    return latents.to(compute.dtype)


def _surface(decoder: RiggedDecoder, gbuffer: GBuffer, camera: Camera, codes: Tensor) -> Surface:
    """What a rigged decoder looks up of the surface."""
    mean_depth = gbuffer.depth[gbuffer.mask].mean()
    rays = world_rays(camera, codes.device)
    return decoder.look_up_parts([gbuffer], [rays], codes, [mean_depth])
