"""LiveBench as a benchmark: its own scores, averaged as it averages them."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from statistics import fmean

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.evaluation.benchmarks import find_benchmark
from qwq_env.evaluation.benchmarks.data import load_data
from qwq_env.evaluation.benchmarks.protocol import Hub
from qwq_env.evaluation.comparison import compare_runs
from qwq_env.registry import make_environment

from ..published import SAMPLES

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from gold_answers import livebench_gold

QUESTIONS = SAMPLES / "livebench" / "questions.jsonl"
ENV = find_benchmark("livebench").environment
OFFICIAL = [
    json.loads(line) for line in (SAMPLES / "livebench" / "answers.jsonl").read_text().splitlines()
]


def evaluate(folder: Path, answers, capsys, *more: str) -> dict:
    file = folder.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in answers))
    command = ["eval", "livebench", "--data", str(QUESTIONS), "--answers", str(file), "--json"]
    assert main([*command, "--out", str(folder), *more]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def env():
    return make_environment(ENV, {"tasks": QUESTIONS, "release": "2024-11-25"})


def balanced(scores: dict[str, list[float]]) -> float:
    """The mean of the categories, each that of its tasks."""
    categories: dict[str, list[float]] = {}
    for name, values in scores.items():
        categories.setdefault(name.partition("/")[0], []).append(fmean(values))
    return fmean(map(fmean, categories.values()))


def test_the_figure_is_livebenchs_own(env, tmp_path, capsys):
    told = evaluate(tmp_path / "run", OFFICIAL * 2, capsys)

    asked = {task.id for task in env.tasks}
    scores: dict[str, list[float]] = {}
    for row in OFFICIAL:
        if row["question_id"] in asked:
            scores.setdefault(f"{row['category']}/{row['task']}", []).append(row["score"])
    # Two zebra puzzles were taken back before the release.
    assert (told["tasks"], len(OFFICIAL)) == (22, 24)
    assert told["accuracy"][0] == pytest.approx(balanced(scores))
    assert told["average"] == pytest.approx(told["accuracy"])
    assert told["groups"]["math/olympiad"][0] == pytest.approx(fmean(scores["math/olympiad"]))
    assert (told["lost"], told["undecided"], told["replies"].get("no usage")) == ({}, [], None)
    result = compare_runs([tmp_path / "run"]).runs[0].results["livebench"]
    assert result.accuracy.value == pytest.approx(told["accuracy"][0])
    assert result.accuracy.error == pytest.approx(told["accuracy"][1])


def test_gold_is_paid_and_silence_is_not(env, tmp_path, capsys):
    gold = [{"task_id": task.id, "response": livebench_gold(task.metadata)} for task in env.tasks]
    told = evaluate(tmp_path / "gold", gold, capsys)
    silent = evaluate(tmp_path / "silent", [row | {"response": ""} for row in gold], capsys)

    assert told["accuracy"] == [pytest.approx(1.0), 0.0]
    assert silent["accuracy"][0] == 0.0 and silent["replies"] == {"empty": 22, "no reasoning": 22}
    [pair] = compare_runs([tmp_path / "silent", tmp_path / "gold"]).pairs
    assert pair.difference.value == pytest.approx(1.0)


def test_it_is_no_environment_of_the_library_and_pickles(env):
    assert ENV.rpartition(":")[2].partition("/")[0] != "qwq"
    assert pickle.loads(pickle.dumps(env)).tasks.size == 22


def test_the_hubs_categories_are_one_benchmark(tmp_path):
    rows = [json.loads(line) for line in QUESTIONS.read_text().splitlines()]
    for category in ("math", "reasoning"):
        (tmp_path / category / "task").mkdir(parents=True)
        own = [json.dumps(row) for row in rows if row["category"] == category]
        (tmp_path / category / "task" / "question.jsonl").write_text("\n".join(own))
    hub = Hub(str(tmp_path / "math"), files=("**",), more=(str(tmp_path / "reasoning"),))
    from dataclasses import replace

    data = load_data(replace(find_benchmark("livebench"), hub=hub), "qwq")

    made = make_environment(ENV, {"tasks": data.tasks})
    assert made.tasks.size == sum(row["category"] in ("math", "reasoning") for row in rows)
    assert "math" in data.where and "reasoning" in data.where


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ground_truth": None}, "no ground_truth"),
        ({"category": "poetry"}, "poetry/AMPS_Hard has no judge"),
        ({"turns": ["a", "b"]}, "has 2 turns; expected one"),
        ({"livebench_release_date": "2025-04-25"}, "none of 1 questions is of the release"),
    ],
)
def test_other_questions_are_refused(change, words, tmp_path):
    row = json.loads(QUESTIONS.read_text().splitlines()[0]) | change
    (tmp_path / "question.jsonl").write_text(json.dumps(row))

    with pytest.raises(UsageError, match=words):
        make_environment(ENV, {"tasks": tmp_path, "release": "2024-11-25"})
