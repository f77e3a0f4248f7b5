"""Means of categories: LiveBench's own average, and how sure it is."""

from __future__ import annotations

import pytest

from qwq_env.evaluation.statistics import balanced_mean, clustered_mean, paired_difference

VALUES = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
TASKS = list("abcdefgh")
GROUPS = ["math/a", "math/a", "math/b", "math/b", "talk/c", "talk/c", "talk/c", "talk/c"]


def test_categories_count_alike_whatever_their_size():
    found = balanced_mean(VALUES, TASKS, GROUPS)

    assert found.value == pytest.approx(((0.5 + 1.0) / 2 + 0.25) / 2)
    first, last = clustered_mean([1, 0], ["a", "b"]), clustered_mean([0, 0, 0, 1], list("efgh"))
    assert found.error == pytest.approx(((first.error / 4) ** 2 + (last.error / 2) ** 2) ** 0.5)


def test_of_one_group_it_is_the_mean():
    assert balanced_mean(VALUES, TASKS, ["x"] * 8) == clustered_mean(VALUES, TASKS)
    assert balanced_mean(VALUES, TASKS, [*GROUPS[:-1], "rare"]).error is None
    assert balanced_mean([], [], []) is None


def test_a_difference_is_that_of_the_balanced_means():
    groups = dict(zip(TASKS, GROUPS, strict=True))
    second = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    sides = [{t: [v] for t, v in zip(TASKS, side, strict=True)} for side in (VALUES, second)]

    found = paired_difference(*sides, groups=groups)
    means = [balanced_mean(side, TASKS, GROUPS).value for side in (VALUES, second)]
    assert found.value == pytest.approx(means[1] - means[0])
    assert (len(found.gained), len(found.lost)) == (2, 1)
