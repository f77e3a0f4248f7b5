"""Answers of a model with the scores of LiveBench's own judges, through `qwq grade livebench`."""

from __future__ import annotations

import json

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.grading.livebench import JUDGES, LiveBenchGrader, read_questions
from qwq_env.grading.livebench.judge import judge

from ...published import SAMPLES, read_rows
from .asked import TASKS, question

QUESTIONS = SAMPLES / "livebench" / "questions.jsonl"
ANSWERS = SAMPLES / "livebench" / "answers.jsonl"
WHOLE = SAMPLES.parents[3] / "shared"
"""Where the development data lies, if it lies beside the checkout."""


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def grade(answers, questions, out, *more):
    options = ["--questions", str(questions), "--out", str(out), *more]
    return main(["grade", "livebench", str(answers), *options])


def test_the_sample_scores_as_officially():
    questions = read_questions(QUESTIONS)
    rows = read_rows(ANSWERS)
    scores = [judge(questions[row["question_id"]], row["answer"]).value for row in rows]

    assert {questions[row["question_id"]]["task"] for row in rows} >= {"AMPS_Hard", "tablejoin"}
    assert scores == pytest.approx([row["score"] for row in rows])


@pytest.mark.skipif(not WHOLE.exists(), reason="the data is not beside the checkout")
def test_every_answer_scores_as_officially():
    questions = read_questions(WHOLE / "data" / "livebench")
    # SymPy's simplifications of the hundred formulae take ten times as long as all else; the
    # benchmark `livebench_agreement` has them.
    rows = [
        row
        for row in read_rows(WHOLE / "vectors" / "livebench.jsonl")
        if row["task"] != "AMPS_Hard"
    ]
    scores = [judge(questions[row["question_id"]], row["answer"]).value for row in rows]

    assert len(rows) > 600
    assert scores == pytest.approx([row["score"] for row in rows])


def test_both_forms_of_a_row_are_read_and_what_is_missing_is_named(tmp_path, capsys):
    asked = [question("spatial", question_id=name) for name in ("one", "two", "three")]
    asked += [{"question_id": "other", "category": "reasoning", "task": "sudoku"}]
    rows = [
        {"question_id": "one", "answer": "**3**"},
        {"question_id": "two", "choices": [{"turns": ["hm", "**4**"]}], "model_id": "m"},
        {"question_id": "nowhere", "answer": "**3**"},
        {"question_id": "other", "answer": "1"},
        {"question_id": "one", "response": "**3**"},
        {"question_id": "one", "answer": 3},
    ]
    out = tmp_path / "out.jsonl"
    code = grade(write(tmp_path / "a.jsonl", rows), write(tmp_path / "q.jsonl", asked), out)
    scored = read_rows(out)

    assert code == 0
    assert [row["score"] for row in scored] == [1.0, 0.0, None, None, None, None]
    assert [{**row, "score": 0, "reason": 0} for row in scored] == [
        {**row, "score": 0, "reason": 0} for row in rows
    ]
    printed = capsys.readouterr()
    assert "reasoning / spatial                          4         2   0.5000" in printed.out
    assert "mean of categories" in printed.out
    complaints = printed.err
    assert "question_id: 'nowhere' is none of the questions" in complaints
    assert "reasoning/sudoku has no judge; known: math/AMPS_Hard" in complaints
    assert "answer: none; found 'question_id, response'" in complaints
    assert "reasoning/spatial: 1 without an answer: three" in complaints


def test_a_run_that_was_cut_off_goes_on_with_the_same_summary(tmp_path, capsys):
    asked = write(tmp_path / "q.jsonl", [question("spatial"), question("typos")])
    rows = [{"question_id": "spatial", "answer": "**3**"}, {"question_id": "typos", "answer": ""}]
    source, out = write(tmp_path / "a.jsonl", rows), tmp_path / "out.jsonl"
    grade(source, asked, out)
    whole, printed = out.read_bytes(), capsys.readouterr().out
    out.write_bytes(whole[: whole.index(b"\n") + 9])
    grade(source, asked, out, "--resume")

    assert out.read_bytes() == whole
    parts = printed[printed.index("category / task") :]
    assert capsys.readouterr().out.endswith(parts)


@pytest.mark.parametrize(
    ("column", "change", "complaint"),
    [
        ("ground_truth", {"ground_truht": "3"}, "no ground_truth (did you mean 'ground_truht'?)"),
        ("livebench_release_date", {}, "no livebench_release_date"),
        ("turns", {"turns": "How many?"}, "expected a list of texts"),
        ("question_id", {"question_id": 7}, "expected a text"),
    ],
)
def test_questions_of_another_schema_are_refused_with_what_is_wanted(
    tmp_path, capsys, column, change, complaint
):
    row = {name: value for name, value in question("spatial").items() if name != column}
    questions = write(tmp_path / "q.jsonl", [{**row, **change}])

    assert grade(ANSWERS, questions, tmp_path / "out.jsonl") == 2
    error = capsys.readouterr().err
    assert f"{questions}:1: " in error and complaint in error and error.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_questions_are_asked_for_where_they_are_needed(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    mistakes = [
        ["livebench", str(ANSWERS)],
        ["livebench", str(ANSWERS), "--questions", str(tmp_path)],
        ["livebench", str(ANSWERS), "--questions", str(tmp_path / "none.jsonl")],
        ["math", str(ANSWERS), "--questions", str(QUESTIONS)],
    ]

    assert [main(["grade", *one, "--out", str(out)]) for one in mistakes] == [2, 2, 2, 2]
    assert capsys.readouterr().err.count("questions: ") == 4


def test_the_hub_s_tables_hold_the_same_questions(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import datetime

    import pyarrow

    day = datetime.datetime(2024, 11, 25)
    rows = [question("spatial", livebench_release_date=day), question("typos")]
    rows[1]["livebench_release_date"] = day
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test-00000-of-00001.parquet")
    write(tmp_path / "question.jsonl", [question("spatial"), question("typos")])

    assert set(read_questions(tmp_path)) == {"spatial", "typos"}  # the same twice is no quarrel
    (tmp_path / "question.jsonl").unlink()
    assert read_questions(tmp_path)["typos"]["livebench_release_date"] == "2024-11-25"
    write(tmp_path / "question.jsonl", [question("spatial", ground_truth="4")])
    with pytest.raises(UsageError, match="stands for another"):
        read_questions(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"questions: .*parquet"):
        read_questions(tmp_path)


def test_every_task_has_a_judge_and_a_question_in_these_tests():
    asked = {(row["category"], task) for task, row in TASKS.items()}

    assert len(JUDGES) == 18
    assert asked <= set(JUDGES)
    assert {category for category, _ in JUDGES} == {category for category, _ in asked}


async def test_an_answer_that_costs_too_much_is_wrong_and_the_next_one_is_judged():
    asked = {"x": question("plot_unscrambling", question_id="x")}
    slow = ". ".join("ab " * 3_000 + str(number) for number in range(60))
    with LiveBenchGrader(asked, workers=1, cpu_s=0.3) as grader:
        scores = [await grader.grade("x", text) for text in (slow, "A man walks", "." * 2_000_001)]

    assert [score.value for score in scores] == [0.0, 0.25, 0.0]
    assert [score.reason for score in scores] == ["too_complex", "different", "too_long"]
