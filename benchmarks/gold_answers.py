"""Gold answers and empty ones through `qwq eval`: the judges pay the first in full, the second not.

    qwq bench gold_answers [--data DIR] [--benchmarks aime24 gsm8k bfcl ...]

`DIR` holds a file or folder as published for each benchmark, under its name (`gsm8k/`,
`aime24.jsonl`); without it the rows that the tests have are judged. Gold is what the rows have: a
solution, an answer, the calls. IFEval and LiveBench's instruction_following publish none, so of
those only the empty answers are judged; LiveCodeBench has its own, `livecodebench_agreement`. No
judge of mathematics reads the problem, so a file without the problems may have anything for them.
Names each task whose gold is not paid.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run

from qwq_env.cli import main as qwq
from qwq_env.env import ToolEnv
from qwq_env.evaluation.benchmarks import find_benchmark
from qwq_env.evaluation.benchmarks.data import load_data
from qwq_env.registry import make_environment
from qwq_env.rollout.store import read_episodes
from qwq_env.task import Task

_TESTS = Path(__file__).parents[1] / "tests" / "data"
SAMPLES = {
    "aime24": _TESTS / "math" / "aime24.jsonl",
    "aime25": _TESTS / "math" / "aime25.jsonl",
    "amc23": _TESTS / "math" / "amc23.jsonl",
    "gsm8k": _TESTS / "published" / "gsm8k.jsonl",
    "humaneval": _TESTS / "code" / "humaneval.jsonl",
    "mbpp": _TESTS / "code" / "mbpp_sanitized.jsonl",
    "math500": _TESTS / "math" / "math500.jsonl",
    "bfcl": _TESTS / "published" / "bfcl",
    "ifeval": _TESTS / "published" / "ifeval.jsonl",
    "livebench": _TESTS / "published" / "livebench" / "questions.jsonl",
    "retail": _TESTS / "published" / "tau2_retail",
}
NAMES = tuple(SAMPLES)
NO_GOLD = ("ifeval", "livebench/instruction_following")


def main(argv: list[str]) -> int:
    """Measure and print; 1 if a gold answer is not paid, or an empty one is."""
    parser = argparse.ArgumentParser(prog="qwq bench gold_answers", description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--benchmarks", nargs="+", default=list(NAMES))
    found = run(parser, argv, lambda options: {
        name: measure(name, place_of(options.data, name) if options.data else SAMPLES[name])
        for name in options.benchmarks
    })  # fmt: skip
    rows = [found[name] for name in found if name in NAMES]
    return int(any(row["unpaid"] or row["paid_for_nothing"] for row in rows))


def place_of(data: Path, benchmark: str) -> Path:
    """Return the file or the folder of a benchmark in `data`."""
    file = data / f"{benchmark}.jsonl"
    return file if file.exists() else data / benchmark


def measure(name: str, data: Path) -> dict[str, Any]:
    """Return the accuracies of gold and of empty answers, and what is not as it should be."""
    benchmark = find_benchmark(name)
    tasks = load_data(benchmark, "official", str(data)).tasks
    given = {**benchmark.protocol("official").arguments, "tasks": tasks}
    env = make_environment(benchmark.environment, given)
    gold = {task.id: answer for task in env.tasks if (answer := gold_answer(name, env, task))}
    rewards, counts = judged(name, data, gold) if gold else ({}, {})
    nothing, none = judged(name, data, {task.id: "" for task in env.tasks})
    return {
        "tasks": env.tasks.size,
        "with_gold": len(gold),
        "gold": sum(rewards.values()) / len(rewards) if rewards else None,
        "empty": sum(nothing.values()) / len(nothing),
        "undecided": [counts.get("undecided", 0), none.get("undecided", 0)],
        "unpaid": {
            task: rewards.get(task) for task in gold if task not in rewards or rewards[task] < 1
        },
        "paid_for_nothing": [task for task, reward in nothing.items() if reward],
    }


def judged(
    name: str, data: Path, answers: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, int]]:
    """Return the reward of each answer by its task, and how many episodes had none."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "answers.jsonl", Path(folder) / "out"
        rows = ({"task_id": task, "response": said} for task, said in answers.items())
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = ["eval", name, "--data", str(data), "--answers", str(file), "--out", str(out)]
        with contextlib.redirect_stdout(io.StringIO()):
            qwq([*command, "--preset", "official", "--samples", "1"])
        episodes = [e for e in read_episodes(out / "episodes.jsonl") if e.task_id in answers]
    undecided = sum(episode.outcome.reason == "undecided" for episode in episodes)
    rewards = {e.task_id: e.reward for e in episodes if e.reward is not None}
    return rewards, {"undecided": undecided}


def gold_answer(name: str, env: ToolEnv, task: Task) -> Any:
    """Return what is right for a task, None where nobody has published it."""
    if name == "livebench":
        return livebench_gold(task.metadata)
    if name in NO_GOLD:
        return None
    solved = env.solve(task)
    return solved if solved else env.phrase_answer(str(task.answer))


def livebench_gold(question: Mapping[str, Any]) -> str | None:
    """Return the reference of a question in the form that it asks for."""
    gold, task = question.get("ground_truth"), question["task"]
    # One reference of AMPS_Hard is what its program wrote when it gave up.
    if gold is None or "Aborted" in gold:
        return None
    if task == "AMPS_Hard":
        # Its judge takes this space for a product in the reference, and not in an answer.
        product = gold.replace("\\ ", "\\cdot ")
        return f"$\\boxed{{{product}}}$"
    if task == "math_comp":
        return str(gold) if question["subtask"].startswith("aime") else f"\\boxed{{{gold}}}\n{gold}"
    if task == "zebra_puzzle" and question["livebench_release_date"] < "2024-11-25":
        return f"***{gold}***"
    forms = {
        "olympiad": "Answer: %s", "web_of_lies_v2": "**%s**",
        "spatial": "**%s**", "zebra_puzzle": "<solution>%s</solution>",
    }  # fmt: skip
    return forms.get(task, "%s") % (gold if isinstance(gold, str) else json.dumps(gold))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
