"""Models whose rotation of one row hangs on the length of another."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.rollout.rotary import check_rotation
from qwq_env.rollout.transformers_policy import TransformersPolicy

LONGROPE = {
    "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
SHAPE = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
    "vocab_size": 300, "max_position_embeddings": 256,
}  # fmt: skip


def moved_beside_a_longer_row(rope) -> float:
    """Return by how much the log-probabilities of 40 tokens change beside a row of 200."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters=dict(rope))).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10.0)
        ids = torch.randint(300, (2, 200))
        alone = model(ids[:1, :40]).logits.log_softmax(-1)
        beside = model(ids).logits[:1, :40].log_softmax(-1)
    return float((alone - beside).abs().max())


@pytest.mark.parametrize(
    ("rope", "longest"),
    [(LONGROPE, 64), (DYNAMIC, 256), (YARN, None), ({"rope_type": "default"}, None)],
)
def test_a_context_beyond_pretraining_is_refused_where_rows_change_each_other(rope, longest):
    config = LlamaConfig(**SHAPE, rope_parameters={"rope_theta": 1e4, **rope})
    check_rotation(config, longest or 100_000)
    if longest is None:
        return
    with pytest.raises(UsageError, match=rf"context: {longest + 1}; expected {longest} at most"):
        check_rotation(config, longest + 1)


def test_that_is_what_such_models_do():
    assert moved_beside_a_longer_row({"rope_theta": 1e4, **LONGROPE}) > 0.1
    assert moved_beside_a_longer_row({"rope_theta": 1e4, **YARN}) < 1e-3


def test_layers_of_several_kinds_are_all_looked_at():
    config = LlamaConfig(**SHAPE)
    config.rope_parameters = {"full_attention": LONGROPE, "sliding_attention": YARN}

    with pytest.raises(UsageError, match="longrope"):
        check_rotation(config, 65)


def test_a_policy_in_this_process_refuses_them(tokenizer):
    shape = {**SHAPE, "vocab_size": len(tokenizer)}
    model = LlamaForCausalLM(LlamaConfig(**shape, rope_parameters={"rope_theta": 1e4, **LONGROPE}))

    TransformersPolicy(model, TokenCodec(tokenizer), max_length=64)
    with pytest.raises(UsageError, match="context: 256; expected 64"):
        TransformersPolicy(model, TokenCodec(tokenizer))
