"""The new cross-attention through which fine expression reaches the U-Net (paper, section 3.3).

Every transformer block of the U-Net's down and up path gets a second cross-attention beside the
one to the text: its queries come from the picture's latents, its keys and values from the
expression tokens, and its output projection starts at zero, so that an untouched U-Net comes first.

diffusers calls an attention layer's *processor*; ours hold the new weights and are installed on
the stock `UNet2DConditionModel`. The U-Net gets one sequence, the prompt's tokens followed by the
expression's, and the processors take it apart again.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional

from avatar_viewer.weights import CONFIG_FILE, load_network, read_json


class PromptOnly(nn.Module):
    """Text cross-attention that does not see the expression tokens (the middle block's)."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.text = AttnProcessor2_0()

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        prompt = encoder_hidden_states[:, : -self.tokens]
        return self.text(attn, hidden_states, prompt, attention_mask)


class ExpressionAttention(PromptOnly):
    """Text cross-attention plus the new one to the expression tokens."""

    def __init__(self, attn: Attention, tokens: int) -> None:
        super().__init__(tokens)
        inner, width = attn.to_q.weight.shape
        assert attn.to_k is not None
        token_dim = attn.to_k.weight.shape[1]
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(token_dim, inner, bias=False)
        self.to_v = nn.Linear(token_dim, inner, bias=False)
        self.to_out = nn.Linear(inner, width)
        self.start_from(attn)

    def start_from(self, attn: Attention) -> None:
        """Queries, keys and values begin as the text attention's; the output begins at zero."""
        for name in ("to_q", "to_k", "to_v"):
            getattr(self, name).load_state_dict(getattr(attn, name).state_dict())
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        text = super().forward(attn, hidden_states, encoder_hidden_states, attention_mask)
        expression = encoder_hidden_states[:, -self.tokens :]
        return text + self.attended(attn, hidden_states, expression)

    def attended(self, attn: Attention, hidden_states: Tensor, expression: Tensor) -> Tensor:
        """What is added for the expression's tokens [B,T,D], of the size of `hidden_states`."""
        query, key = self.to_q(hidden_states), self.to_k(expression)
        return self.to_out(attend(query, key, self.to_v(expression), attn.heads))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of [B,N,W] to [B,T,W] (or [1,T,W]), in so many heads."""

    def split(x: Tensor) -> Tensor:
        return x.expand(len(query), -1, -1).unflatten(-1, (heads, -1)).transpose(1, 2)

    attended = functional.scaled_dot_product_attention(split(query), split(key), split(value))
    return attended.transpose(1, 2).flatten(2)


def install_expression_attention(unet: UNet2DConditionModel, tokens: int) -> None:
    """Give a stock U-Net the new layers, initialised from its text cross-attention."""
    processors: dict[str, nn.Module | AttnProcessor2_0] = {}
    for name in unet.attn_processors:
        attn = unet.get_submodule(name.removesuffix(".processor"))
        assert isinstance(attn, Attention)
        if not name.endswith("attn2.processor"):
            processors[name] = AttnProcessor2_0()
        elif name.startswith("mid_block"):
            processors[name] = PromptOnly(tokens)
        else:
            processors[name] = ExpressionAttention(attn, tokens)
    unet.set_attn_processor(processors)  # pyright: ignore[reportArgumentType]


def expression_parameters(unet: UNet2DConditionModel) -> list[nn.Parameter]:
    """The weights of the new layers, which are trained when the U-Net itself is frozen."""
    return [
        parameter
        for module in unet.modules()
        if isinstance(module, ExpressionAttention)
        for parameter in module.parameters()
    ]


class ExpressionUNet(UNet2DConditionModel):
    """diffusers' U-Net, any size, with the expression cross-attention in its weights.

    Its config is the stock one, plus nothing; it saves and loads as any diffusers model.
    """

    expression_tokens = 4
    """T, how many tokens stand for one expression (paper: 4)."""

    # The stock signature, because diffusers reads from it which config fields a class has.
    @functools.wraps(UNet2DConditionModel.__init__)
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        install_expression_attention(self, self.expression_tokens)

    @staticmethod
    def from_base(base: UNet2DConditionModel) -> ExpressionUNet:
        """The pre-trained base with new layers that do not yet change what it does."""
        unet = ExpressionUNet.from_config(base.config)
        assert isinstance(unet, ExpressionUNet)
        missing, unexpected = unet.load_state_dict(base.state_dict(), strict=False)
        assert not unexpected and all(".processor." in name for name in missing)
        for module in unet.modules():
            if isinstance(module, Attention) and isinstance(module.processor, ExpressionAttention):
                module.processor.start_from(module)
        nn.Module.to(unet, base.dtype)
        return unet


def expression_tokens(unet: UNet2DConditionModel) -> int:
    """How many tokens of an expression a U-Net expects after the prompt's; a stock one has none."""
    return unet.expression_tokens if isinstance(unet, ExpressionUNet) else 0


def load_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """A U-Net with expression cross-attention or a stock one, as its config.json says."""
    kind = read_json(folder / CONFIG_FILE).get("_class_name")
    cls = UNet2DConditionModel if kind == UNet2DConditionModel.__name__ else ExpressionUNet
    return load_network(cls, folder, dtype)


def with_prompt(prompt: Tensor, expression_tokens: Tensor) -> Tensor:
    """[1,P,D] and [B,T,D] -> [B,P+T,D], the sequence that `ExpressionUNet` takes."""
    batch = expression_tokens.shape[0]
    return torch.cat([prompt.expand(batch, -1, -1), expression_tokens], dim=1)
