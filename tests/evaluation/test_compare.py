"""`qwq compare`: stored runs held against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.evaluation.comparison import compare_runs, read_result


def write_run(folder: Path, rewards: dict[str, list[float | None]], **settings) -> Path:
    folder.mkdir(parents=True)
    known = {"environment": "qwq/MathTool-v0", "benchmark": "aime24", "samples": 1, **settings}
    (folder / "settings.json").write_text(json.dumps(known))
    rows = [
        {
            "task_id": task,
            "episode": f"{task}.{sample}",
            "outcome": {"kind": "failed" if reward is None else "terminated", "reason": "answered"},
            "reward": reward,
        }
        for task, samples in rewards.items()
        for sample, reward in enumerate(samples)
    ]
    (folder / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def runs(tmp_path) -> list[str]:
    first = {f"t{i}": [float(i < 12)] for i in range(20)}
    second = first | {"t0": [0.0], "t15": [1.0], "t16": [1.0], "t17": [None]}
    return [str(write_run(tmp_path / "old", first)), str(write_run(tmp_path / "new", second))]


def test_scores_differences_and_flips(runs, capsys):
    assert main(["compare", *runs]) == 0

    table = capsys.readouterr().out
    assert "| aime24      | 60.0 ± 11.2 | 68.4 ± 11.0 (1 lost) |" in table
    assert "new - old" in table and "+2 -1" in table
    assert "gained by new: t15 (0 to 1), t16 (0 to 1)" in table
    assert "lost by new: t0 (1 to 0)" in table
    assert "QwQ-32B" in table and "79.5" in table and "arXiv:2501.12948" in table


def test_json_and_markdown(runs, capsys, tmp_path):
    file = tmp_path / "tables.md"
    assert main(["compare", *runs, "--json", "--markdown", str(file)]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["runs"]["new"]["aime24"]["lost"] == 1
    [pair] = told["pairs"]
    assert pair["difference"]["tasks"] == 19
    assert [flip["task"] for flip in pair["difference"]["gained"]] == ["t15", "t16"]
    assert told["published"]["QwQ-32B"]["aime24"]["value"] == 79.5
    assert file.read_text().startswith("| accuracy, %")


def test_a_run_that_was_killed_while_it_wrote_is_read(runs, capsys):
    with (Path(runs[1]) / "episodes.jsonl").open("ab") as episodes:
        episodes.write(b'{"task_id": "t0", "epi')

    assert main(["compare", *runs]) == 0
    assert "68.4 ± 11.0 (1 lost)" in capsys.readouterr().out


def test_bars_are_drawn(runs, tmp_path):
    file = tmp_path / "bars.png"
    assert main(["compare", *runs, "--bars", str(file)]) == 0

    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_benchmarks_is_one_policy(tmp_path):
    for model in ("a", "b"):
        write_run(tmp_path / model / "aime24", {"t": [1.0], "u": [0.0]})
        write_run(tmp_path / model / "ifeval", {"t": [1.0]}, benchmark="ifeval")

    found = compare_runs([tmp_path / "a", tmp_path / "b"])
    assert found.benchmarks == ["aime24", "ifeval"]
    assert [pair.benchmark for pair in found.pairs] == ["aime24", "ifeval"]


def test_a_benchmark_with_and_without_tools(tmp_path):
    bare = write_run(tmp_path / "a" / "bare", {"t": [0.0], "u": [0.0]})
    tools = write_run(tmp_path / "a" / "tools", {"t": [1.0], "u": [0.0]}, tools=["python"])

    [pair] = compare_runs([bare, tools]).pairs
    assert (pair.difference.value, pair.warning) == (0.5, "tools: None and ['python']")
    with pytest.raises(UsageError, match="holds aime24 twice; name the folders"):
        compare_runs([tmp_path / "a"])


def test_what_is_unlike_is_told(tmp_path):
    first = write_run(tmp_path / "x" / "run", {"t": [1.0], "u": [1.0]}, temperature=0.6)
    second = write_run(tmp_path / "y" / "run", {"t": [1.0], "v": [1.0]}, temperature=1.0)

    [pair] = compare_runs([first, second]).pairs
    assert (pair.first, pair.second) == ("x/run", "y/run")
    assert pair.warning == "temperature: 0.6 and 1.0; 2 tasks in one of them only"


def test_the_last_row_of_an_episode_counts(tmp_path):
    folder = write_run(tmp_path / "run", {"t": [None], "u": [1.0]})
    again = {"task_id": "t", "episode": "t.0", "reward": 1.0, "outcome": {"reason": "answered"}}
    with (folder / "episodes.jsonl").open("a") as file:
        file.write(json.dumps(again) + "\n")

    found = read_result(folder)
    assert (found.rights, found.lost) == ({"t": [1.0], "u": [1.0]}, 0)


def test_undecided_is_neither_lost_nor_wrong(tmp_path):
    folder = write_run(tmp_path / "run", {"t": [1.0]})
    rows = [
        {"task_id": "u", "episode": "u.0", "reward": None, "outcome": {"reason": "undecided"}},
        {"task_id": "v", "episode": "v.0", "reward": float("nan"), "outcome": {"reason": "x"}},
    ]
    with (folder / "episodes.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)

    found = read_result(folder)
    assert (found.accuracy.value, found.lost, found.undecided) == (1.0, 0, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"task_id": 1}', "episodes.jsonl:1: not an episode"),
        ("[]", "episodes.jsonl:1: a JSON array"),
        ("{", "episodes.jsonl:1: not JSON"),
    ],
)
def test_damaged_rows_are_named(tmp_path, capsys, text, words):
    folder = write_run(tmp_path / "run", {})
    (folder / "episodes.jsonl").write_text(text + "\n")

    assert main(["compare", str(folder)]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_named(tmp_path, capsys, runs):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "settings.json").write_text("[")

    for path, words in (
        ("missing", "missing is no folder"),
        ("empty", "empty holds no evaluation"),
        ("broken", "settings.json is damaged"),
    ):
        assert main(["compare", str(tmp_path / path)]) == 2
        assert words in capsys.readouterr().err
    assert main(["compare", runs[0], runs[0]]) == 2
    assert "the same folder twice" in capsys.readouterr().err


def test_two_graders_on_the_same_episodes(tmp_path, capsys):
    data, answers, out = tmp_path / "aime24.jsonl", tmp_path / "answers.jsonl", tmp_path / "run"
    tasks = [("4", "\\boxed{4}"), ("73", "\\boxed{7300}"), ("5", "\\boxed{5}"), ("6", "no")]
    data.write_text(
        "".join(json.dumps({"prompt": f"Say {gold}.", "answer": gold}) + "\n" for gold, _ in tasks)
    )
    rows = [{"prompt": f"Say {gold}.", "response": said} for gold, said in tasks[:3]]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate = ["eval", "aime24", "--data", str(data), "--answers", str(answers)]
    assert main([*evaluate, "--out", str(out)]) == 0
    capsys.readouterr()

    regrade = ["regrade", str(out), "--json", "--rubric", "stored", "--rubric"]
    assert main([*regrade, "qwq_judge"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["episodes"], told["lost"], told["undecided"]) == (3, 1, [0, 0])
    assert [mean[0] for mean in told["means"]] == [pytest.approx(2 / 3), 1.0]
    [row] = told["differing"]
    assert row["answer"] == "\\boxed{7300}" and told["p_value"] == 1.0
    assert main([*regrade, "accuracy"]) == 0
    assert json.loads(capsys.readouterr().out)["differing"] == []
    assert main([*regrade, "json:loads"]) == 0
    assert json.loads(capsys.readouterr().out)["undecided"] == [0, 3]  # a judge that raises
    assert main([*regrade, "qwq_juge"]) == 2
    assert "did you mean 'qwq_judge'" in capsys.readouterr().err
