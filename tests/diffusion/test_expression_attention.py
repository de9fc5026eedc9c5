"""The second cross-attention: invisible at first, then the way that expressions take."""

from collections import Counter

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from tiny import LATENT_CHANNELS, fill_zero_layers, tiny_unet

from avatar_viewer.diffusion.expression_attention import (
    ExpressionAttention,
    ExpressionUNet,
    PromptOnly,
    expression_parameters,
    with_prompt,
)

TOKENS = ExpressionUNet.expression_tokens
PROMPT_TOKENS, TOKEN_DIM = 2, 12


@pytest.fixture
def base() -> UNet2DConditionModel:
    return tiny_unet()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, prompt and two expressions' tokens."""
    torch.manual_seed(1)
    return (
        torch.randn(2, LATENT_CHANNELS, 8, 8),
        torch.randn(1, PROMPT_TOKENS, TOKEN_DIM),
        torch.randn(2, TOKENS, TOKEN_DIM),
        torch.randn(2, TOKENS, TOKEN_DIM),
    )


@torch.no_grad()
def predicted(unet, latents, context) -> torch.Tensor:
    return unet(latents, 500, context, return_dict=False)[0]


def attentions(unet: UNet2DConditionModel) -> dict[str, ExpressionAttention]:
    return {
        name: processor
        for name, processor in unet.attn_processors.items()
        if isinstance(processor, ExpressionAttention)
    }


def test_an_untouched_unet_predicts_exactly_what_its_base_does(base, inputs):
    latents, prompt, smile, frown = inputs
    unet = ExpressionUNet.from_base(base)
    expected = predicted(base, latents, prompt.expand(2, -1, -1))
    for tokens in (smile, 100 * frown):
        assert torch.equal(predicted(unet, latents, with_prompt(prompt, tokens)), expected)


def test_with_trained_outputs_the_tokens_matter_and_the_prompt_still_does(base, inputs):
    latents, prompt, smile, frown = inputs
    unet = ExpressionUNet.from_base(base)
    fill_zero_layers(unet)
    smiling = predicted(unet, latents, with_prompt(prompt, smile))
    assert not torch.allclose(smiling, predicted(unet, latents, with_prompt(prompt, frown)))
    assert not torch.allclose(smiling, predicted(unet, latents, with_prompt(-prompt, smile)))
    # Each picture of a batch sees its own expression.
    swapped = torch.stack([smile[0], frown[1]])
    mixed = predicted(unet, latents, with_prompt(prompt, swapped))
    torch.testing.assert_close(mixed[0], smiling[0])
    assert not torch.allclose(mixed[1], smiling[1])


def test_the_new_attention_is_added_beside_the_text_attention(base, inputs):
    _, prompt, tokens, _ = inputs
    unet = ExpressionUNet.from_base(base)
    fill_zero_layers(unet)
    name, processor = next(iter(attentions(unet).items()))
    attn = unet.get_submodule(name.removesuffix(".processor"))
    assert isinstance(attn, Attention)
    hidden = torch.randn(2, 9, attn.to_q.in_features)
    with torch.no_grad():
        found = processor(attn, hidden, with_prompt(prompt, tokens))
        text = processor.text(attn, hidden, prompt.expand(2, -1, -1))
        split = (2, -1, attn.heads, processor.to_q.out_features // attn.heads)
        q, k, v = (
            layer(x).view(split)
            for layer, x in (
                (processor.to_q, hidden),
                (processor.to_k, tokens),
                (processor.to_v, tokens),
            )
        )
        scores = torch.einsum("bnhd,bthd->bhnt", q, k) / split[-1] ** 0.5
        mixed = torch.einsum("bhnt,bthd->bnhd", scores.softmax(-1), v)
        expected = text + processor.to_out(mixed.flatten(2))
    torch.testing.assert_close(found, expected)


def test_the_middle_block_sees_the_prompt_alone(base, inputs):
    _, prompt, smile, frown = inputs
    unet = ExpressionUNet.from_base(base)
    fill_zero_layers(unet)
    middle = {n: p for n, p in unet.attn_processors.items() if n.startswith("mid_block")}
    cross = {n: p for n, p in middle.items() if ".attn2." in n}
    assert cross and all(type(p) is PromptOnly for p in cross.values())
    for name, processor in cross.items():
        attn = unet.get_submodule(name.removesuffix(".processor"))
        assert isinstance(attn, Attention)
        hidden = torch.randn(2, 4, attn.to_q.in_features)
        with torch.no_grad():
            smiling = processor(attn, hidden, with_prompt(prompt, smile))
            assert torch.equal(processor(attn, hidden, with_prompt(prompt, frown)), smiling)
            assert not torch.equal(processor(attn, hidden, with_prompt(-prompt, smile)), smiling)


def test_queries_keys_and_values_start_as_the_text_attentions(base):
    unet = ExpressionUNet.from_base(base)
    assert attentions(unet)
    for name, processor in attentions(unet).items():
        text = base.get_submodule(name.removesuffix(".processor"))
        for part in ("to_q", "to_k", "to_v"):
            assert torch.equal(getattr(processor, part).weight, getattr(text, part).weight)
        assert not processor.to_out.weight.any() and not processor.to_out.bias.any()


def test_all_new_weights_and_no_others_are_the_expressions(base):
    unet = ExpressionUNet.from_base(base)
    new = {name for name, _ in unet.named_parameters()} - {n for n, _ in base.named_parameters()}
    by_name = dict(unet.named_parameters())
    assert {id(p) for p in expression_parameters(unet)} == {id(by_name[name]) for name in new}
    assert len(new) == 5 * len(attentions(unet))


def test_the_stable_diffusion_layout_has_fifteen_new_layers():
    sd = UNet2DConditionModel(
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=(1, 2, 2, 2),
        cross_attention_dim=TOKEN_DIM,
        norm_num_groups=4,
        use_linear_projection=True,
    )
    unet = ExpressionUNet.from_base(sd)
    where = Counter(name.split(".")[0] for name in attentions(unet))
    assert where == {"down_blocks": 6, "up_blocks": 9}
    latents, tokens = torch.randn(1, 4, 16, 16), torch.randn(1, TOKENS, TOKEN_DIM)
    prompt = torch.randn(1, 3, TOKEN_DIM)
    found = predicted(unet, latents, with_prompt(prompt, tokens))
    torch.testing.assert_close(found, predicted(sd, latents, prompt), atol=1e-6, rtol=1e-5)


def test_the_number_format_is_the_bases(base):
    assert ExpressionUNet.from_base(base.to(torch.bfloat16)).dtype == torch.bfloat16
