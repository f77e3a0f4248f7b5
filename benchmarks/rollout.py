"""What the engine itself costs: CPU for a step, memory for an episode; and verifiers beside it.

    qwq bench rollout [--episodes 4096] [--turns 4] [--only ours] [--json] [--out FILE]

Ours: a scripted policy that answers at once and a tool that does nothing. A step is a turn of the
policy with all that follows it: parsing, the tool, rendering, encoding, and its share of beginning
and grading the episode; CPU is this process's. Memory is the resident set's growth while all
episodes stand before their last turn, and while 100,000 are played in batches. The tokenizer is
Qwen's own vocabulary.

verifiers 0.4.0, in an environment of its own, plays the same two-turn calculator task with the
same model behind HTTP as we do; see `_official_verifiers.py`. CPU seconds of a rollout include
every process that it starts, and neither side's start-up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _episodes import byte_tokenizer
from _official import environment
from _process import resident_bytes, served
from _result import add_options, deliver, listing
from qwen_tokenizer import qwen_tokenizer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.openai_chat import OpenAIChat
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.tools.calculator import Calculator

HERE = Path(__file__).parent
CALL = (
    "I should touch it once more before I answer.\n</think>\n\n"
    '<tool_call>\n{"name": "touch", "arguments": {"times": 1}}\n</tool_call><|im_end|>'
)
ANSWER = "That was enough.\n</think>\n\nThe answer is \\boxed{done}.<|im_end|>"
WARM_UP = 64
SOAK_EPISODES = 100_000
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=4096, help="all at a time")
    parser.add_argument("--turns", type=int, default=4, help="the last one answers")
    parser.add_argument("--rollouts", type=int, default=8, help="of verifiers; ours plays 500")
    parser.add_argument("--only", choices=["ours"])
    add_options(parser)
    arguments = parser.parse_args(argv)
    qwen = qwen_tokenizer()
    codec = TokenCodec(qwen or byte_tokenizer())
    result: dict[str, Any] = {
        "episodes": arguments.episodes,
        "turns": arguments.turns,
        "tokenizer": "bytes" if qwen is None else "qwen",
        **asyncio.run(measure_engine(codec, arguments.episodes, arguments.turns)),
    }
    with served("_instant_model.py") as url:
        ours = asyncio.run(measure_calculator(f"{url}/v1", 500))
        result["ours_cpu_s_per_rollout"] = round(ours, 6)
        if arguments.only != "ours":
            theirs = measure_verifiers(f"{url}/v1", arguments.rollouts)
            result["verifiers_cpu_s_per_rollout"] = round(theirs["cpu_s_per_rollout"], 4)
            result["verifiers_over_ours"] = round(theirs["cpu_s_per_rollout"] / ours, 1)
    deliver(result, arguments, listing(result))
    return 0


async def measure_engine(codec: TokenCodec, episodes: int, turns: int) -> dict[str, Any]:
    """Return CPU a step, bytes an episode, and the growth over many."""
    env = _touching()
    script = [CALL] * (turns - 1) + [ANSWER]
    await _play(env, ScriptedPolicy(codec, script), codec, WARM_UP)
    live, tokens = await _live_bytes(env, codec, script, episodes)
    # The least of three: whatever else the machine does can only add.
    cpu = min([await _cpu_of(env, codec, script, episodes) for _ in range(3)])
    growth, blocks = await _growth(env, codec)
    return {
        "overhead_us_per_step": round(cpu / (episodes * turns) * 1e6, 1),
        "bytes_per_episode": round(live),
        "tokens_per_episode": tokens,
        "soak_episodes": SOAK_EPISODES,
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


async def _growth(env: ToolEnv, codec: TokenCodec) -> tuple[float, float]:
    """Return by how much an episode grows the process once it has played a tenth.

    In bytes resident, which go up and down by megabytes, and in blocks of Python's allocator.
    """
    policy = ScriptedPolicy(codec, [CALL, ANSWER])
    played, marks = 0, []
    while played < SOAK_EPISODES:
        count = min(SOAK_BATCH, SOAK_EPISODES - played)
        await _play(env, policy, codec, count)
        played += count
        gc.collect()
        marks.append((played, resident_bytes(), sys.getallocatedblocks()))
    first = next(mark for mark in marks if mark[0] >= SOAK_EPISODES // 10)
    episodes, grown, blocks = (last - then for last, then in zip(marks[-1], first, strict=True))
    return grown / episodes, blocks / episodes


async def measure_calculator(url: str, rollouts: int) -> float:
    """Return our CPU seconds for a rollout of the calculator task over HTTP."""
    tasks = [Task(f"sum-{i}", f"What is {i}+7?", str(i + 7)) for i in range(rollouts)]
    rubric = Rubric([Component("correct", lambda f: float(f"{{{f.task.answer}}}" in f.answer))])
    env = ToolEnv(ListTaskSet(tasks), [Calculator()], rubric)
    model = OpenAIChat(url, "instant", api_key_variable="INSTANT_KEY")
    engine = Engine(env, model, settings=EngineSettings(concurrency=32))
    assignments = [Assignment(task, task.id, 0) for task in tasks]
    await engine.run(assignments[:WARM_UP])
    start = time.process_time()
    trajectories = await engine.run(assignments)
    cpu = time.process_time() - start
    assert all(trajectory.reward == 1.0 for trajectory in trajectories)
    await model.aclose()
    return cpu / rollouts


def measure_verifiers(url: str, rollouts: int) -> dict[str, Any]:
    """Return what `_official_verifiers.py` found in its own environment."""
    python = environment("verifiers-0.4.0", ["verifiers==0.4.0", "uv"])
    variables = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        # Its tool server is a process that imports the taskset by name.
        "PYTHONPATH": str(HERE),
    }
    command = [str(python), str(HERE / "_official_verifiers.py"), url, str(rollouts), "2"]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["right"] == found["rollouts"], found
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
