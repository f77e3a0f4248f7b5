"""Good calls beside bad ones, in any order: each good one is read, each bad one has its kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.dialect import make_dialect
from qwq_env.turn import ToolCall, Turn

MARKUP = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", "Action: a", "\nAction: a", "\nThought:",
    "\nAction Input: {}", "\nObservation: 3", "```", "\n```\n", '"', "\\", "{", "}", "x", "é",
    "<|im_end|>", "<search>", "</search>", "<code>", "</code>",
]  # fmt: skip
STRINGS = st.lists(st.sampled_from(MARKUP), max_size=5).map("".join)
CALLS = st.tuples(
    st.text("abc_", min_size=1), st.dictionaries(STRINGS, STRINGS | st.integers(), max_size=2)
)
Part = tuple[str, Any]
"""What a model wrote, and what is to be read in it."""


def hermes(call: tuple[str, Any]) -> Part:
    name, arguments = call
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>", call


def action(call: tuple[str, Any]) -> Part:
    name, arguments = call
    return f"Action: {name}\nAction Input: {json.dumps(arguments, ensure_ascii=False)}", call


def fenced_action(call: tuple[str, Any]) -> Part:
    name, arguments = call
    return f"Action: {name}\nAction Input:\n```json\n{json.dumps(arguments)}\n```", call


def program(code: str) -> Part:
    return f"```python\n{code}\n```", ("python", {"code": code})


PROSE: list[Part] = [("so", None), ("", None), ("a < b", None)]
PARTS: dict[str, st.SearchStrategy[Part]] = {
    "qwq": CALLS.map(hermes)
    | st.sampled_from(
        [
            *PROSE,
            ("<tool_call>{oops</tool_call>", "malformed_json"),
            ("<tool_call>[1]</tool_call>", "malformed_json"),
            ('<tool_call>{"arguments": {}}</tool_call>', "missing_name"),
            ('<tool_call>{"name": "a", "args": {}}</tool_call>', "unexpected_key"),
            ("<tool_call>{", "unclosed_tag"),
            ('<tool_call>{"name": "a"}', "unclosed_tag"),
        ]
    ),
    "react": CALLS.map(action)
    | CALLS.map(fenced_action)
    | st.sampled_from(
        [
            *PROSE,
            ("Thought: so", None),
            ("Action: a", "missing_input"),
            ("Action:\nAction Input: {}", "missing_name"),
            ("Action: a\nAction Input: {oops", "malformed_json"),
            ("Action: a\nAction Input: 1 + 1", "malformed_json"),
            ("Action: a\nAction Input:\n```json\n{oops\n```", "malformed_json"),
            ("Action: a\nAction Input:\n```json\n{oops", "malformed_json"),
        ]
    ),
    "tags": st.sampled_from(
        [
            *PROSE,
            ("<search>x\ny</search>", ("search", {"query": "x\ny"})),
            ("<search>a < b</search>", ("search", {"query": "a < b"})),
            ("<search> </search>", "empty_call"),
            ("<search>x", "unclosed_tag"),
        ]
    ),
    "fenced": st.sampled_from(
        [
            *PROSE,
            program("print(1)"),
            program("print('</think>')"),
            program("x = '''\n</code>\n<code>'''"),
            ("<code>\n```python\nprint(2)\n```\n</code>", ("python", {"code": "print(2)"})),
            ("<code>print(3)</code>", ("python", {"code": "print(3)"})),
            ("```python\n\n```", "empty_call"),
            ("```python\nprint(4)", "unclosed_tag"),
            ("It goes into a <code> tag.", "unclosed_tag"),
        ]
    ),
}


def read(turn: Turn) -> list[Any]:
    return [(r.name, r.arguments) if isinstance(r, ToolCall) else r.kind for r in turn.requests]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("before", ["I think.\n</think>\n\n", "<think>Hm</think>", "So: "])
@given(data=st.data())
def test_good_calls_are_read_beside_bad_ones_in_order(
    name: str, before: str, data: st.DataObject
) -> None:
    parts = data.draw(st.lists(PARTS[name], max_size=5))
    text = "\n".join([before, *(written for written, _ in parts)])

    assert read(make_dialect(name).parse(text)) == [found for _, found in parts if found]
