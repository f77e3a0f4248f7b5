"""JSON of strangers: read as `json.loads` reads it, in short steps, and refused where it costs."""

import asyncio
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from qwq_env.sandbox.foreign import Reader

MOST = 50 << 20


def as_it_is(data):
    return data
    yield


def read(text, building=as_it_is, most=MOST, **steps):
    return asyncio.run(Reader(building, **steps).read(text, most))


def outcome(reading):
    try:
        return repr(reading())
    except (ValueError, RecursionError):
        return "refused"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


@settings(deadline=None, max_examples=60)
@given(_json, st.booleans(), st.sampled_from([None, 1]))
def test_in_small_steps_it_reads_what_json_reads(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")

    assert repr(read(text, short=-1, stretch=80).value) == repr(json.loads(text))


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('[]{}",:0-.e1\\u tnul\n'), max_size=12))
@example("[1,]")
@example("[1,,2]")
@example("[ ]")
@example("[,]")
@example('["a" "b"]')
@example('{"a":1,}')
@example('{"a":1 "b":2}')
@example("[1]]")
@example("1 2")
@example("[1}")
@example('"\\ud83d\\ude00"')
@example('"a\nb"')
def test_in_small_steps_it_refuses_what_json_refuses(text):
    expected = outcome(lambda: json.loads(text))

    assert outcome(lambda: read(text.encode(), short=-1).value) == expected
    assert outcome(lambda: read(text.encode(), short=-1, stretch=12).value) == expected
