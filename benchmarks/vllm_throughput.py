"""`qwq bench vllm_throughput`: what tools in the loop cost a vLLM server on CPU.

A tiny policy that has learned to call the calculator plays 256 arithmetic episodes, 64 at a time,
on a server of its own (`make test` makes its environment). Then the server alone is given the
same work: for each turn that was last played the same context, as many tokens, no stop, no tools,
no parsing, 64 chains of turns at a time over a bare aiohttp session. The two take turns, the other
first in the next round, with the server's prefix cache emptied before each; `ratio` is the median
of the rounds' ratios in tokens per second with its 95 % interval, and all of them stand in
`ratio_rounds`: server and client share the machine's cores with whatever else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import torch

sys.path.insert(0, str(Path(__file__).parent))

from _result import run
from _rounds import alternate, spread

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
from qwq_env.training.weights.disk import prepare_served
from qwq_env.trajectory import Trajectory

ROOT = Path(__file__).resolve().parents[1]
CONCURRENCY = 64
EPISODES = 256
CONTEXT = 1024


class TurnOfWork(NamedTuple):
    """What the server is asked for: so many tokens after this context."""

    context: list[int]
    tokens: int


class Played(NamedTuple):
    """Tokens sampled per second, and how many; with tools, what was called too."""

    rate: float
    tokens: int
    tool_calls: int = 0


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
        for bit, length in runs(trajectory.mask):
            if bit:
                turns.append(TurnOfWork(trajectory.ids[:end], length))
            end += length
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


class Sides:
    """The two ways to use one server."""

    def __init__(self, url: str, env: MathToolEnv, codec: TokenCodec) -> None:
        self._url, self._env, self._codec = url, env, codec
        self._seeds = itertools.count(0, EPISODES)
        self._work: list[list[TurnOfWork]] = []

    def with_tools(self) -> Played:
        """Play other episodes than before; they are what the server alone is given next."""
        asyncio.run(empty_cache(self._url))
        start = time.perf_counter()
        trajectories = asyncio.run(play(self._url, self._env, self._codec, next(self._seeds)))
        seconds = time.perf_counter() - start
        self._work = chains(trajectories)
        calls = sum(trajectory.counts.get("ok", 0) for trajectory in trajectories)
        return Played(self._tokens() / seconds, self._tokens(), calls)

    def alone(self) -> Played:
        """Let the server do what was last played."""
        asyncio.run(empty_cache(self._url))
        start = time.perf_counter()
        asyncio.run(bare(self._url, self._work))
        return Played(self._tokens() / (time.perf_counter() - start), self._tokens())

    def _tokens(self) -> int:
        return sum(turn.tokens for turns in self._work for turn in turns)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the policy, start the server, let the two ways take turns."""
    torch.set_num_threads(1)
    env = MathToolEnv(tools=["calculator"], difficulty=2)
    with tempfile.TemporaryDirectory() as folder:
        codec = make_policy(env, Path(folder), arguments.cold_start)
        with serve_on_cpu(folder, arguments.python, context=CONTEXT) as url:
            sides = Sides(url, env, codec)
            # The first requests warm up the server, the first answers start the graders.
            sides.with_tools()
            sides.alone()
            ways = {"tools": sides.with_tools, "bare": sides.alone}
            found = alternate(ways, arguments.rounds)
    tools, alone = found["tools"], found["bare"]
    ratios = [one.rate / other.rate for one, other in zip(tools, alone, strict=True)]
    return {
        "episodes": EPISODES,
        "concurrency": CONCURRENCY,
        "rounds": arguments.rounds,
        "tokens": tools[0].tokens,
        "tool_calls": tools[0].tool_calls,
        "tools_tokens_per_s": round(statistics.median(played.rate for played in tools)),
        "bare_tokens_per_s": round(statistics.median(played.rate for played in alone)),
        "ratio": {name: round(value, 3) for name, value in spread(ratios).items()},
        "ratio_rounds": [round(ratio, 3) for ratio in ratios],
    }


def main(argv: list[str]) -> int:
    """Measure, print a table, and write the JSON asked for."""
    parser = argparse.ArgumentParser(prog="qwq bench vllm_throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is measured")
    parser.add_argument("--cold-start", type=int, default=25, help="steps of teaching the policy")
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venv-vllm/bin/python", help="one that has vLLM"
    )
    run(parser, argv, measure, table)
    return 0


def table(result: Mapping[str, Any]) -> str:
    """Return both rates and their ratio."""
    ratio = result["ratio"]
    return "\n".join(
        (
            f"{result['tokens']} tokens, {result['tool_calls']} tool calls, 64 episodes at a time",
            f"with tools    {result['tools_tokens_per_s']:7} tokens/s",
            f"server alone  {result['bare_tokens_per_s']:7} tokens/s",
            f"ratio         {ratio['median']:7.3f}   {ratio['low']:.3f} to {ratio['high']:.3f}",
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
