"""Interpreters that end while threads of ours are at work: `python -m
tests.training.interpreter_ends FOLDER`.

Each way is a fork of this process, which has imported what they need, and ends as a program does.
Prints the exit codes by way as JSON; what a way says as it ends is in `FOLDER/WAY`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from qwq_env.imports import heavy_imports

with heavy_imports():
    import torch
    import transformers

    from qwq_env.chat_model import Sampling
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.rollout.policy import GenerationRequest
    from qwq_env.rollout.scripted import ScriptedPolicy
    from qwq_env.rollout.transformers_policy import TransformersPolicy
    from qwq_env.training.async_rollouts import AsyncRollouts
    from tests.byte_tokenizer import byte_tokenizer

KEPT: list[Any] = []
"""What is still referred to when the interpreter ends."""


def cancelled() -> None:
    """The loop is closed in the middle of generation, which cancels every turn."""
    asyncio.run(_generation())


def abandoned() -> None:
    """The loop stands still in the middle of generation."""
    asyncio.new_event_loop().run_until_complete(_generation())


def trainer_ended() -> None:
    """A trainer ends without a word to the worker that plays its episodes."""
    tokenizer = byte_tokenizer()
    policy = ScriptedPolicy(TokenCodec(tokenizer), lambda context: "1")
    worker = AsyncRollouts("qwq/MathTool-v0", tokenizer, policy, group=2)
    KEPT.append(worker)
    worker.start()
    worker.rollout_buffer.get(timeout=600)
    raise SystemExit("the trainer ended")


async def _generation() -> None:
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=512, num_hidden_layers=8,
        num_attention_heads=4, max_position_embeddings=10_000,
    )  # fmt: skip
    policy = TransformersPolicy(transformers.LlamaForCausalLM(config), None)
    KEPT.append(policy)
    for episode in range(16):
        request = GenerationRequest([1, 2], 9_000, str(episode), Sampling(), frozenset())
        KEPT.append(asyncio.ensure_future(policy.generate(request)))
    while policy.statistics().passes < 3:
        await asyncio.sleep(0.001)


def main(folder: Path) -> None:
    """Fork a process a way and wait for its end; in each of them, return once it has to end."""
    torch.set_num_threads(1)
    codes = {}
    for way in (cancelled, abandoned, trainer_ended):
        process = os.fork()
        if process == 0:
            os.dup2(os.open(folder / way.__name__, os.O_CREAT | os.O_WRONLY), 2)
            way()
            return
        codes[way.__name__] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
