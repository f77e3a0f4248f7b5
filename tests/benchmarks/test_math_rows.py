"""The rows that math graders are measured on: new ones each round, and labelled right."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from qwq_env.grading.math.judge import judge_fully
from qwq_env.grading.math.response import reference_answer, response_answer

ROWS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "_math_rows.py"))
rows, KINDS = ROWS["rows"], ROWS["KINDS"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_round_has_other_rows_a_third_of_them_wrong(kind):
    first, second = rows(kind, 1, 300), rows(kind, 2, 300)

    assert first == rows(kind, 1, 300)
    assert not set(first) & set(second)
    assert 60 < sum(not row.right for row in first) < 140


@pytest.mark.parametrize("kind", KINDS)
def test_the_labels_are_right(kind):
    for row in rows(kind, 0, 2 * len(KINDS[kind])):
        answer = response_answer(row.response, "response")
        score = judge_fully(reference_answer(row.gold), answer)

        assert (score.value == 1.0) is row.right, row
