"""What a turn costs in long episodes: it must not depend on how many came before it.

    qwq bench long_horizon [--turns 10 25 50 100 200] [--tokens 1300] [--picture FILE] [--json]

An episode of so many turns, each of `tokens` tokens, half of them the policy's and half the tool's,
played by a scripted policy with Qwen's vocabulary: CPU of this process for a turn, in milliseconds.
`play` is the engine with the recorder (`RecordingPolicy`), `audit` holds every generation and its
context against the record, `journaled` is `play` with a journal, `store` is the trajectory's way to
disk and back, and `step` is the same episode through `ToolEnv.step`, a text a turn. The least of
the rounds counts: whatever else the machine does can only add.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _episodes import byte_tokenizer
from _result import run
from qwen_tokenizer import qwen_tokenizer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.journal import Journal
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.audit import Record, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore, read_episodes
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.toolbox import ToolLimits
from qwq_env.trajectory import Trajectory

PARTS = ("play", "journaled", "audit", "store", "step")
WORDS = "the page says that the river rises in spring and falls again before the harvest comes "


def main(argv: list[str]) -> int:
    """Measure, draw, print; exit code 1 if a turn of the longest costs 1.5 times the shortest's."""
    parser = argparse.ArgumentParser(prog="qwq bench long_horizon", description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 25, 50, 100, 200])
    parser.add_argument("--tokens", type=int, default=1300, help="of a turn and what answers it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="draw the curve into this file")
    result = run(parser, argv, measure, table)
    return 0 if result["longest_over_shortest"]["all"] < 1.5 else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each length."""
    qwen = qwen_tokenizer()
    codec = TokenCodec(qwen or byte_tokenizer())
    found = {turns: _episode(codec, turns, arguments) for turns in arguments.turns}
    first, last = found[min(found)], found[max(found)]
    ratio = {part: round(last[part] / first[part], 2) for part in (*PARTS, "all")}
    if arguments.picture is not None:
        draw(found, arguments.picture)
    return {
        "tokens_a_turn": arguments.tokens,
        "tokenizer": "bytes" if qwen is None else "qwen",
        "ms_a_turn": found,
        "longest_over_shortest": ratio,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return a line a length, in milliseconds of CPU for a turn."""
    lines = [f"{'turns':>6}{'tokens':>9}" + "".join(f"{part:>10}" for part in (*PARTS, "all"))]
    for turns, found in result["ms_a_turn"].items():
        figures = "".join(f"{found[part]:10.3f}" for part in (*PARTS, "all"))
        lines.append(f"{turns:>6}{found['tokens']:>9}{figures}")
    return "\n".join(lines)


def draw(found: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Draw the cost of a turn over the length of the episode."""
    import matplotlib  # slow to import, and only needed here

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for part in PARTS:
        axes.plot(list(found), [each[part] for each in found.values()], "o-", label=part, ms=3)
    highest = max(each[part] for each in found.values() for part in PARTS)
    axes.set(xlabel="turns of the episode", ylabel="CPU ms a turn", ylim=(0, 1.2 * highest))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=len(PARTS), loc="upper center", fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _episode(codec: TokenCodec, turns: int, arguments: argparse.Namespace) -> dict[str, float]:
    # Each plays other texts, for the codec remembers some.
    texts = itertools.count()

    def reading() -> Reading:
        return Reading(codec, turns, arguments.tokens // 2, next(texts))

    rounds = [_round(codec, reading) for _ in range(arguments.rounds)]
    found = {part: min(each[part] for each in rounds) / turns * 1e3 for part in PARTS}
    found["all"] = sum(found.values())
    return {"tokens": rounds[0]["tokens"], **{part: round(ms, 4) for part, ms in found.items()}}


class Reading:
    """An environment whose tool answers with pages of `tokens`, and a script of turns as long."""

    def __init__(self, codec: TokenCodec, turns: int, tokens: int, number: int) -> None:
        @tool(blocking=False)
        def read(page: int) -> str:
            """Read a page."""
            return f"{number}.{page}: {page_text}"

        call = '</think>\n\n<tool_call>\n{"name": "read", "arguments": {"page": %d}}\n</tool_call>'
        words = len(codec.encode(WORDS))
        page_text = WORDS * (tokens // words)
        thought = WORDS * ((tokens - len(codec.encode(call))) // words)
        self.script = [
            f"{number}.{turn} {thought}{call % turn}<|im_end|>" for turn in range(turns - 1)
        ] + ["So it is.\n</think>\n\ndone<|im_end|>"]
        self.env = ToolEnv(
            ListTaskSet([Task("t", "Read all pages.", "done")]), [read],
            Rubric([Component("done", lambda final: float(final.answer == "done"))]),
            limits=EpisodeLimits(turns=turns, tool_calls=turns, seconds=None),
            tool_limits=ToolLimits(characters=100_000), tokenizer=codec,
        )  # fmt: skip
        self.assignments = [Assignment(self.env.tasks.task(0), "e", number)]


def _round(codec: TokenCodec, reading: Callable[[], Reading]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal")) as journal:
        played, trajectory, records = _played(codec, reading(), None)
        journaled, *_ = _played(codec, reading(), journal)
        audited, problems = _cpu(lambda: audit(trajectory, records))
        assert problems == []
        stored, [again] = _cpu(lambda: _stored(Path(folder, "episodes.jsonl"), trajectory))
        assert again == trajectory
    by_text = reading()
    stepped, reward = _cpu(lambda: _steps(by_text))
    assert reward == 1.0
    return {
        "tokens": len(trajectory.ids), "play": played, "audit": audited, "store": stored,
        "journaled": journaled, "step": stepped,
    }  # fmt: skip


def _played(
    codec: TokenCodec, reading: Reading, journal: Journal | None
) -> tuple[float, Trajectory, list[Record]]:
    policy = RecordingPolicy(ScriptedPolicy(codec, reading.script))
    play = PlaySettings(context=10**7, completion=10**7)
    engine = Engine(reading.env, policy, codec, play=play, journal=journal)
    seconds, [trajectory] = _cpu(lambda: asyncio.run(engine.run(reading.assignments)))
    assert (trajectory.reward, trajectory.turns) == (1.0, len(reading.script))
    return seconds, trajectory, policy.take("e")


def _stored(path: Path, trajectory: Any) -> list[Any]:
    with EpisodeStore(path) as store:
        store.append(trajectory)
    return list(read_episodes(path))


def _steps(reading: Reading) -> float:
    reading.env.reset(seed=0)
    return [float(reading.env.step(turn)[1]) for turn in reading.script][-1]


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of CPU of all threads that `work` takes, and what it returns."""
    gc.collect()
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
