"""The contrast: one rank of TRL's own tool loop with a vLLM server, on the same episodes.

Everything that generates is TRL's: its trainer, its loop, its client's `generate`. Left out is the
transfer of weights, which needs a GPU. The cases are named in `CALLS`. Writes `FOLDER/rank-N.json`:
how many rows hold what was written for another rank's prompt.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import urllib.request
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


class Generated(Exception):
    """All completions are there; what follows them is not looked at."""


class Recorder(GRPOTrainer):
    """A stock trainer that stops when it has generated, and keeps the completions."""

    def _generate(self, prompts: Any) -> Any:
        self.generated = super()._generate(prompts)[1]
        raise Generated


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
        inputs = [{"prompt": [{"role": "user", "content": f"Say {plan.id}."}]} for plan in plans]
        with contextlib.suppress(Generated):
            trainer._generate_and_score_completions(inputs)
        completions = trainer.generated
        decode = trainer.processing_class.decode
        written = [ids_in(decode(ids)) for ids in completions]
    foreign = sum(found != {plan.id} for found, plan in zip(written, plans, strict=True))
    found = {"world": world, "rows": len(plans), "foreign_rows": foreign}
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


def _trainer(url: str, folder: Path) -> Recorder:
    _do_without_gpu()
    tokenizer = byte_tokenizer()
    # TRL refuses QwQ's own.
    tokenizer.chat_template = qwen2_5_chat_template
    rows = [{"prompt": [{"role": "user", "content": f"Say {i}."}]} for i in range(GROUP)]
    arguments = trainer_settings(
        folder, per_device_train_batch_size=2 * GROUP, num_generations=GROUP,
        max_completion_length=50_000, use_vllm=True, vllm_mode="server", vllm_server_base_url=url,
    )  # fmt: skip
    return Recorder(
        model=build_tiny_model(tokenizer, hidden=32),
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
        tools=[echo],
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
    )


class Client(vllm_client.VLLMClient):
    """TRL's client without the packages `vllm` and `requests`: it generates as TRL's does."""

    def __init__(self, base_url: str, **settings: Any) -> None:
        self.base_url, self.model = base_url, "policy"

    def _post(self, url: str, **body: Any) -> Any:
        request = urllib.request.Request(
            url, json.dumps(body["json"]).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    def init_communicator(self, device: Any = None) -> None:
        return None


def _do_without_gpu() -> None:
    """Leave out the transfer of weights, which is all that needs a GPU and vLLM here."""
    vllm_generation.is_vllm_available = lambda *arguments, **more: True
    vllm_generation.VLLMClient = Client
    vllm_generation.VLLMGeneration.sync_weights = lambda self: None
