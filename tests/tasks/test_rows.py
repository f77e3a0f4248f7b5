"""Rows as data sets are published: what is asked, what is right, and which rows are left out."""

import json
import logging
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import MathToolEnv, math_tasks
from qwq_env.errors import UsageError
from qwq_env.grading.math import MathGrader
from qwq_env.task import load_jsonl

SAMPLES = Path(__file__).parents[1] / "data" / "math"
DATA = Path(__file__).parents[3] / "shared" / "data"
SOLVE, DIE = "What is $x$ if $2x=10$?", "A die is thrown."

ANSWERS = {
    "math": ["5", "\\frac{1}{2}"],
    "math500": ["5", "\\frac{1}{2}"],
    "deepscaler": ["5", "\\frac{1}{2}"],
    "numinamath_cot": ["5", "\\frac{1}{2}"],
    "numinamath_1_5": ["5"],
    "openr1_math": ["5"],
    "dapo": ["5"],
    "dapo_processed": ["5"],
    "verl_gsm8k": ["5"],
    "trl": ["$5$", "\\frac{1}{2}"],
    "deepmath": ["5"],
    "gsm8k": ["1000"],
    "asdiv": ["9", "They are equal"],
    "svamp": [145],
    "mawps": [43, 0.25],
    "amc23": [5, 0.5],
    "aime24": [5, "073"],
    "aime25": ["5", "70"],
}


@pytest.fixture(scope="module")
def grader():
    with MathGrader(workers=1) as grader:
        yield grader


@pytest.mark.parametrize("name", ANSWERS)
def test_every_form_is_read_and_its_answers_are_right(grader, name):
    tasks = list(math_tasks(SAMPLES / f"{name}.jsonl"))

    assert [task.answer for task in tasks] == ANSWERS[name]
    for task in tasks:
        assert task.prompt.endswith(INSTRUCTION) and not task.messages
        assert "Answer:" not in task.prompt and "####" not in task.prompt
        box = f"\\boxed{{{task.answer}}}"
        assert grader.grade_sync(str(task.answer), box, "boxed").value == 1.0


def test_a_problem_in_two_columns_is_told_whole():
    told = [math_tasks(SAMPLES / f"{name}.jsonl").task(0).prompt for name in ("asdiv", "svamp")]

    assert told[0].startswith("Two red and seven green apples are in the basket. How many")
    assert told[1].startswith("There are 290 bananas in 2 groups How big is each group?")


@pytest.mark.parametrize("name", ANSWERS)
def test_the_same_rows_of_a_dataset_are_read(tmp_path, name):
    lines = (SAMPLES / f"{name}.jsonl").read_text().splitlines()
    # A column of a table has one type.
    rows = [json.loads(line) for line in lines][:1]
    Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")

    assert math_tasks(tmp_path).task(0).answer == ANSWERS[name][0]


def write(folder, *rows) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"question": "?", "answer": "Many.\n#### -1,234"}, "-1234"),
        ({"question": "?", "answer": "#### 3 of them, so\n#### 4"}, "4"),
        ({"question": "?", "answer": "1,234"}, "1,234"),
        ({"problem": "?", "answer": "", "solution": "so \\boxed{7}"}, "7"),
        ({"problem": "?", "answer": None, "solution": "so \\boxed{7}"}, "7"),
        ({"problem": "?", "answer": "{1, 2}"}, "{1, 2}"),
        ({"problem": "?", "final_answer": ["1", "2"]}, "1, 2"),
        ({"prompt": "?", "reward_model": {"ground_truth": '["\\\\frac12"]'}}, "\\frac12"),
        ({"prompt": "?", "reward_model": '{"ground_truth": "7"}'}, "7"),
        ({"prompt": "?", "ground_truth": 7.0}, 7),
        ({"problem": "?", "answer": 1e30}, 1e30),
        ({"problem": "?", "answer": [3]}, 3),
        ({"problem": "?", "answer": [1, 2.5]}, "1, 2.5"),
        ({"Problem": "?", "Answer": "7"}, "7"),
    ],
)
def test_where_the_answer_is(tmp_path, row, answer):
    assert load_jsonl(write(tmp_path, row)).task(0).answer == answer


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow", "saved", "saved splits"])
def test_a_dataset_that_lies_on_disk_is_read(tmp_path, form):
    rows = Dataset.from_list([{"question": "1+1?", "answer": "2"}])
    path = tmp_path / ("rows" if "saved" in form else f"rows.{form}")
    if form == "arrow":
        rows.save_to_disk(tmp_path / "saved")
        next((tmp_path / "saved").glob("*.arrow")).rename(path)
    elif "saved" in form:
        (rows if form == "saved" else DatasetDict({"train": rows})).save_to_disk(path)
    else:
        getattr(rows, f"to_{form}")(path)

    assert str(math_tasks(path).task(0).answer) == "2"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"quesiton": "?", "answer": "1"}, "columns: 'quesiton', 'answer'; .*GSM8K.*'question'"),
        ({"problem": "?", "soluton": "1"}, "'problem', 'soluton'; .*MATH, which lacks 'solution'"),
        ({"text": "x"}, "columns: 'text'; expected a question .* and an answer"),
        ({}, "columns: none; expected"),
        ({"problem": "?", "solution": "By induction.\n" * 20}, "solution: .*boxed"),
        ({"problem": "?", "answer": "proof"}, "answer: 'proof'; expected the reference answer"),
        ({"problem": "?", "answer": True}, "answer: True; expected"),
        ({"problem": "", "answer": "1"}, "problem: ''; expected a text"),
        ({"question": "?", "answer": "\\frac{1}{"}, "cannot be graded against"),
    ],
)
def test_a_row_that_is_no_task_is_left_out_and_told_of(tmp_path, caplog, row, words):
    good = {"question": "1+1?", "answer": "2"}
    path = write(tmp_path, good, row, good, row)
    with caplog.at_level(logging.WARNING):
        tasks = MathToolEnv(path).tasks

    assert [task.id for task in tasks] == ["rows/1", "rows/3"]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"2 of 4 rows left out, the first: {path}:2: ")
    for refused in (
        lambda: MathToolEnv(path, strict=True),
        lambda: MathToolEnv(write(tmp_path, row)),
    ):
        with pytest.raises(UsageError, match=words) as error:
            refused()
        assert "\n" not in str(error.value)


@pytest.mark.skipif(not DATA.is_dir(), reason="the development material is not there")
@pytest.mark.parametrize(
    ("name", "rows", "left_out"),
    [("amc23", 40, 0), ("asdiv", 2215, 0), ("mawps", 2065, 0), ("svamp", 1000, 0)],
)
async def test_the_word_problems_load(grader, name, rows, left_out):
    tasks = list(math_tasks(DATA / name, split="test"))
    scores = [
        await grader.grade(str(task.answer), f"\\boxed{{{task.answer}}}", "boxed") for task in tasks
    ]

    assert len(tasks) == rows - left_out
    assert {score.value for score in scores} == {1.0}
