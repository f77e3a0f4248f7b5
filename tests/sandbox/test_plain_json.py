from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.sandbox.plain_json import from_plain_json, to_plain_json

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
    back = from_plain_json(json.loads(json.dumps(to_plain_json(value))))

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
        from_plain_json(data)


def test_endless_nesting_is_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(UsageError, match="nested too deeply"):
        to_plain_json(value)
    with pytest.raises(UsageError, match="nested too deeply"):
        from_plain_json(value)


def test_an_integer_too_long_for_decimal_comes_back() -> None:
    huge = -(10**5000)

    assert from_plain_json(json.loads(json.dumps(to_plain_json(huge)))) == huge
