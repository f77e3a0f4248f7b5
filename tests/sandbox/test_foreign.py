"""JSON of strangers: read as `json.loads` reads it, in short steps, and refused where it costs."""

import asyncio
import gc
import json
import time
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qwq_env.sandbox.collector import no_full_collections
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


@given(_json, st.booleans(), st.sampled_from([None, 1]))
def test_in_small_steps_it_reads_what_json_reads(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")

    assert repr(read(text, short=-1, stretch=80).value) == repr(json.loads(text))


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


@contextmanager
def full_collections():
    """The list grows by one for each search of all objects in the body."""
    found = []

    def note(phase, about):
        if phase == "start" and about["generation"] == 2:
            found.append(about)

    gc.collect()
    gc.freeze()
    gc.collect()  # it counts that there is nothing old, so whatever grows is soon a quarter more
    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


LISTS = b"[" + b"[]," * 150_000 + b"0]"


@pytest.mark.parametrize("text", [LISTS, LISTS[:-1] + b"}", b"[" + LISTS * 2])
def test_what_is_read_is_not_searched_for_garbage_over_and_over(text):
    thresholds = gc.get_threshold()
    with full_collections() as plain:
        outcome(lambda: json.loads(LISTS))
    with full_collections() as found:
        outcome(lambda: read(text))

    assert plain
    assert not found
    assert gc.get_threshold() == thresholds


def test_the_collector_is_given_back_by_the_last_and_keeps_what_others_set():
    thresholds = gc.get_threshold()
    try:
        with no_full_collections():
            with no_full_collections():
                pass
            assert gc.get_threshold()[2] > 1_000_000
        assert gc.get_threshold() == thresholds
        with no_full_collections():
            gc.set_threshold(500, 5, 5)
        assert gc.get_threshold() == (500, 5, 5)
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize("end", [b"}", b",", b'"', b"]]]"])
def test_what_is_refused_in_the_end_was_freed_in_short_steps(end):
    reader = Reader(as_it_is)
    longest = 0.0

    async def main():
        nonlocal longest
        reading = asyncio.ensure_future(reader.read(b"[" + LISTS[:-1] + end, MOST))
        while not reading.done():
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)
        with pytest.raises(ValueError):
            await reading

    asyncio.run(main())

    assert longest < 0.03
