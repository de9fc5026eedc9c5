"""Train a prior: a U-Net that denoises pictures of many people, without any condition.

It takes the place of Stable Diffusion where that cannot be had, or is too large: `base:` of an
avatar's training names its folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.config import expect_at_least
from avatar_viewer.data.check import check_people
from avatar_viewer.diffusion.autoencoder import (
    Autoencoder,
    decode,
    encode,
    load_autoencoder,
    to_uint8,
)
from avatar_viewer.diffusion.samplers import initial_noise, sample, training_schedule
from avatar_viewer.errors import AvatarError
from avatar_viewer.training.base import PROMPT_FILE, SmallUNet
from avatar_viewer.training.loop import LoopConfig, Run
from avatar_viewer.training.losses import noised
from avatar_viewer.training.vae import check_whole_latents, load_pictures, to_signed
from avatar_viewer.weights import save_network, save_tensors

SHEET_PICTURES = 8
SHEET_STEPS = 20


@dataclass(frozen=True)
class PriorTraining:
    """What `avatar-viewer train prior` reads from its YAML file."""

    data: tuple[Path, ...]
    """Folders in the format of docs/data.md, one or more people each; `train` splits are used."""
    vae: Path
    """The autoencoder's folder."""
    out: Path
    """The run's folder; the prior lies in `out/prior`."""
    loop: LoopConfig
    small: SmallUNet = field(default_factory=SmallUNet)
    resolution_px: int = 512
    batch_size: int = 8
    prompt_tokens: int = 1
    """Learnt tokens that stand where a text-to-image U-Net sees its prompt."""

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("resolution_px", "batch_size", "prompt_tokens"))
        if not self.data:
            raise AvatarError("data: expected one or more folders, found none")


class Prior(nn.Module):
    """The U-Net and the prompt that it always sees."""

    def __init__(self, unet: UNet2DConditionModel, prompt_tokens: int) -> None:
        super().__init__()
        self.unet = unet
        self.prompt = nn.Parameter(
            torch.zeros(1, prompt_tokens, unet.config["cross_attention_dim"])
        )

    def forward(self, latents: Tensor, times: Tensor) -> Tensor:
        """Noisy latents [B,C,h,w] at times [B] or [] -> v, same shape."""
        prompt = self.prompt.expand(len(latents), -1, -1)
        return self.unet(latents, times, prompt, return_dict=False)[0]

    def save(self, folder: Path) -> None:
        """As a folder that `base:` can name."""
        save_network(self.unet, folder / "unet")
        save_tensors({"prompt": self.prompt.detach().cpu()}, folder / PROMPT_FILE)


def train_prior(config: PriorTraining) -> None:
    """Train, or go on with a run that was cut off; write `out/prior` at every sample sheet."""
    torch.manual_seed(config.loop.seed)
    check_people(config.data, "train", config.batch_size)
    vae = load_autoencoder(config.vae)
    check_whole_latents(config.resolution_px, vae)
    prior = Prior(config.small.build(vae.config["latent_channels"]), config.prompt_tokens)
    run = Run(config.out, {"prior": prior}, config.loop)
    nn.Module.to(vae, run.device)
    latents = encoded(vae, config, run.device)
    schedule = training_schedule()

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(latents), (config.batch_size,), generator=generator)
        noisy = noised(latents[chosen].to(run.device), schedule, generator)
        found = prior(noisy.latents, noisy.times)
        return functional.mse_loss(found.float(), noisy.velocity)

    @torch.inference_mode()
    def sheet(path: Path) -> None:
        shape = (SHEET_PICTURES, *latents.shape[1:])
        noise = initial_noise(shape, seed=0).to(run.device)
        with config.loop.autocast(run.device):
            drawn = sample(prior, noise, schedule, steps=SHEET_STEPS, sampler="ddim", seed=0)
            pictures = to_uint8(decode(vae, drawn)).cpu()
        Image.fromarray(torch.cat(list(pictures), 1).numpy()).save(path)
        prior.save(config.out / "prior")

    run.train(loss_function, sheet)
    if run.workers.is_first:
        with run.averaged():
            prior.save(config.out / "prior")


@torch.inference_mode()
def encoded(vae: Autoencoder, config: PriorTraining, device: torch.device) -> Tensor:
    """[N,C,h,w] float32 on the CPU: the latents of all pictures."""
    rows = []
    for folder in config.data:
        pictures = load_pictures(folder, "train", config.resolution_px)
        rows += [
            encode(vae, to_signed(some).to(device)).float().cpu() for some in pictures.split(8)
        ]
    return torch.cat(rows)
