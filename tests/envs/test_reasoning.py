"""`qwq/Reasoning-v0`: its puzzles, what counts as an answer, and reasoning-gym's data sets."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwq_env.envs import reasoning_gym
from qwq_env.envs.puzzles import FAMILIES, INSTRUCTION, PuzzleTaskSet
from qwq_env.envs.reasoning import ReasoningEnv, given_answer, reasoning_tasks
from qwq_env.envs.reasoning_gym import (
    ARITHMETIC,
    EXACT,
    GUESSABLE,
    NOT_MADE,
    REFUSED,
    SCORED,
    ReasoningGymTaskSet,
    arithmetic,
    judge,
    same,
)
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.task import ListTaskSet, Task

# A busy machine is no failure.
relaxed = settings(deadline=None)

SPLITS = st.sampled_from(["train", "heldout"])


def paid(env: ReasoningEnv, turn: Any, index: int = 0) -> tuple[float, dict]:
    env.reset(options={"index": index})
    _, reward, terminated, _, info = env.step(turn)

    assert terminated
    return reward, info


def says(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


@relaxed
@given(st.integers(1, 3), SPLITS, st.integers(0, 2**31), st.integers(0, 5))
def test_a_puzzle_is_found_by_its_id(difficulty, split, index, seed):
    tasks = PuzzleTaskSet(seed=seed, difficulty=difficulty, split=split)
    task = tasks.task(index)

    assert tasks.find(task.id) == task
    assert task.prompt.endswith(INSTRUCTION)
    assert task.metadata["family"] == list(FAMILIES)[index % len(FAMILIES)]
    assert task.answer.strip()


def test_the_same_index_gives_the_same_puzzle_on_every_machine():
    task = PuzzleTaskSet(seed=3, difficulty=2).task(0)

    assert task.id == "puzzles/2/train/3/0"
    assert task.prompt == (
        "Each of these numbers is the one before it times a fixed number plus another: "
        "32, 75, 161, 333. What is the second number after these?" + INSTRUCTION
    )
    assert task.answer == "1365"


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_no_answer_is_often_right_and_no_puzzle_is_held_out_twice(difficulty):
    train, heldout = (
        [PuzzleTaskSet(difficulty=difficulty, split=split).task(index) for index in range(210)]
        for split in ("train", "heldout")
    )
    [(_, most)] = Counter(task.answer for task in train).most_common(1)

    assert most <= 0.05 * len(train)
    assert len({task.prompt for task in train + heldout}) == len(train) + len(heldout)


def test_a_sudoku_has_the_grid_that_it_shows():
    sudoku = list(FAMILIES).index("sudoku")
    for index in range(sudoku, 70, len(FAMILIES)):
        task = PuzzleTaskSet(difficulty=3).task(index)
        shown = [line.split() for line in task.prompt.split("\n")[1:5]]
        rows = [line.split() for line in task.answer.split("\n")]

        assert all(
            mark in ("_", number) for line, row in zip(shown, rows, strict=True)
            for mark, number in zip(line, row, strict=True)
        )  # fmt: skip
        corners = [rows[r][c : c + 2] + rows[r + 1][c : c + 2] for r in (0, 2) for c in (0, 2)]
        assert all(
            sorted(part) == list("1234") for part in [*rows, *zip(*rows, strict=True), *corners]
        )


def test_the_audit_finds_it_sound():
    assert faults(audit_rewards(ReasoningEnv(tools=[]), tasks=28), 0.05) == []


@pytest.mark.parametrize("index", range(len(FAMILIES)))
def test_each_family_is_solved(index):
    env = ReasoningEnv(difficulty=3, split="heldout", tools=["calculator"])
    (turn,) = env.solve(env.tasks.task(index))

    assert paid(env, turn, index)[0] == 1.0
    assert paid(env, says("<answer>none</answer>"), index)[0] == 0.0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is <answer> 5 </answer>.", "5"),
        ("It is \\boxed{5}.", "5"),
        ("<answer>4</answer> no, <answer>5</answer>", "5"),
        ("\\boxed{4}, or rather <answer>5</answer>", "5"),
        ("<answer>4</answer>, or rather \\boxed{5}", "5"),
        ("<answer>\\boxed{5}</answer>", "5"),
        ("\\boxed{\\text{Ada, Ben}}", "Ada, Ben"),
        ("\\boxed{5\\%}", "5%"),
        ("<answer>$\\frac{1}{3}$</answer>", "$\\frac{1}{3}$"),
        ("<answer>1 2\n3 4</answer>", "1 2\n3 4"),
        ("5", None),
        ("<answer></answer>", None),
        ("\\boxed{}", None),
        ("between <answer> and \\boxed{}", None),
        ("</answer>5<answer>", None),
        ("", None),
    ],
)
def test_the_answer_stands_in_tags_or_a_box(text, answer):
    assert given_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("Ada,Ben", "Ada, Ben", True),
        ("ada, ben.", "Ada, Ben", True),
        ("Ada", "Ada, Ben", False),
        ("1  2\n3 4", "1 2\n3 4", True),
        ("1,234.0", "1234", True),
        ("+7", "7", True),
        ("1,2", "12", False),
        ("007", "7", False),
        ("٧", "7", False),
        ("0x1F", "0x1f", True),
        ('["14", "-3"]', "['14', '-3']", True),
        ("['14', '3']", "['14', '-3']", False),
        ("5 or 6", "5", False),
        ("nan", "5", False),
        ("9" * 5000, "5", False),
        ("", "5", False),
    ],
)
def test_answers_are_compared_without_marks_and_space(answer, gold, right):
    assert same(answer, gold) is right


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("(8-5)*10-6", "equal"),
        ("10 \\times (8 - 5) - 6", "equal"),
        ("10*8-5-6", "different"),
        ("24", "other_numbers"),
        ("(8-5)*10-6+0", "other_numbers"),
        ("6**8", "unreadable"),
        ("sqrt(8-5)*10-6", "unreadable"),
        ("__import__('os').getpid()", "unreadable"),
        ("(" * 9999, "unreadable"),
        ("10/(8-8)", "unreadable"),
        ("", "unreadable"),
    ],
)
def test_an_expression_is_computed_and_never_run(answer, reason):
    assert arithmetic(answer, {"numbers": [5, 6, 8, 10]}).reason == reason


def test_each_data_set_is_on_one_list():
    lists = [EXACT, SCORED, ARITHMETIC, REFUSED.keys()]

    assert sum(map(len, lists)) == len(set().union(*lists)) == 106
    assert EXACT | SCORED > GUESSABLE
    assert NOT_MADE.keys() < EXACT | SCORED


@pytest.fixture
def fake(monkeypatch) -> Iterator[dict[str, Any]]:
    """A library whose scorer gives what the test says, and whose tasks ask for a number."""
    given: dict[str, Any] = {"score": 1.0}

    class Numbers:
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"question": f"What is {index}?", "answer": str(index), "metadata": {"a": (1,)}}

        def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
            if isinstance(given["score"], Exception):
                raise given["score"]
            return given["score"]

    module = SimpleNamespace(create_dataset=lambda name, seed: Numbers())
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)
    reasoning_gym._dataset.cache_clear()
    yield given
    reasoning_gym._dataset.cache_clear()


def test_its_tasks_take_turns_and_are_held_out_by_their_question(fake):
    train = reasoning_tasks("reasoning_gym:gcd, maze")
    heldout = reasoning_tasks("reasoning_gym:gcd, maze", split="heldout", seed=5)
    tasks = [train.task(index) for index in range(100)]

    assert [task.metadata["source_dataset"] for task in tasks[:3]] == ["gcd", "maze", "gcd"]
    assert tasks[2].id == "reasoning_gym/gcd/train/0/1"
    assert [train.find(task.id) for task in tasks] == tasks
    assert not {t.prompt for t in tasks} & {heldout.task(index).prompt for index in range(100)}
    assert not GUESSABLE & set(ReasoningGymTaskSet().names)
    for other in (heldout.task(0).id, "reasoning_gym/lcm/train/0/1", "x"):
        with pytest.raises(KeyError):
            train.find(other)


def test_a_right_answer_to_them_is_paid(fake):
    env = ReasoningEnv("reasoning_gym:gcd", tools=[])
    (turn,) = env.solve(env.tasks.task(0))

    assert paid(env, turn)[0] == 1.0
    assert paid(env, says("<answer>-1</answer>"))[0] == 0.0


@pytest.mark.parametrize(
    ("score", "value"),
    [
        (1.0, 1.0), (0.99, 1.0), (0.98, 0.0), (0.0, 0.0), (math.nan, 0.0), (ValueError(), 0.0),
        (OverflowError(), 0.0), (RecursionError(), 0.0), (KeyError("x"), 0.0),
    ],
)  # fmt: skip
def test_partial_credit_is_not_paid_and_a_scorer_that_fails_decides(fake, score, value):
    fake["score"] = score

    assert judge("jugs", "[]", {"answer": "[]", "metadata": {}}).value == value


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("simple_integration", "its scorer evaluates the answer as Python"),
        ("codeio", "it runs the programs"),
        ("word_ladder", "it is a list of fixed length; expected its rows in a file"),
        ("mazes", "did you mean 'maze'"),
    ],
)
def test_what_is_not_made_is_told_why(fake, name, reason):
    with pytest.raises(UsageError, match=reason):
        ReasoningEnv(f"reasoning_gym:{name}")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UsageError, match=r"pip install 'qwq-env\[reasoning\]'"):
        ReasoningEnv("reasoning_gym")


def row(name: str, answer: Any, **metadata: Any) -> dict[str, Any]:
    return {"question": "?", "answer": answer, "metadata": {"source_dataset": name, **metadata}}


def rows_file(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


QUEENS = row("n_queens", "_ Q\nQ _", valid_answers=["_ Q\nQ _", "Q _\n_ Q"])


@pytest.mark.parametrize(
    ("stored", "answer", "reward"),
    [
        (row("gcd", "12"), "12", 1.0),
        (row("gcd", "12"), "123", 0.0),
        (row("string_insertion", "ABC"), "['A','B','C']", 0.0),
        (row("coin_flip", "0.375"), "0", 0.0),
        (QUEENS, "Q _\n_ Q", 1.0),
        (QUEENS, "Q Q\n_ _", 0.0),
        (row("puzzle24", "10*(8-5)-6", numbers=[5, 6, 8, 10]), "(8-5)*10-6", 1.0),
        (row("countdown", "8-5", numbers=[5, 8], target=3), "3", 0.0),
        ({**row("gcd", "12"), "metadata": '{"source_dataset": "gcd"}'}, "12", 1.0),
    ],
)
def test_stored_rows_are_paid_without_the_library(tmp_path, monkeypatch, stored, answer, reward):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    env = pickle.loads(pickle.dumps(ReasoningEnv(rows_file(tmp_path, stored), tools=[])))

    assert paid(env, says(f"<answer>{answer}</answer>"))[0] == reward


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (row("codeio", "1"), "codeio of reasoning_gym is refused"),
        (row("gdc", "1"), "did you mean 'gcd'"),
        (row("gcd", None), "answer: None; expected a text"),
        (row("puzzle24", "1", numbers=["x"]), "numbers"),
        (row("jugs", "[]"), "not installed"),
        ({"question": "?", "answer": "1"}, "metadata: None; expected source_dataset"),
        ({"question": "?", "answer": "1", "metadata": "[[["}, "metadata"),
        ({**row("gcd", "1"), "question": 3}, "question: 3; expected a text"),
        ({"problem": "?", "solution": "1"}, "question: None"),
    ],
)
def test_rows_that_are_none_name_the_line(tmp_path, monkeypatch, stored, named):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UsageError, match=rf"rows\.jsonl:1: .*{named}"):
        ReasoningEnv(rows_file(tmp_path, stored))


def test_a_task_of_ones_own_has_the_answer_that_it_has():
    env = ReasoningEnv(ListTaskSet([Task("t", "What?", "Lima")]), tools=[])

    assert paid(env, says("\\boxed{lima}"))[0] == 1.0
    assert paid(env, says("Lima"))[1]["reward_reasons"] == {"correct": "no_answer"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"difficulty": 4},
        {"split": "test"},
        {"tasks": "puzzle"},
        {"tasks": "reasoning_gym", "difficulty": 2},
    ],
)
def test_bad_arguments_name_themselves(arguments):
    with pytest.raises(UsageError, match=list(arguments)[-1]):
        ReasoningEnv(**arguments)


def test_the_librarys_own_scorers_are_asked_in_a_worker():
    pytest.importorskip("reasoning_gym")
    tasks = ReasoningGymTaskSet(["tower_of_hanoi", "gcd", "countdown"])
    for index in range(3):
        task = tasks.task(index)

        assert asyncio.run(reasoning_gym.grade(task, task.answer)).value == 1.0
        assert asyncio.run(reasoning_gym.grade(task, "nan")).value == 0.0
