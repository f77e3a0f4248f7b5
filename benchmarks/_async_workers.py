"""The rollout workers of an AsyncGRPOTrainer, played without it: TRL's own and ours.

Both play without end and put rows on a queue. What is timed is that queue, once the worker is
under way: the seconds for as many episodes as are in flight. The trainer is told of no episode, so
nothing else costs. Both ask the same server over HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from _episodes import byte_tokenizer
from _tool_naps import nap, nothing

GROUP = 2
BATCHES = 8
"""So many times the episodes in flight are timed."""
UNDER_WAY = 2
"""So many times they are let pass before."""


def measure_ours(arguments: argparse.Namespace, url: str) -> float:
    """Return the seconds of our `AsyncRollouts`, a thread of this process."""
    from qwq_env.env import ToolEnv
    from qwq_env.rollout.engine import EngineSettings
    from qwq_env.rollout.vllm_policy import VllmPolicy
    from qwq_env.rubric import Component, Rubric
    from qwq_env.task import ListTaskSet, Task
    from qwq_env.tool import tool
    from qwq_env.training.async_rollouts import AsyncRollouts

    tasks = ListTaskSet([Task(f"t{i}", f"Rest {i}.", "") for i in range(arguments.episodes)])
    env = ToolEnv(tasks, [tool(nap)], Rubric([Component("none", lambda final: 0.0)]))
    worker = AsyncRollouts(
        env,
        byte_tokenizer(),
        VllmPolicy(url),
        group=GROUP,
        groups_in_flight=arguments.episodes // GROUP,
        buffered=100_000,
        engine=EngineSettings(concurrency=arguments.episodes),
    )
    return _timed(worker, arguments)


def measure_trl(arguments: argparse.Namespace, url: str) -> float:
    """Return the seconds of TRL's `AsyncRolloutWorker`, which plays in a process of its own."""
    import datasets
    from accelerate.state import PartialState
    from trl.chat_template_utils import qwen2_5_chat_template
    from trl.experimental.async_grpo import async_rollout_worker

    # It asks for vLLM to be installed, and never imports it: it talks to a server.
    async_rollout_worker.is_vllm_available = lambda *version: True
    PartialState(cpu=True)  # its logger wants it
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = qwen2_5_chat_template
    rows = [
        {"prompt": [{"role": "user", "content": f"Rest {i}."}]} for i in range(arguments.episodes)
    ]
    worker = async_rollout_worker.AsyncRolloutWorker(
        model_name="policy",
        dataset=datasets.Dataset.from_list(rows),
        reward_funcs=[nothing],
        processing_class=tokenizer,
        eos_token_ids=[tokenizer.eos_token_id],
        tools=[nap],
        num_generations=GROUP,
        max_inflight_tasks=arguments.episodes,
        vllm_server_url=url,
        max_tokens=4096,
    )
    return _timed(worker, arguments)


def _timed(worker: Any, arguments: argparse.Namespace) -> float:
    """Start a worker, let it get under way, time the rows of many episodes, and stop it."""
    worker.start()
    take: Callable[..., Any] = worker.rollout_buffer.get
    try:
        for _ in range(UNDER_WAY * arguments.episodes):
            _check(take(timeout=120), arguments.turns)
        start = time.perf_counter()
        for _ in range(BATCHES * arguments.episodes):
            _check(take(timeout=120), arguments.turns)
        return (time.perf_counter() - start) / BATCHES
    finally:
        _stop(worker)


def _stop(worker: Any) -> None:
    """Stop a worker, and empty its queues meanwhile: a process ends when they have taken all."""
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while stopping.is_alive():
        for waiting in (worker.rollout_buffer, worker.metrics_queue):
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get(timeout=0.05)
    stopping.join()


def _check(row: Any, turns: int) -> None:
    """One row must be the whole episode: all its turns sampled, with the tool's word between."""
    mask = row.completion_mask.tolist()
    begun = sum(now and not before for before, now in zip([0, *mask], mask, strict=False))
    assert begun == turns + 1, f"{begun} turns in a row, not {turns + 1}"
