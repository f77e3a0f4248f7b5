"""Plain data: what goes through comes out equal and of exactly the same types; lies are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.sandbox import plain

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
_hashable = _scalars | st.tuples(_scalars, _scalars) | st.frozensets(_scalars, max_size=3)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(_hashable, inner, max_size=4)
        | st.sets(_hashable, max_size=4)
        | st.frozensets(_hashable, max_size=4)
    ),
    max_leaves=20,
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("tsfdbix"), inner, max_size=2)
    ),
)


def shape(value):
    """The value with every type spelt out, so that True and 1 differ."""
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, map(shape, value)))
    if isinstance(value, dict):
        return dict, [(shape(key), shape(item)) for key, item in value.items()]
    return type(value), value


@given(_values)
def test_plain_data_arrives_with_its_types(value):
    arrived = plain.decode(json.loads(json.dumps(plain.encode(value))))

    assert shape(arrived) == shape(value)


@given(_json)
def test_a_lie_is_refused_or_plain(data):
    try:
        value = plain.decode(data)
    except plain.NotPlain:
        return

    json.dumps(plain.encode(value))


class Impostor(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("value", [Impostor(), [Impostor()], object(), {1: print}, 1j])
def test_what_is_not_plain_does_not_travel(value):
    with pytest.raises(plain.NotPlain):
        plain.encode(value)


def test_a_value_that_holds_itself_does_not_travel():
    value = []
    value.append(value)

    with pytest.raises(plain.NotPlain):
        plain.encode(value)


def test_huge_integers_travel():
    assert plain.decode(json.loads(json.dumps(plain.encode(7**9000)))) == 7**9000
