"""`qwq check numerics`: a checkpoint, and who samples from it."""

from __future__ import annotations

from typing import Any

import torch

from qwq_env import portal
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.evaluation.numerics import BOUNDS, Report, check_numerics
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rollout.vllm_policy import VllmPolicy


def check_checkpoint(
    checkpoint: str,
    env: ToolEnv,
    *,
    url: str | None = None,
    model_name: str | None = None,
    api_key: str | None = None,
    dtype: str | None = None,
    context: int = 4096,
    **settings: Any,
) -> Report:
    """Compare the `checkpoint` with the server at `url`, which has the same weights, or without one
    with `TransformersPolicy` in this process.

    The trainer computes in `dtype`, by default bfloat16 on a GPU and else float32. `settings` are
    those of `check_numerics`. A `context` that model or server cannot take is cut to what it can.
    """
    wanted = dtype or ("bfloat16" if torch.cuda.is_available() else "float32")
    assert wanted in BOUNDS
    # Loaded so, not cast: that would round the frequencies of rotary positions as well.
    model, tokenizer = load_checkpoint(checkpoint, field="checkpoint", dtype=getattr(torch, wanted))
    model.eval()
    codec = TokenCodec(tokenizer)
    context = min(context, model.config.get_text_config().max_position_embeddings)
    policy: Policy
    if url is None:
        policy = TransformersPolicy(model, codec, max_length=context)
    else:
        policy = served = VllmPolicy(url, model=model_name, api_key=api_key)
        context = min(context, portal.run(_context(served)))
    sampler = f"vLLM at {url}" if url else "the cached decoding of TransformersPolicy"
    return check_numerics(policy, model, env, codec, context=context, sampler=sampler, **settings)


async def _context(policy: VllmPolicy) -> int:
    """Return the server's context; connections are closed if it is not there."""
    try:
        return await policy.context()
    except BaseException:
        await policy.aclose()
        raise
