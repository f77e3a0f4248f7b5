"""Turns and intervals of the benchmarks."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest

ROUNDS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "_rounds.py"))
alternate, spread = ROUNDS["alternate"], ROUNDS["spread"]


def test_the_order_is_reversed_each_other_round():
    order = []
    sides = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}

    assert alternate(sides, 3) == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}
    assert "".join(order) == "abccbaabc"


def test_the_interval_is_about_the_median_and_the_same_each_time():
    values = [random.Random(i).gauss(10, 1) for i in range(400)]
    found = spread(values)

    assert found == spread(values)
    assert found["low"] < found["median"] < found["high"]
    # 1.253 · σ / √n is the median's standard error.
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 1.253 / 400**0.5, rel=0.4)


def test_the_interval_holds_the_true_median_about_as_often_as_it_says():
    draw = random.Random(1)
    held = 0
    for _ in range(25):
        found = spread([draw.expovariate(1) for _ in range(15)])
        held += found["low"] <= 0.6931 <= found["high"]

    assert held >= 21


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [1, 2, 9]])
def test_few_values(values):
    found = spread(values)

    assert min(values) == found["low"]
    assert max(values) == found["high"]
    assert list(found) == ["median", "low", "high"]
