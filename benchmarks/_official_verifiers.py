"""What a rollout costs in verifiers 0.4; run by its own interpreter, prints a JSON object.

    python benchmarks/_official_verifiers.py URL ROLLOUTS CONCURRENCY

Its cheapest way: the `null` harness in the subprocess runtime, one tool server shared by all
rollouts. CPU seconds are those of this process and of every process it started; a first, short
run is taken off, so that imports, environments and servers are not counted.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import verifiers.v1 as vf
from verifiers.v1.envs.single_agent import SingleAgentEnvConfig
from verifiers.v1.utils.loaders import load_environment

FIRST = 2


def main(url: str, rollouts: int, concurrency: int) -> None:
    """Run a few rollouts, then many, and print the difference for each."""
    asyncio.run(play(url, FIRST, concurrency))
    few = cost(url, FIRST, concurrency)
    many = cost(url, FIRST + rollouts, concurrency)
    result = {
        "cpu_s_per_rollout": (many[0] - few[0]) / rollouts,
        "wall_s_per_rollout": (many[1] - few[1]) / rollouts,
        "right": many[2],
        "rollouts": FIRST + rollouts,
    }
    print(json.dumps(result))


def cost(url: str, rollouts: int, concurrency: int) -> tuple[float, float, int]:
    """Return CPU seconds, wall seconds and how many rollouts were paid."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    right = asyncio.run(play(url, rollouts, concurrency))
    return cpu_seconds() - cpu, time.perf_counter() - wall, right


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


async def play(url: str, rollouts: int, concurrency: int) -> int:
    """Play so many tasks once each; return how many got the whole reward."""
    env = load_environment(
        SingleAgentEnvConfig(
            taskset={"id": "_official_verifiers_tasks"},
            agent={"harness": {"id": "null"}, "runtime": {"type": "subprocess"}},
        )
    )
    client = vf.EvalClientConfig(base_url=url, api_key_var="INSTANT_KEY")
    context = vf.ModelContext(model="instant", client=client, sampling=vf.SamplingConfig())
    gate = asyncio.Semaphore(concurrency)
    async with env.serving():
        slots = [slot for task in env.taskset.take(rollouts) for slot in env.slots(task)]
        episodes = await asyncio.gather(*(env.run_slot(slot, context, gate) for slot in slots))
    for episode in episodes:
        for error in [*episode.errors, *(e for t in episode.traces for e in t.errors)]:
            print(error.type, error.message[:2000], file=sys.stderr)
    return sum(trace.reward == 1.0 for episode in episodes for trace in episode.traces)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
