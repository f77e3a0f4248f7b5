"""Plain data: what goes through comes out equal and of exactly the same types; lies are refused."""

import gc
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.sandbox import plain
from qwq_env.sandbox.collect import TooCostly

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
    for text in (json.dumps(plain.encode(value)), "".join(plain.writing(value))):
        assert shape(json.loads(text, object_hook=plain.build)) == shape(value)


@given(_json)
def test_a_lie_is_refused_or_plain(data):
    try:
        value = json.loads(json.dumps(data), object_hook=plain.build)
    except (plain.NotPlain, TooCostly):
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
    with pytest.raises(plain.NotPlain):
        "".join(plain.writing(value))


def test_a_value_that_holds_itself_does_not_travel():
    value = []
    value.append(value)

    with pytest.raises(plain.NotPlain):
        plain.encode(value)
    with pytest.raises(plain.NotPlain):
        "".join(plain.writing(value))


@pytest.mark.parametrize(
    "value",
    [7**9000, -(10**4305), (1 << (1 << 22)) - 1, -(1 << 1025)],
    ids=["power", "just beyond decimal", "longest", "negative"],
)
def test_huge_integers_travel(value):
    assert json.loads(json.dumps(plain.encode(value)), object_hook=plain.build) == value


def test_an_integer_beyond_all_measure_does_not_travel():
    with pytest.raises(plain.NotPlain, match="bits"):
        plain.encode(1 << (1 << 22))


P = 2**61 - 1
"""The hashes of numbers are their rests by this prime, the same in every process."""


@pytest.mark.parametrize(
    "members",
    [
        [i * P for i in range(5000)],
        [{"t": [i * P]} for i in range(5000)],
        [{"f": [i * P, 1]} for i in range(5000)],
        [{"t": [i * P, {"t": [-i * P]}]} for i in range(5000)],
        [*range(100_000), *(i * P for i in range(1, 5000))],
        [7] * 5000,
        # Long ones, which are compared to their last digit.
        [plain.encode((1 << 400_000) + i * P) for i in range(41)],
        # Sets in sets, of which each has to be looked for in each.
        [
            {"f": [{"f": [{"f": [a * P, b * P]} for b in range(40)]}, c]}
            for a in range(9)
            for c in (0, P)
        ],
    ],
)
@pytest.mark.parametrize("tag", ["s", "f", "d"])
def test_members_of_one_hash_are_refused_in_no_time(members, tag):
    text = json.dumps({tag: [[member, 0] for member in members] if tag == "d" else members})
    gc.freeze()  # what the tests before left is not searched for garbage on this one's account
    began = time.thread_time()

    with pytest.raises(TooCostly, match="of one hash"):
        json.loads(text, object_hook=plain.build)
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "value",
    [
        {(x, y) for x in range(-100, 100) for y in range(-100, 100)},
        {(x, y, z): 0 for x in range(-9, 9) for y in range(-9, 9) for z in range(-9, 9)},
        {frozenset({x, y}) for x in range(-20, 20) for y in range(-20, 20)},
        {-1, -2, 0, P, -P, "", 2 * P},
        {float(i) for i in range(-1000, 1000)} | {2.0**i for i in range(1000)},
    ],
)
def test_members_that_happen_to_share_a_hash_travel(value):
    assert json.loads(json.dumps(plain.encode(value)), object_hook=plain.build) == value
