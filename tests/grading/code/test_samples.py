"""Rows in the columns in which they are published: right answers are paid, wrong ones not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwq_env.grading.code import read_problem

SAMPLES = Path(__file__).parents[2] / "data" / "code"
ROWS = [
    pytest.param(json.loads(line), id=f"{file.stem}:{number}")
    for file in sorted(SAMPLES.glob("*.jsonl"))
    for number, line in enumerate(file.read_text().splitlines(), start=1)
]
# Functions that the rows ask for, and a program that prints, all of them wrong.
WRONG = """
class Anything:
    def __init__(self, *arguments): pass
    __call__ = __getattr__ = __init__
class Solution:
    def __getattr__(self, name): return lambda *a, **k: "wrong"
Node = Pair = Anything
twoSum = solve = widest = depth = halve = triple = shared = total = add = invert = root = None
print("wrong")
"""

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("row", ROWS)
async def test_a_published_row_pays_a_right_answer(grader, row):
    score = await grader.grade(read_problem(row), row["response"])

    assert (score.value, score.reason) == (1.0, "passed"), score


@pytest.mark.parametrize("row", ROWS)
async def test_a_published_row_pays_no_wrong_answer(grader, row):
    score = await grader.grade(read_problem(row), f"```python\n{WRONG}\n```")

    assert score.value == 0.0, score


@pytest.mark.parametrize("row", [row for row in ROWS if "humaneval" in str(row.id)])
async def test_the_whole_program_behind_its_prompt(grader, row):
    program = row["prompt"] + row["canonical_solution"]
    score = await grader.grade(read_problem(row), f"```python\n{program}\n```")

    assert score.value == 1.0, score


@pytest.mark.parametrize("row", [row for row in ROWS if "live" in str(row.id)])
async def test_the_benchmarks_own_comparison_pays_the_same(parity, row):
    assert (await parity.grade(read_problem(row), row["response"])).value == 1.0
