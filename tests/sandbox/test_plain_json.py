from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.sandbox.collect import TooCostly
from qwq_env.sandbox.plain_json import build, to_plain_json, writing

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=8,
)
plain = st.recursive(
    hashable | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(hashable | st.sampled_from(["$int", "$x"]), inner, max_size=3)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=12,
)


def types_of(value: Any) -> Any:
    """The types all the way down: `True == 1` must not hide a change of type."""
    if isinstance(value, dict):
        return [(types_of(key), types_of(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [type(value), *map(types_of, value)]
    return type(value)


@given(plain)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    for text in (json.dumps(to_plain_json(value)), "".join(writing(value))):
        back = json.loads(text, object_hook=build)

        assert back == value
        assert types_of(back) == types_of(value)


def test_what_json_has_is_written_as_itself() -> None:
    assert to_plain_json({"a": [1, "x", None, True]}) == {"a": [1, "x", None, True]}


@pytest.mark.parametrize("value", [object(), 1j, type("S", (str,), {})("x"), [range(3)]])
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="not plain data"):
        to_plain_json(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$what": 1},
        {"$int": 5},
        {"$int": "zz"},
        {"$float": "1"},
        {"$bytes": "*"},
        {"$set": [[]]},
        {"$set": "ab"},
        {"$dict": [[1]]},
        {"$dict": 3},
    ],
)
def test_what_was_never_written_is_refused(data: Any) -> None:
    with pytest.raises(UsageError):
        json.loads(json.dumps(data), object_hook=build)


def test_endless_nesting_is_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(UsageError, match="nested too deeply"):
        to_plain_json(value)


def test_an_integer_too_long_for_decimal_comes_back() -> None:
    huge = -(10**5000)

    assert json.loads(json.dumps(to_plain_json(huge)), object_hook=build) == huge


@pytest.mark.parametrize(
    "value",
    [
        [*range(5000)],
        [[i, (i,)] for i in range(3000)],
        "\u00e9\U0001f600\ud800" * 50_000,
        [1.5, float("inf"), 10**400] * 1000,
        {i: {str(i): None} for i in range(3000)},
        {(i, -i) for i in range(3000)},
        {"a": {}, "b": [], "$c": ()},
    ],
)
def test_what_is_large_is_written_in_pieces(value: Any) -> None:
    pieces = list(writing(value))

    assert json.loads("".join(pieces)) == json.loads(json.dumps(to_plain_json(value)))
    assert max(map(len, pieces)) < 1_000_000


@pytest.mark.parametrize("tag", ["$set", "$frozenset", "$dict"])
def test_members_of_one_hash_are_refused(tag: str) -> None:
    members = [i * (2**61 - 1) for i in range(5000)]
    text = json.dumps({tag: [[member, 0] for member in members] if tag == "$dict" else members})

    with pytest.raises(TooCostly):
        json.loads(text, object_hook=build)
