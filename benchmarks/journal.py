"""What a journal costs, and what going on by it does: microseconds of CPU and of wall for a step.

    qwq bench journal [--episodes 256] [--turns 8] [--rounds 5] [--json]

A step is a turn of a scripted policy of a hundred tokens or so and a call of a tool that does
nothing, with all that follows: parsing, the tool, rendering, encoding. `off` is without a journal,
`once` with one and a tool whose calls must not run twice (a row more for each), `idempotent` with
one that may, `fsync` waits for the disk after each row, `resumed` plays all of it again by the
journal alone, as an interrupted run does with what is known. The least of the rounds counts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _episodes import byte_tokenizer
from _result import run
from qwen_tokenizer import qwen_tokenizer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.journal import Journal
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Replay, tool

CALL = (
    f"{'I should touch it once more before I answer. ' * 8}\n</think>\n\n"
    '<tool_call>\n{"name": "touch", "arguments": {"times": 1}}\n</tool_call><|im_end|>'
)
ANSWER = "That was enough.\n</think>\n\nThe answer is \\boxed{done}.<|im_end|>"


class Cost(NamedTuple):
    """Microseconds of a step."""

    cpu: float
    wall: float


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="qwq bench journal", description=__doc__)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    run(parser, argv, measure, table)
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each way, in turn."""
    qwen = qwen_tokenizer()
    codec = TokenCodec(qwen or byte_tokenizer())
    found: dict[str, list[Cost]] = {}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            journal, size = _journaled(Path(folder), codec, arguments, found)
    least = {name: Cost(*map(min, zip(*costs, strict=True))) for name, costs in found.items()}
    return {
        "episodes": arguments.episodes,
        "turns": arguments.turns,
        "tokenizer": "bytes" if qwen is None else "qwen",
        "rows_a_step": round(journal / (arguments.episodes * arguments.turns), 2),
        "bytes_a_step": round(size / (arguments.episodes * arguments.turns)),
        "us_a_step": {name: cost._asdict() for name, cost in least.items()},
    }


def _journaled(
    folder: Path, codec: TokenCodec, arguments: argparse.Namespace, found: dict[str, list[Cost]]
) -> tuple[int, int]:
    """Add a round, and return the rows and the bytes of its journal."""
    ways: dict[str, tuple[Replay, Journal | None]] = {
        "off": ("once", None),
        "once": ("once", Journal(folder / "once")),
        "idempotent": ("idempotent", Journal(folder / "idempotent")),
        "fsync": ("once", Journal(folder / "fsync", fsync=True)),
    }
    for name, (replay, journal) in ways.items():
        few = arguments.episodes // 8 if name == "fsync" else arguments.episodes
        found.setdefault(name, []).append(_cost(codec, replay, journal, few, arguments.turns))
        if journal is not None:
            journal.close()
    with Journal(folder / "once") as journal:
        resumed = _cost(codec, "once", journal, arguments.episodes, arguments.turns)
    found.setdefault("resumed", []).append(resumed)
    written = (folder / "once").read_bytes()
    return written.count(b"\n"), len(written)


def _cost(
    codec: TokenCodec, replay: Replay, journal: Journal | None, episodes: int, turns: int
) -> Cost:
    @tool(blocking=False, replay=replay)
    def touch(times: int) -> str:
        """Do nothing.

        Args:
            times: How often.
        """
        return "touched"

    tasks = ListTaskSet([Task("t", "Touch it, and then say so.", "done")])
    rubric = Rubric([Component("done", lambda final: float("{done}" in final.answer))])
    env = ToolEnv(tasks, [touch], rubric)
    policy = ScriptedPolicy(codec, [CALL] * (turns - 1) + [ANSWER])
    assignments = [Assignment(tasks.task(0), f"e{i}", i) for i in range(episodes)]
    wall, cpu = time.perf_counter(), time.process_time()
    played = asyncio.run(Engine(env, policy, codec, journal=journal).run(assignments))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert all(trajectory.reward == 1.0 for trajectory in played)
    return Cost(*(round(seconds / (episodes * turns) * 1e6, 1) for seconds in (cpu, wall)))


def table(result: Mapping[str, Any]) -> str:
    """Return a line a way."""
    lines = [f"{'µs a step':12}{'CPU':>9}{'wall':>9}"]
    for name, cost in result["us_a_step"].items():
        lines.append(f"{name:12}{cost['cpu']:9.1f}{cost['wall']:9.1f}")
    size = f"{result['rows_a_step']} rows, {result['bytes_a_step']} bytes a step"
    return "\n".join([*lines, size])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
