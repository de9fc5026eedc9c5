"""One denoising step as pictures need it: what does not change is computed once.

The prompt's keys and values are constants of a checkpoint, what residual blocks make of the time is
one of a timestep, and the embedded control is one of a view; `Denoiser.forward`, which training
needs, computes each of them at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
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
        self.times = Times((self.unet, self.controlnet))
        """A timestep [] -> what `forward` takes of it, once per timestep."""
        for network in (self.unet, self.controlnet):
            for attention in attentions(network, "attn1"):
                attention.set_processor(JoinedSelfAttention(attention))  # pyright: ignore
            for attention in attentions(network, "attn2"):
                attention.set_processor(FixedPrompt(attention, self._prompt))  # pyright: ignore
        self.eval().requires_grad_(False)

    def forward(
        self, latents: Tensor, times: Tensor, embedded: Tensor, expression_tokens: Tensor
    ) -> Tensor:
        """Noisy latents [B,C,h,w], what `times` answered for their timestep, embedded control and
        tokens [B,T,D] -> the predicted v [B,C,h,w]."""
        unused = times.new_zeros(())  # the timestep, in whose place `times` is given
        down, middle = self.controlnet(
            latents, unused, self._prompt, embedded, timestep_cond=times, return_dict=False
        )
        return self.unet(
            latents,
            unused,
            expression_tokens,
            timestep_cond=times,
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


class Times(nn.Module):
    """All that networks compute of a timestep: what each residual block adds to its channels.

    In the networks the layers that did this are replaced by those that pick each block's part.
    """

    def __init__(self, networks: Sequence[UNet2DConditionModel | ControlNetModel]) -> None:
        super().__init__()
        self.networks = nn.ModuleList()
        end = 0
        for network in networks:
            assert getattr(network, "time_embed_act", None) is None
            frequencies, embedding, blocks = network.time_proj, network.time_embedding, []
            network.time_proj, network.time_embedding = nn.Identity(), Given()  # pyright: ignore
            for block in [m for m in network.modules() if isinstance(m, ResnetBlock2D)]:
                assert isinstance(block.time_emb_proj, nn.Linear)
                # A copy: where a layer has two places, torch.export disturbs other threads.
                act = nn.Identity() if block.skip_time_act else copy.copy(block.nonlinearity)
                blocks.append(nn.Sequential(act, block.time_emb_proj))
                start, end = end, end + block.time_emb_proj.out_features
                block.skip_time_act, block.time_emb_proj = True, Part(start, end)  # pyright: ignore
            self.networks.append(TimesOfOne(frequencies, embedding, blocks))

    def forward(self, timestep: Tensor) -> Tensor:
        """[] -> [1,S]"""
        return torch.cat([each(timestep) for each in self.networks], dim=1)


class TimesOfOne(nn.Module):
    """`Times` of one network, [] -> [1,S]."""

    def __init__(
        self, frequencies: nn.Module, embedding: nn.Module, blocks: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.frequencies, self.embedding = frequencies, embedding
        self.blocks = nn.ModuleList(blocks)

    def forward(self, timestep: Tensor) -> Tensor:
        weight = next(self.blocks.parameters())
        waves = self.frequencies(timestep[None].to(weight.device))
        embedded = self.embedding(waves.to(weight.dtype))
        return torch.cat([block(embedded) for block in self.blocks], dim=1)


class Given(nn.Module):
    """In the place of a network's time embedding: what it is given as a condition."""

    def forward(self, unused: Tensor, given: Tensor) -> Tensor:
        return given


class Part(nn.Module):
    """Picks some channels [B,S] -> [B,end-start]."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.end]
