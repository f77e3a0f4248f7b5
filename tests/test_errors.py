"""What an error shows of a foreign value: its beginning, at once, whatever the value is."""

from __future__ import annotations

import time

import pytest

from qwq_env.errors import brief, did_you_mean, unknown


def shared(levels: int) -> list:
    """Return ten to the power of `levels` items, by sharing."""
    value: list = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


class Rude:
    def __repr__(self) -> str:
        raise SystemError("no")


HUGE = [
    shared(30), nested(100_000), "x" * 10**7, b"x" * 10**7, list(range(10**6)),
    {i: i for i in range(10**6)}, {str(i) for i in range(10**5)}, 10**100_000, Rude(),
    [{"a": "y" * 10**6}], -(10**100_000),
]  # fmt: skip


@pytest.mark.parametrize("value", HUGE, ids=lambda value: type(value).__name__)
def test_the_cost_does_not_grow_with_the_value(value):
    began = time.process_time()
    text = brief(value)

    assert len(text) <= 80
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("value", ["a'b", "x" * 60, [1, "a"], {"a": None}, 1.5, True, (1,), b"z"])
def test_a_short_value_is_shown_as_it_is(value):
    assert brief(value) == repr(value)


def test_a_terminal_obeys_nothing_of_it():
    assert brief("\x1b]0;t\x07\u202e") == r"'\x1b]0;t\x07\u202e'"


def test_a_name_without_end_is_looked_up_by_its_beginning():
    error = unknown("tool", "x" * 10**7, ["python"])

    assert len(str(error)) < 200
    assert did_you_mean("pyhton" + "n" * 10**7, ["python"]) == ""
    assert "(did you mean 'python'?)" in str(unknown("tool", "pyhton", ["python"]))
