"""The contrast: one rank of TRL's own tool loop with a vLLM server, on the same episodes.

    RANK=0 WORLD_SIZE=2 ... python benchmarks/_rank_trl.py URL CASE FOLDER

Everything that generates is TRL's: its trainer, its loop, its client. Only what needs a GPU is
left out, the transfer of weights. The cases are named in `CALLS`. Writes `FOLDER/rank-N.json`: how
many rows hold what was written for another rank's prompt.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
from _episodes import byte_tokenizer, trainer_settings
from _rank_script import GROUP, Plan, ids_in
from trl import GRPOTrainer
from trl.chat_template_utils import qwen2_5_chat_template
from trl.generation import vllm_client, vllm_generation

from qwq_env.training.tiny.model import build_tiny_model

CALLS = {
    "unequal": ((1, 1), (1, 0)),
    "one_rank": ((1, 1), (0, 0)),
}
"""By case, by rank, by prompt: how many turns call the tool."""


def echo(word: str) -> str:
    """Say a word again.

    Args:
        word: The word.
    """
    return f"{word} {word}"


def main(url: str, case: str, folder: Path) -> None:
    """Generate once and write what was found."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(url, Path(scratch))
        rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
        plans = [
            Plan(rank * 100 + index, calls, 0, False)
            for index, calls in enumerate(CALLS[case][rank])
            for _ in range(GROUP)
        ]
        prompts = [[{"role": "user", "content": f"Say {plan.id}."}] for plan in plans]
        completions = trainer._generate(prompts)[1]
        decode = trainer.processing_class.decode
        written = [ids_in(decode(ids)) for ids in completions]
    foreign = sum(found != {plan.id} for found, plan in zip(written, plans, strict=True))
    found = {"world": world, "rows": len(plans), "foreign_rows": foreign}
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


def _trainer(url: str, folder: Path) -> GRPOTrainer:
    _do_without_gpu()
    tokenizer = byte_tokenizer()
    # TRL refuses QwQ's own.
    tokenizer.chat_template = qwen2_5_chat_template
    rows = [{"prompt": [{"role": "user", "content": f"Say {i}."}]} for i in range(GROUP)]
    arguments = trainer_settings(
        folder, per_device_train_batch_size=2 * GROUP, num_generations=GROUP,
        max_completion_length=50_000, use_vllm=True, vllm_mode="server", vllm_server_base_url=url,
    )  # fmt: skip
    return GRPOTrainer(
        model=build_tiny_model(tokenizer, hidden=32),
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
        tools=[echo],
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
    )


def _do_without_gpu() -> None:
    """Let TRL's client run without the vllm package, which only the transfer of weights needs."""

    def nothing(*arguments: Any, **more: Any) -> None:
        return None

    for module in (vllm_client, vllm_generation):
        module.is_vllm_available = lambda *arguments, **more: True
    vllm_client.VLLMClient.init_communicator = nothing
    vllm_generation.VLLMGeneration.sync_weights = nothing


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
