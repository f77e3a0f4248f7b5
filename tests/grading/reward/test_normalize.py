"""Normalisation of a group's scores, by its properties."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.grading.reward import normalize_group

# A busy machine is no failure.
relaxed = settings(deadline=None)

methods = st.sampled_from(["z", "rank"])
finite = st.floats(allow_nan=False, allow_infinity=False)
groups = st.lists(st.none() | finite, max_size=16)
mild = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=16)


@relaxed
@given(groups, methods)
def test_undecided_stays_undecided_and_counts_for_nothing(values, method):
    normalized = normalize_group(values, method)
    decided = [value for value in values if value is not None]

    assert [value is None for value in normalized] == [value is None for value in values]
    assert [v for v in normalized if v is not None] == normalize_group(decided, method)


@relaxed
@given(groups, methods)
def test_order_is_kept(values, method):
    pairs = [
        (a, b)
        for a, b in zip(values, normalize_group(values, method), strict=True)
        if a is not None
    ]

    for value, place in pairs:
        for other, place_of_other in pairs:
            assert value != other or place == place_of_other
            assert not value < other or place <= place_of_other


@relaxed
@given(mild, methods)
def test_mean_is_zero(values, method):
    assert statistics.fmean(normalize_group(values, method)) == pytest.approx(0, abs=1e-9)


@relaxed
@given(mild, methods, st.sampled_from([0.5, 1.0, 64.0]), st.integers(-99, 99))
def test_only_differences_count(values, method, scale, shift):
    moved = [value * scale + shift for value in values]

    assert normalize_group(moved, method) == pytest.approx(
        normalize_group(values, method), abs=1e-6
    )


@relaxed
@given(mild)
def test_z_has_deviation_one(values):
    deviation = statistics.pstdev(normalize_group(values))

    assert deviation == (0 if len(set(values)) == 1 else pytest.approx(1))


@relaxed
@given(groups)
def test_ranks_lie_from_minus_one_to_one(values):
    assert all(-1 <= value <= 1 for value in normalize_group(values, "rank") if value is not None)


def test_ranks_are_places_and_ties_share():
    assert normalize_group([5.0, 1e9, None, -3.0, 5.0, 7.0], "rank") == [
        -0.25,
        1,
        None,
        -1,
        -0.25,
        0.5,
    ]


@pytest.mark.parametrize("method", ["z", "rank"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [([], []), ([7.0], [0.0]), ([2.0] * 3, [0.0] * 3), ([None, 4.0], [None, 0.0])],
)
def test_nothing_to_compare(values, expected, method):
    assert normalize_group(values, method) == expected


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="finite"):
        normalize_group([float("nan"), 1.0])
    with pytest.raises(UsageError, match="method"):
        normalize_group([1.0], "softmax")
