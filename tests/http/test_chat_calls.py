"""Tool calls from the pieces in which real servers stream them."""

from __future__ import annotations

import pytest

from qwq_env.http.chat_calls import CallCollector


def collected(*pieces, tools=("add", "now", "later")):
    collector = CallCollector(tools)
    for index, id_, name, arguments in pieces:
        function = {"name": name, "arguments": arguments}
        piece = {"index": index, "id": id_, "function": function}
        piece = {key: value for key, value in piece.items() if value is not ...}
        piece["function"] = {key: value for key, value in function.items() if value is not ...}
        collector.add(piece)
    return [tuple(call) for call in collector.calls()]


A, B = '{"a": 1}', '{"b": {"c": 2}}'
A_PARTS, B_PARTS = ('{"a"', ": 1}"), ('{"b": {"c"', ": 2}", "}")
TWO = [("c1", "add", A), ("c2", "now", B)]


@pytest.mark.parametrize("index", [0, None, ...])
@pytest.mark.parametrize("ids", [("c1", "c2"), ("", ""), (None, None), ("c1", None)])
@pytest.mark.parametrize("names", [("add", "now"), ("add", "add")])
def test_whole_calls_that_share_an_index_or_have_none(index, ids, names):
    calls = collected((index, ids[0], names[0], A), (index, ids[1], names[1], B))

    assert calls == [(ids[0] or "", names[0], A), (ids[1] or "", names[1], B)]


@pytest.mark.parametrize("index", [0, None, ...])
@pytest.mark.parametrize("again", [..., None, ""])
@pytest.mark.parametrize("other", ["now", "add"])
def test_calls_in_pieces_that_share_an_index(index, again, other):
    first = [(index, "c1", "add", ""), *((index, ..., again, part) for part in A_PARTS)]
    second = [(index, "c2", other, ""), *((index, ..., again, part) for part in B_PARTS)]

    assert collected(*first, *second) == [TWO[0], ("c2", other, B)]


@pytest.mark.parametrize("index", [0, None, ...])
@pytest.mark.parametrize("id_", ["c1", None])
def test_name_that_comes_again_with_every_piece(index, id_):
    pieces = [(index, id_, "add", part) for part in ("", *B_PARTS, "")]

    assert collected(*pieces) == [(id_ or "", "add", B)]


@pytest.mark.parametrize("name", ["add", None, ...])
def test_id_that_is_new_with_every_piece(name):
    pieces = [(0, f"c{i}", name if i else "add", part) for i, part in enumerate(B_PARTS)]

    assert collected(*pieces) == [("c0", "add", B)]


def test_pieces_of_two_calls_in_turn():
    pieces = [(1, "c2", "now", ""), (0, "c1", "add", ""), (1, ..., ..., B_PARTS[0])]
    pieces += [(0, ..., ..., part) for part in A_PARTS]
    pieces += [(1, ..., ..., part) for part in B_PARTS[1:]]

    assert collected(*pieces) == TWO


@pytest.mark.parametrize(
    ("arguments", "written"),
    [({"a": 1}, A), (None, ""), ("", ""), (..., ""), ({}, "{}"), ([2], "[2]"), (7, "7")],
)
@pytest.mark.parametrize("index", [0, None])
def test_arguments_that_are_no_text(arguments, written, index):
    assert collected((index, "c", "add", arguments)) == [("c", "add", written)]


def test_objects_of_parallel_calls():
    calls = collected((0, "", "add", {"a": 1}), (0, "", "add", {"a": 2}))

    assert calls == [("", "add", A), ("", "add", '{"a": 2}')]


def test_calls_without_arguments_by_their_ids_or_by_their_tools():
    assert [name for _, name, _ in collected((0, "c1", "now", ""), (0, "c2", "later", ""))] == [
        "now", "later"
    ]  # fmt: skip
    assert [name for _, name, _ in collected((0, "", "now", ""), (0, "", "later", ""))] == [
        "now", "later"
    ]  # fmt: skip


@pytest.mark.parametrize("parts", [("get_", "weather"), ("get_", "get_weather")])
def test_name_in_pieces(parts):
    pieces = [(0, "c", part, "") for part in parts]

    assert collected(*pieces, (0, ..., ..., A), tools=["get_weather"]) == [("c", "get_weather", A)]


def test_call_that_is_sent_once_more_as_a_whole():
    assert collected((0, "c", "add", A), (0, "c", "add", A)) == [("c", "add", A)]


def test_empty_object_before_the_arguments():
    pieces = [(0, "c", "add", "{}"), *((0, ..., ..., part) for part in A_PARTS)]

    assert collected(*pieces) == [("c", "add", A)]


def test_doubly_encoded_calls_that_share_an_index():
    twice = '"{\\"a\\": 1}"'

    assert collected((0, "", "add", twice), (0, "", "now", B))[0] == ("", "add", twice)


def test_malformed_call_before_another_tool():
    calls = collected((0, "c1", "add", '{"a": '), (0, "c2", "now", B))

    assert calls == [("c1", "add", '{"a": '), ("c2", "now", B)]


def test_call_without_the_wrapper():
    collector = CallCollector()
    collector.add({"name": "add", "arguments": {"a": 1}})

    assert collector.calls() == (("", "add", A),)


@pytest.mark.parametrize("index", ["0", 0.0])
def test_index_of_another_kind(index):
    assert collected((index, "c1", "add", A_PARTS[0]), (0, ..., ..., A_PARTS[1])) == TWO[:1]


def test_ids_that_are_numbers():
    assert collected((0, 0, "add", A), (1, 17, "now", B)) == [("0", "add", A), ("17", "now", B)]


@pytest.mark.parametrize("index", ["first", {}, float("nan")])
def test_index_that_is_none(index):
    assert collected((index, "c1", "add", A_PARTS[0]), (index, ..., ..., A_PARTS[1])) == TWO[:1]
