"""One denoising step as pictures need it: what does not change is computed once.

The prompt's keys and values are constants of a checkpoint, time embeddings are constants of a
timestep, and the embedded control is one of a view; `Denoiser.forward`, which training needs,
computes each of them at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.diffusion.denoiser import Denoiser
from avatar_viewer.diffusion.expression_attention import ExpressionAttention, attend

Network = TypeVar("Network", bound=nn.Module)


class Step(nn.Module):
    """A denoiser's U-Net and ControlNet, for inference; it shares their weights, which must not
    change any more."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        # Some layers are replaced.
        self.unet: UNet2DConditionModel = with_shared_weights(denoiser.unet)
        self.controlnet: ControlNetModel = with_shared_weights(denoiser.controlnet)
        self.embed = self.controlnet.controlnet_cond_embedding
        """Control [B,C,H,W] -> [B,W,h,w], once per view."""
        self.controlnet.controlnet_cond_embedding = nn.Identity()  # pyright: ignore
        self._prompt = denoiser.encoder.prompt.detach().to(self.unet.dtype)
        self._now = Now()
        for network in (self.unet, self.controlnet):
            for attention in attentions(network, "attn1"):
                attention.set_processor(JoinedSelfAttention(attention))  # pyright: ignore
            for attention in attentions(network, "attn2"):
                attention.set_processor(FixedPrompt(attention, self._prompt))  # pyright: ignore
            network.time_embedding = Remembered(network.time_embedding, self._now)  # pyright: ignore
            for block in [m for m in network.modules() if isinstance(m, ResnetBlock2D)]:
                block.time_emb_proj = Remembered(block.time_emb_proj, self._now)  # pyright: ignore
        self.eval().requires_grad_(False)

    def forward(
        self, latents: Tensor, timestep: Tensor, embedded: Tensor, expression_tokens: Tensor
    ) -> Tensor:
        """Noisy latents [B,C,h,w] at a timestep [], embedded control and tokens [B,T,D] -> the
        predicted v [B,C,h,w]."""
        self._now.timestep = None if torch.compiler.is_compiling() else int(timestep)
        down, middle = self.controlnet(latents, timestep, self._prompt, embedded, return_dict=False)
        return self.unet(
            latents,
            timestep,
            expression_tokens,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]


def with_shared_weights(network: Network) -> Network:
    """The same network with layers of its own, but not weights."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def attentions(network: nn.Module, name: str) -> Iterator[Attention]:
    """The attention layers of that name: attn1 looks at the picture itself, attn2 at a prompt."""
    for path, module in network.named_modules():
        if isinstance(module, Attention) and path.endswith(name):
            yield module


class JoinedSelfAttention(nn.Module):
    """Self-attention whose queries, keys and values come from one product of matrices: a small
    network's time is that of its calls."""

    weight: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        assert not attention.use_bias
        layers = (attention.to_q, attention.to_k, attention.to_v)
        weights = [layer.weight.detach() for layer in layers if layer is not None]
        self.register_buffer("weight", torch.cat(weights), persistent=False)

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        assert attn.to_out is not None
        query, key, value = functional.linear(hidden_states, self.weight).chunk(3, dim=-1)
        return attn.to_out[0](attend(query, key, value, attn.heads))


class FixedPrompt(nn.Module):
    """Text cross-attention whose keys and values are kept, and, where the layer has one, the
    attention to the expression, which then is all that is given."""

    keys: Tensor
    values: Tensor
    answer: Tensor | None

    def __init__(self, attention: Attention, prompt: Tensor) -> None:
        """prompt [1,P,D]."""
        super().__init__()
        processor = attention.processor
        self.expression = processor if isinstance(processor, ExpressionAttention) else None
        assert attention.to_k is not None and attention.to_v is not None and attention.to_out
        with torch.no_grad():
            keys, values = attention.to_k(prompt), attention.to_v(prompt)
            # One token is all that is attended to, whatever the query.
            answer = attention.to_out[0](values) if prompt.shape[1] == 1 else None
        for name, constant in (("keys", keys), ("values", values), ("answer", answer)):
            self.register_buffer(name, constant, persistent=False)

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        text = self.answer
        if text is None:
            assert attn.to_out is not None
            attended = attend(attn.to_q(hidden_states), self.keys, self.values, attn.heads)
            text = attn.to_out[0](attended)
        if self.expression is None:
            return text.expand_as(hidden_states)
        return text + self.expression.attended(attn, hidden_states, encoder_hidden_states)


class Now:
    """The timestep of the step that runs; None: unknown, nothing is remembered."""

    timestep: int | None = None


class Remembered(nn.Module):
    """A layer whose answer depends on the timestep alone."""

    MOST = 64

    def __init__(self, layer: nn.Module, now: Now) -> None:
        super().__init__()
        self.layer, self._now = layer, now
        self._answers: dict[int, Tensor] = {}

    def forward(self, *inputs: Tensor | None) -> Tensor:
        timestep = self._now.timestep
        if timestep is None:
            return self.layer(*inputs)
        if timestep not in self._answers:
            while len(self._answers) >= self.MOST:
                self._answers.pop(next(iter(self._answers)))
            self._answers[timestep] = self.layer(*inputs)
        return self._answers[timestep]
