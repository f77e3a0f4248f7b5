"""What the engine itself costs: CPU for a step, memory for an episode; and verifiers beside it.

    qwq bench rollout [--episodes 4096] [--rollouts 256] [--only engine | sides] [--json]

Ours: a scripted policy that answers at once and a tool that does nothing. A step is a turn of the
policy with all that follows it: parsing, the tool, rendering, encoding, and its share of beginning
and grading the episode; CPU is this process's. Memory is the resident set's growth while all
episodes stand before their last turn, and while 100,000 are played in batches. The tokenizer is
Qwen's own vocabulary.

Then the two-turn calculator task: the same model behind HTTP for all, as many rollouts, as many at
a time, in alternating order; each side is a process that has played before, and its cost is that
of all its processes. The sides are described in `_rollout_sides.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _episodes import byte_tokenizer
from _process import resident_bytes
from _result import listing, run
from _rollout_sides import measure_sides
from qwen_tokenizer import qwen_tokenizer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool

CALL = (
    "I should touch it once more before I answer.\n</think>\n\n"
    '<tool_call>\n{"name": "touch", "arguments": {"times": 1}}\n</tool_call><|im_end|>'
)
ANSWER = "That was enough.\n</think>\n\nThe answer is \\boxed{done}.<|im_end|>"
WARM_UP = 64
SOAK_BATCH = 4096


@tool(blocking=False)
def touch(times: int) -> str:
    """Do nothing.

    Args:
        times: How often.
    """
    return "touched"


def main(argv: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="qwq bench rollout", description=__doc__)
    parser.add_argument("--episodes", type=int, default=4096, help="of the engine, all at a time")
    parser.add_argument("--turns", type=int, default=4, help="the last one answers")
    parser.add_argument("--soak", type=int, default=100_000, help="episodes played in batches")
    parser.add_argument("--rollouts", type=int, default=256, help="a side plays in a round")
    parser.add_argument("--concurrency", type=int, default=32, help="rollouts at a time")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--programs", type=int, default=8, help="rollouts with a program each")
    parser.add_argument("--only", choices=["engine", "sides", "ours"])
    run(parser, argv, measure, table)
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the engine, then the sides."""
    result: dict[str, Any] = {}
    if arguments.only in (None, "engine"):
        qwen = qwen_tokenizer()
        codec = TokenCodec(qwen or byte_tokenizer())
        result = {
            "episodes": arguments.episodes,
            "turns": arguments.turns,
            "tokenizer": "bytes" if qwen is None else "qwen",
            **asyncio.run(measure_engine(codec, arguments)),
        }
    if arguments.only != "engine":
        result["calculator"] = measure_sides(arguments)
    return result


def table(result: Mapping[str, Any]) -> str:
    """Return the engine's figures, and a line a side."""
    engine = {name: value for name, value in result.items() if name != "calculator"}
    lines = [listing(engine)] if engine else []
    if "calculator" in result:
        lines.append(
            f"{'a rollout of two turns':26}{'CPU ms':>9}{'':18}{'wall ms':>10}{'× ours':>8}"
        )
        for name, found in result["calculator"]["sides"].items():
            cpu = found["cpu_ms"]
            lines.append(
                f"{name:26}{cpu['median']:9.2f}{cpu['low']:9.2f} to {cpu['high']:5.2f}"
                f"{found['wall_ms']['median']:10.2f}{found['cpu_over_ours']['median']:8.2f}"
            )
    return "\n".join(lines)


async def measure_engine(codec: TokenCodec, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return CPU a step, bytes an episode, and the growth over many."""
    episodes, turns = arguments.episodes, arguments.turns
    env = _touching()
    script = [CALL] * (turns - 1) + [ANSWER]
    await _play(env, ScriptedPolicy(codec, script), codec, WARM_UP)
    live, tokens = await _live_bytes(env, codec, script, episodes)
    # The least of three: whatever else the machine does can only add.
    cpu = min([await _cpu_of(env, codec, script, episodes) for _ in range(3)])
    growth, blocks = await _growth(env, codec, arguments.soak)
    return {
        "overhead_us_per_step": round(cpu / (episodes * turns) * 1e6, 1),
        "bytes_per_episode": round(live),
        "tokens_per_episode": tokens,
        "soak_episodes": arguments.soak,
        "soak_growth_bytes_per_episode": round(growth, 1),
        "soak_growth_blocks_per_episode": round(blocks, 4),
    }


def _touching() -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Touch it, and then say so. ({i})", "done")
                         for i in range(SOAK_BATCH)])  # fmt: skip
    rubric = Rubric([Component("done", lambda final: float("{done}" in final.answer))])
    return ToolEnv(tasks, [touch], rubric)


async def _play(env: ToolEnv, policy: Policy, codec: TokenCodec, episodes: int) -> list[Any]:
    assert isinstance(env.tasks, ListTaskSet)
    assignments = [Assignment(env.tasks.task(i % SOAK_BATCH), f"e{i}", i) for i in range(episodes)]
    settings = EngineSettings(concurrency=episodes)
    trajectories = await Engine(env, policy, codec, settings=settings).run(assignments)
    assert all(trajectory.reward == 1.0 for trajectory in trajectories)
    return trajectories


async def _cpu_of(env: ToolEnv, codec: TokenCodec, script: Sequence[str], episodes: int) -> float:
    policy = ScriptedPolicy(codec, script)
    gc.collect()
    start = time.process_time()
    await _play(env, policy, codec, episodes)
    return time.process_time() - start


class Barrier(Policy):
    """Holds every episode before its last turn until all are there, and then looks at memory."""

    def __init__(self, codec: TokenCodec, script: Sequence[str], episodes: int) -> None:
        self.resident = self.tokens = 0
        self._policy = ScriptedPolicy(codec, script)
        self._to_come = {f"e{i}": len(script) for i in range(episodes)}
        self._open = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> Generation:
        """Answer at once, but for the last turn."""
        self._to_come[request.episode] -= 1
        if self._to_come[request.episode] == 0:
            del self._to_come[request.episode]
            if not self._to_come:
                gc.collect()
                self.resident, self.tokens = resident_bytes(), len(request.ids)
                self._open.set()
            await self._open.wait()
        return await self._policy.generate(request)


async def _live_bytes(
    env: ToolEnv, codec: TokenCodec, script: Sequence[str], episodes: int
) -> tuple[float, int]:
    """Return the bytes of a live episode, and the tokens of its context."""
    policy = Barrier(codec, script, episodes)
    gc.collect()
    before = resident_bytes()
    await _play(env, policy, codec, episodes)
    return (policy.resident - before) / episodes, policy.tokens


async def _growth(env: ToolEnv, codec: TokenCodec, soak: int) -> tuple[float, float]:
    """Return by how much an episode grows the process once it has played a tenth.

    In bytes resident, which go up and down by megabytes, and in blocks of Python's allocator.
    """
    policy = ScriptedPolicy(codec, [CALL, ANSWER])
    played, marks = 0, []
    while played < soak:
        count = min(SOAK_BATCH, max(soak // 20, 1), soak - played)
        await _play(env, policy, codec, count)
        played += count
        gc.collect()
        marks.append((played, resident_bytes(), sys.getallocatedblocks()))
    first = next(mark for mark in marks if mark[0] >= soak // 10)
    episodes, grown, blocks = (last - then for last, then in zip(marks[-1], first, strict=True))
    return grown / episodes, blocks / episodes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
