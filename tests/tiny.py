"""The smallest avatar that has every part: untrained networks whose layers all have an effect.

Everything is made from fixed seeds, so two calls give equal weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import trimesh
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import nn

from avatar_viewer.avatar import Avatar
from avatar_viewer.avatar_folder import Parts
from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.data.frames import HeadFrame, read_frames
from avatar_viewer.data.person import Person
from avatar_viewer.device import Compute
from avatar_viewer.diffusion.autoencoder import build_autoencoder
from avatar_viewer.diffusion.denoiser import Denoiser, DenoiserConfig
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder
from avatar_viewer.diffusion.samplers import training_schedule
from avatar_viewer.head.baked_expressions import bake
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.nphm import GAZE_DIM, NPHM
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.stages import CanonicalHead, ExpressionCode
from avatar_viewer.training.distill import student_of

FLOAT32 = Compute(torch.device("cpu"), torch.float32)
"""What tests render with; by default some processors would take bfloat16."""

RESOLUTION_PX = 32
PIXELS_PER_LATENT = 4
LATENT_CHANNELS = 4
Z_DIM = 4
CODE_DIM = Z_DIM + GAZE_DIM
VIEW = Orbit(azimuth_deg=0, elevation_deg=0, distance=2.5, target=(0.0, 0.0, 0.0), fov_deg=30)
CORNERS = ("neutral", "smile", "surprise", "frown")


def tiny_nphm() -> NPHM:
    """A head model whose expressions move the surface by a few hundredths."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        nphm = NPHM(
            global_dim=6,
            local_dim=4,
            expression_dim=Z_DIM,
            anchor_pairs=1,
            anchor_middles=1,
            sdf_hidden=8,
            sdf_nearest=2,
            squeezed_dim=4,
            deform_hidden=16,
            deform_layers=2,
            deform_frequencies=1,
        )
        return nphm.eval().requires_grad_(False)


def tiny_poser() -> HeadPoser:
    """An egg as the canonical head."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = torch.from_numpy(ball.vertices * (0.38, 0.5, 0.42)).float()
    head = CanonicalHead(vertices, torch.from_numpy(ball.faces).int())
    nphm = tiny_nphm()
    identity = torch.randn(nphm.identity_dim, generator=torch.Generator().manual_seed(2))
    codes = torch.randn(40, Z_DIM, generator=torch.Generator().manual_seed(3))
    baked = bake(nphm, head, identity, codes, rank=8)
    return HeadPoser(nphm, head, identity, vertex_normals, baked=baked)


def tiny_unet() -> UNet2DConditionModel:
    """A stock U-Net of two levels."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return UNet2DConditionModel(
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=12,
            attention_head_dim=2,
            norm_num_groups=8,
            use_linear_projection=True,
        ).eval()


def tiny_denoiser() -> Denoiser:
    """A new denoiser, whose zero-initialised layers are still zero."""
    config = DenoiserConfig(
        code_dim=CODE_DIM,
        pixels_per_latent=PIXELS_PER_LATENT,
        plane_channels=2,
        plane_resolution=8,
        stem_channels=(16,),
        prompt_tokens=2,
    )
    nphm = tiny_nphm().config
    with torch.random.fork_rng():
        torch.manual_seed(4)
        denoiser = Denoiser.build(tiny_unet(), config, (nphm["box_min"], nphm["box_max"]))
    return denoiser.eval()


def fill_zero_layers(module: nn.Module, seed: int = 5, std: float = 0.3) -> None:
    """Give every weight that is all zero random values, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=std, generator=generator)


def tiny_vae() -> AutoencoderKL:
    """Folds 4 x 4 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        vae = build_autoencoder((16,), LATENT_CHANNELS, fold=4)
    vae.register_to_config(scaling_factor=1.0)
    return vae.eval().requires_grad_(False)


def tiny_info() -> AvatarInfo:
    codes = torch.randn(len(CORNERS), CODE_DIM, generator=torch.Generator().manual_seed(7))
    return AvatarInfo(
        name="tiny",
        licence="CC0-1.0",
        provenance="untrained",
        resolution_px=RESOLUTION_PX,
        steps=2,
        quick_steps=1,
        sampler="ddim",
        default_view=VIEW,
        corners=tuple(  # type: ignore[arg-type]
            Corner(name, ExpressionCode.from_array(code))
            for name, code in zip(CORNERS, codes, strict=True)
        ),
    )


def tiny_hull() -> CanonicalHead:
    """A cube behind the egg."""
    cube = trimesh.creation.box((0.8, 0.8, 0.2))
    vertices = torch.from_numpy(cube.vertices - np.array([0, 0, 0.5])).float()
    return CanonicalHead(vertices, torch.from_numpy(cube.faces.copy()).int())


def tiny_decoder() -> RiggedDecoder:
    """One level of blocks of 4 x 4 pixels."""
    nphm = tiny_nphm().config
    with torch.random.fork_rng():
        torch.manual_seed(8)
        decoder = RiggedDecoder(
            LATENT_CHANNELS,
            CODE_DIM,
            channels=(16,),
            blocks=(1,),
            fold=PIXELS_PER_LATENT,
            plane_channels=2,
            plane_resolution=8,
            eye_channels=1,
            mouth_channels=1,
            box_min=tuple(nphm["box_min"]),
            box_max=tuple(nphm["box_max"]),
        )
    fill_zero_layers(decoder)
    return decoder.eval().requires_grad_(False)


def tiny_student(teacher: Denoiser) -> Denoiser:
    """Another U-Net and ControlNet over the same planes and tokens."""
    student = student_of(teacher).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(9)
    for network in (student.unet, student.controlnet):
        for parameter in network.parameters():
            parameter.mul_(1 + 0.2 * torch.randn(parameter.shape, generator=generator))
    return student


def tiny_avatar(*, rigged: bool = False, student: bool = False) -> Avatar:
    """An avatar in memory, in float32; if `rigged` with a hull and a rigged decoder too."""
    denoiser = tiny_denoiser().requires_grad_(False)
    fill_zero_layers(denoiser)
    poser, decoder = tiny_poser(), None
    if rigged:
        poser.hull, decoder = tiny_hull(), tiny_decoder()
    networks = (denoiser, tiny_vae(), training_schedule(), decoder)
    if student:
        networks = (*networks, tiny_student(denoiser))
    return Avatar(Parts(tiny_info(), poser, *networks), FLOAT32)


def write_tiny_avatar(folder: Path, *, rigged: bool = False, student: bool = False) -> Path:
    """The same avatar as a folder."""
    tiny_avatar(rigged=rigged, student=student).save(folder)
    return folder


def write_tiny_frames(folder: Path, train: int = 4, test: int = 2) -> Path:
    """A data set of discs on nothing: the expression sets a disc's colour, the camera stays."""
    (folder / "frames").mkdir(parents=True)
    matrix = np.eye(4)
    matrix[2, 3] = -2.5
    camera = {"camera_from_world": matrix.ravel().tolist(), "fov_deg": 30.0}
    y, x = np.mgrid[: 2 * RESOLUTION_PX, : 2 * RESOLUTION_PX] / RESOLUTION_PX - 1
    lines = []
    for index in range(train + test):
        weight = index / (train + test)
        rgba = np.zeros((*x.shape, 4), np.uint8)
        rgba[..., :3] = (200, round(255 * weight), 40)
        rgba[..., 3] = 255 * (x**2 + y**2 < 0.5)
        name = f"frames/{index}.png"
        Image.fromarray(rgba).save(folder / name)
        frame = {
            "id": f"frame_{index}",
            "file": name,
            "split": "train" if index < train else "test",
            "kind": f"corner: {CORNERS[index % 4]}",
            "expression": {"jawOpen": weight},
            "camera": camera,
        }
        lines.append(json.dumps(frame))
    (folder / "frames.jsonl").write_text("\n".join(lines))
    (folder / "person.json").write_text(json.dumps({"world_from_head": np.eye(4).ravel().tolist()}))
    return folder


def tiny_person(folder: Path) -> Person:
    """The person of a data set that `write_tiny_frames` wrote."""
    records = read_frames(folder)
    codes = torch.zeros(len(records), CODE_DIM)
    codes[:, 0] = torch.tensor([record.expression["jawOpen"] for record in records])
    return Person(records, codes, tiny_poser(), HeadFrame((0.0, 0.0, 0.0), 1.0))
