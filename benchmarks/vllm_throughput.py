"""`qwq bench vllm_throughput`: what tools in the loop cost a vLLM server on CPU.

A tiny policy that has learned to call the calculator plays 256 arithmetic episodes, 64 at a time,
on a server of its own (`make test` makes its environment). Then the server alone is given the
same work: for each turn that was played the same context, as many tokens, no stop, no tools, no
parsing, 64 chains of turns at a time over a bare aiohttp session. The two take turns, with the
server's prefix cache emptied before each; `ratio` is the median of the rounds' ratios in tokens
per second, all of which stand in `ratio_rounds`: server and client share the machine's cores with
whatever else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import torch

sys.path.insert(0, str(Path(__file__).parent))

from _result import add_options, deliver

from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.arithmetic import ArithmeticTaskSet
from qwq_env.envs.math import MathToolEnv
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.vllm_local import serve_on_cpu
from qwq_env.rollout.vllm_policy import VllmPolicy
from qwq_env.training.cold_start import cold_start
from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.tiny.policy import build_tiny_policy
from qwq_env.training.tiny.teacher import Teacher, TeacherMix
from qwq_env.training.weight_sync import prepare_served
from qwq_env.trajectory import Trajectory

ROOT = Path(__file__).resolve().parents[1]
CONCURRENCY = 64
EPISODES = 256
CONTEXT = 1024


class TurnOfWork(NamedTuple):
    """What the server is asked for: so many tokens after this context."""

    context: list[int]
    tokens: int


class Round(NamedTuple):
    """Tokens sampled per second, with tools and without, and what was played."""

    tools: float
    bare: float
    tokens: int
    tool_calls: int


def make_policy(env: MathToolEnv, directory: Path, steps: int) -> TokenCodec:
    """Teach a tiny policy to call the calculator, and write the folder to serve."""
    settings = env.settings
    mix = TeacherMix(guess=0.0, call=1.0, slip=0.0, malformed=0.0, ignore=0.0)
    tasks = ArithmeticTaskSet(seed=5, difficulty=2)
    teacher = Teacher(tasks, settings.tools, settings.dialect, mix=mix)
    lessons = teacher.transcripts(400)
    shape = PolicyRecipe(hidden=128, layers=4, heads=4, key_value_heads=2)
    model, tokenizer = build_tiny_policy(lessons, shape, seed=0)
    codec = TokenCodec(tokenizer)
    cold_start(model, codec, lessons, steps=steps, batch=32)
    prepare_served(model, tokenizer, directory)
    return codec


def chains(trajectories: list[Trajectory]) -> list[list[TurnOfWork]]:
    """Return the turns of each episode as bare work."""
    found = []
    for trajectory in trajectories:
        turns, end = [], trajectory.prompt_length
        for bit, run in runs(trajectory.mask):
            if bit:
                turns.append(TurnOfWork(trajectory.ids[:end], run))
            end += run
        found.append(turns)
    return found


def runs(mask: list[int]) -> list[tuple[int, int]]:
    """Return the stretches of equal bits with their lengths."""
    found: list[tuple[int, int]] = []
    for bit in mask:
        if found and found[-1][0] == bit:
            found[-1] = (bit, found[-1][1] + 1)
        else:
            found.append((bit, 1))
    return found


async def play(url: str, env: MathToolEnv, codec: TokenCodec, seed: int) -> list[Trajectory]:
    """Play the episodes with their tools."""
    policy = VllmPolicy(url)
    play_settings = PlaySettings(Sampling(), context=CONTEXT, completion=400, turn_tokens=128)
    settings = EngineSettings(concurrency=CONCURRENCY)
    engine = Engine(env, policy, codec, play=play_settings, settings=settings)
    assignments = [Assignment(env.tasks.task(i), f"e{i}", seed + i) for i in range(EPISODES)]
    try:
        return await engine.run(assignments)
    finally:
        await policy.aclose()


async def complete(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Any:
    """Ask the server; again where it has just hung up on an idle connection, as it may."""
    for _ in range(3):
        try:
            async with session.post(url, json=body) as response:
                return json.loads(await response.read())
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            continue
    raise RuntimeError(f"{url}: hung up three times")


async def bare(url: str, work: list[list[TurnOfWork]]) -> None:
    """Let the server do the same without tools."""
    pending = iter(work)
    connector = aiohttp.TCPConnector(limit=0)

    async def worker(session: aiohttp.ClientSession) -> None:
        for turns in pending:
            for turn in turns:
                body = {
                    "model": "policy", "prompt": turn.context, "max_tokens": turn.tokens,
                    "ignore_eos": True, "temperature": 1.0, "logprobs": 0, "return_token_ids": True,
                }  # fmt: skip
                answer = await complete(session, f"{url}/v1/completions", body)
                assert len(answer["choices"][0]["token_ids"]) == turn.tokens

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(CONCURRENCY)))


async def empty_cache(url: str) -> None:
    """Forget the prefixes of the run before."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/reset_prefix_cache") as response,
    ):
        assert (await response.json())["success"]


def one_round(url: str, env: MathToolEnv, codec: TokenCodec, seed: int) -> Round:
    """Measure both ways once."""
    asyncio.run(empty_cache(url))
    start = time.perf_counter()
    trajectories = asyncio.run(play(url, env, codec, seed))
    with_tools = time.perf_counter() - start
    asyncio.run(empty_cache(url))
    work = chains(trajectories)
    start = time.perf_counter()
    asyncio.run(bare(url, work))
    without = time.perf_counter() - start
    tokens = sum(turn.tokens for turns in work for turn in turns)
    calls = sum(trajectory.counts.get("ok", 0) for trajectory in trajectories)
    return Round(tokens / with_tools, tokens / without, tokens, calls)


def measure(python: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Make the policy, start the server, let the two ways take turns."""
    torch.set_num_threads(1)
    env = MathToolEnv(tools=["calculator"], difficulty=2)
    with tempfile.TemporaryDirectory() as folder:
        codec = make_policy(env, Path(folder), steps)
        with serve_on_cpu(folder, python, context=CONTEXT) as url:
            # The first requests warm up the server, the first answers start the graders.
            one_round(url, env, codec, 10**6)
            found = [one_round(url, env, codec, 1000 * i) for i in range(rounds)]
    ratios = [r.tools / r.bare for r in found]
    return {
        "episodes": EPISODES,
        "concurrency": CONCURRENCY,
        "rounds": rounds,
        "tokens": found[0].tokens,
        "tool_calls": found[0].tool_calls,
        "tools_tokens_per_s": round(statistics.median(r.tools for r in found)),
        "bare_tokens_per_s": round(statistics.median(r.bare for r in found)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_rounds": [round(ratio, 3) for ratio in ratios],
    }


def main(argv: list[str]) -> int:
    """Measure, print a table, and write the JSON asked for."""
    parser = argparse.ArgumentParser(prog="qwq bench vllm_throughput", description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=21, help="how often each way is measured")
    parser.add_argument("--cold-start", type=int, default=25, help="steps of teaching the policy")
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venv-vllm/bin/python", help="one that has vLLM"
    )
    arguments = parser.parse_args(argv)
    result = measure(arguments.python, arguments.rounds, arguments.cold_start)
    lines = (
        f"{result['tokens']} tokens, {result['tool_calls']} tool calls, 64 episodes at a time",
        f"with tools    {result['tools_tokens_per_s']:7} tokens/s",
        f"server alone  {result['bare_tokens_per_s']:7} tokens/s",
        f"ratio         {result['ratio']:7.3f}   by round: {result['ratio_rounds']}",
    )
    deliver(result, arguments, "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
