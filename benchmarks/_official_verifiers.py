"""verifiers 0.4 plays the calculator task; run by its own interpreter, asked over a pipe.

    python benchmarks/_official_verifiers.py URL CONCURRENCY program | loop

`program` is what it ships: the `null` harness starts a program for each rollout (the subprocess
runtime), which speaks MCP to one tool server shared by all. `loop` is the cheapest that it
documents (`Harness.launch`: "a harness may run its loop in-process instead of launching a
program"): our own harness of `_official_verifiers_tasks` calls the tool itself.
"""

from __future__ import annotations

import asyncio
import sys

import verifiers.v1 as vf
from _side import answer
from verifiers.v1.envs.single_agent import SingleAgentEnvConfig
from verifiers.v1.utils.loaders import load_environment

HARNESSES = {"program": "null", "loop": "_official_verifiers_tasks"}


def main(url: str, concurrency: int, way: str) -> None:
    """Wait to be asked."""
    env = load_environment(
        SingleAgentEnvConfig(
            taskset={"id": "_official_verifiers_tasks", "served": way == "program"},
            agent={"harness": {"id": HARNESSES[way]}, "runtime": {"type": "subprocess"}},
        )
    )
    client = vf.EvalClientConfig(base_url=url, api_key_var="INSTANT_KEY")
    context = vf.ModelContext(model="instant", client=client, sampling=vf.SamplingConfig())

    async def play(asked: str) -> int:
        rollouts = int(asked)
        gate = asyncio.Semaphore(concurrency)
        async with env.serving():
            slots = [slot for task in env.taskset.take(rollouts) for slot in env.slots(task)]
            episodes = await asyncio.gather(*(env.run_slot(slot, context, gate) for slot in slots))
        for episode in episodes:
            for error in [*episode.errors, *(e for t in episode.traces for e in t.errors)]:
                print(error.type, error.message[:2000], file=sys.stderr)
        return sum(trace.reward == 1.0 for episode in episodes for trace in episode.traces)

    answer(play)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
