"""What `QwqDialect.parse` reads in a turn, well-formed and not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.dialect import make_dialect
from qwq_env.dialect.base import text_of
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.turn import MAX_REQUESTS, MalformedCall, ToolCall, Turn

ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
SUB = '<tool_call>{"name": "sub"}</tool_call>'


def parse(text: str) -> Turn:
    return QwqDialect().parse(text)


def read(turn: Turn) -> list[str]:
    """Name each request: a call by its tool, a broken one by its kind."""
    return [r.name if isinstance(r, ToolCall) else r.kind for r in turn.requests]


def test_a_turn_with_a_call() -> None:
    turn = parse(f"I add.\n</think>\n\nLet me see.\n{ADD}<|im_end|>")

    assert (turn.thinking, turn.answer, turn.closed) == ("I add.", "Let me see.", True)
    assert turn.text[: turn.thinking_end] == "I add.\n</think>"
    (call,) = turn.calls
    assert (call.name, call.arguments) == ("add", {"a": 1})


A, B = '{"name": "a", "arguments": {"s": "</tool_call>"}}', '{"name": "b"}'


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (f"{A}{B}", ["a", "b", "several_calls"]),
        (f"\n{A}\n{B}\n", ["a", "b", "several_calls"]),
        (f"{A}, {B}", ["a", "b", "several_calls"]),
        (f"[{A}, {B}]", ["a", "b", "several_calls"]),
        (f"[{A}]", ["a", "several_calls"]),
        (f'[{A}, {{"name": 3}}, {B}]', ["a", "missing_name", "b", "several_calls"]),
        (f"{A}{{oops", ["a", "malformed_json", "several_calls"]),
        (f'{B}{{"name": "a", "arguments": [}}', ["b", "malformed_json", "several_calls"]),
        (f"{B}}}", ["malformed_json"]),
        (f"{B} and so on", ["malformed_json"]),
        ("[]", ["malformed_json"]),
        ("[1, 2]", ["malformed_json"]),
        ('{"x": 1}{"y": 2}', ["malformed_json"]),
    ],
)
def test_several_calls_in_one_block_are_read_and_the_model_is_told(
    block: str, expected: list[str]
) -> None:
    turn = parse(f"</think><tool_call>{block}</tool_call>{SUB}<|im_end|>")

    assert read(turn) == [*expected, "sub"]
    assert turn.answer == ""
    assert all("one call a tag" in e.message for e in turn.errors if e.kind == "several_calls")


def test_calls_in_one_block_are_bounded_as_all_are() -> None:
    for block in (f"[{', '.join([B] * 10_000)}]", B * 10_000):
        turn = parse(f"</think><tool_call>{block}</tool_call>{SUB}")

        assert len(turn.requests) <= MAX_REQUESTS + 1


def test_a_final_turn() -> None:
    turn = parse("x</think>\n\n\\boxed{4}")

    assert (turn.answer, turn.requests, turn.closed) == ("\\boxed{4}", (), False)


@pytest.mark.parametrize(
    "text", ["\\boxed{4}", "so \\boxed{4}\n", "<think>so \\boxed{4}", "", " \n"]
)
@pytest.mark.parametrize("end", ["", "<|im_end|>", "<|endoftext|>"])
def test_a_final_turn_that_never_closes_the_thinking_has_no_answer(text: str, end: str) -> None:
    turn = parse(text + end)

    assert turn.unclosed_thinking
    assert (turn.answer, turn.thinking_end, turn.closed) == ("", len(text), bool(end))
    assert turn.thinking == text.removeprefix("<think>").strip("\n")


@pytest.mark.parametrize(
    "text", [f"so {ADD}", f'<tool_call>{{"name": "</think>"}}</tool_call>{ADD}']
)
def test_calls_are_made_all_the_same(text: str) -> None:
    turn = parse(text)

    assert turn.calls and not turn.unclosed_thinking


@pytest.mark.parametrize("dialect", ["qwq-direct", "react", "tags", "fenced"])
def test_where_no_thinking_is_needed_the_text_is_the_answer(dialect: str) -> None:
    turn = make_dialect(dialect).parse("\\boxed{4}<|im_end|>")

    assert (turn.answer, turn.unclosed_thinking) == ("\\boxed{4}", False)
    assert make_dialect("qwq-direct").parse("<think>so \\boxed{4}").unclosed_thinking


def test_a_message_of_a_chat_server_is_an_answer() -> None:
    assert QwqDialect().parse_message("\\boxed{4}").answer == "\\boxed{4}"
    assert QwqDialect().parse_message("so\n</think>\n\n\\boxed{4}").answer == "\\boxed{4}"
    assert QwqDialect().parse_message("<think>so \\boxed{4}").unclosed_thinking


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ADD}\n{SUB}", ["add", "sub"]),
        (f"<tool_call>{{oops</tool_call>{ADD}", ["malformed_json", "add"]),
        (f"{ADD}<tool_call>[1]</tool_call>{SUB}", ["add", "malformed_json", "sub"]),
        (f"<tool_call></tool_call>{SUB}", ["malformed_json", "sub"]),
        ('<tool_call>{"arguments": {}}</tool_call>', ["missing_name"]),
        ('<tool_call>{"name": 3}</tool_call>', ["missing_name"]),
        ('<tool_call>{"name": "a", "args": {}}</tool_call>', ["unexpected_key"]),
        ('<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', ["malformed_json"]),
        ('<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>', ["malformed_json"]),
        (f"<tool_call>{'[' * 100_000}</tool_call>{SUB}", ["malformed_json", "sub"]),
        (f"<tool_call>{{{ADD}", ["unclosed_tag", "add"]),
        (f'{ADD}<tool_call>{{"name": "b"}}', ["add", "unclosed_tag"]),
        ('{"name": "a"}</tool_call>', ["unopened_tag"]),
        (f"<think>so {ADD}", ["unclosed_thinking"]),
        ("<think>so", []),
        (f"<think>sketch {SUB}</think>{ADD}", ["add"]),
        (f"sketch {SUB}</think>{ADD}", ["add"]),
        (f"a</think>{SUB}<think>b</think>{ADD}", ["add"]),
        (f"broken <tool_call>{{ </think>{ADD}", ["add"]),
        (SUB * 129, ["sub"] * 128 + ["too_many_calls"]),
    ],
)
def test_requests(text: str, expected: list[str]) -> None:
    assert read(parse(text)) == expected
    assert read(parse(f"{text}<|im_end|>")) == expected


@pytest.mark.parametrize("before", ["", "I think.</think>", "<think>I think</think>\n"])
@pytest.mark.parametrize(
    "inside",
    [
        "</think>", "</tool_call>", "<tool_call>", "<think>", "<tool_call></think>",
        "<tool_call></tool_call><tool_call></think>",
    ],
)  # fmt: skip
def test_markup_inside_a_string_is_text(before: str, inside: str) -> None:
    code = f"print('{inside}')"
    call = json.dumps({"name": "python", "arguments": {"code": code}})
    turn = parse(f"{before}{SUB}<tool_call>{call}</tool_call>{ADD}<|im_end|>")

    assert [request.arguments for request in turn.calls] == [{}, {"code": code}, {"a": 1}]
    assert turn.errors == ()


def test_newlines_in_strings_and_double_encoding_are_forgiven() -> None:
    newline = parse('<tool_call>{"name": "a", "arguments": {"c": "x\ny"}}</tool_call>')
    twice = parse('<tool_call>{"name": "a", "arguments": "{\\"c\\": 1}"}</tool_call>')

    assert newline.calls[0].arguments == {"c": "x\ny"}
    assert twice.calls[0].arguments == {"c": 1}


def test_each_error_says_what_to_write() -> None:
    for text in ("<tool_call>{", "<tool_call>{]</tool_call>", "<tool_call>{}</tool_call>"):
        (error,) = parse(text).errors

        assert isinstance(error, MalformedCall)
        assert "tool_call" in error.message or '"name"' in error.message


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries(
    {
        "name": st.text("abcdefghij_", min_size=1),
        "arguments": st.dictionaries(st.text(), JSON, max_size=3),
    }
)


@given(calls=st.lists(CALLS, min_size=1, max_size=4))
def test_rendered_calls_are_read_back(calls: list[dict[str, Any]]) -> None:
    messages = [{"role": "assistant", "content": "<think>\nx\n</think>\n\ny", "tool_calls": calls}]
    rendered = text_of(QwqDialect().render(messages, add_generation_prompt=False))
    turn = parse(rendered.removeprefix("<|im_start|>assistant\n").removesuffix("\n"))

    assert [{"name": c.name, "arguments": c.arguments} for c in turn.calls] == calls
    assert (turn.thinking, turn.answer, turn.errors, turn.closed) == ("x", "y", (), True)
