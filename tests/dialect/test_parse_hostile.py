"""No text makes a parser raise, lose its own words, or take its time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.turn import MAX_REQUESTS

PARTS = [
    "<think>", "</think>", "</THINK>", "<tool_call>", "</tool_call>", '{"name": "a"}', '{"name": "',
    '"', "{", "[", "\\", "\n", "<search>", "</search>", "<answer>", "</answer>", "```python\n",
    "```\n", "```", "<code>", "</code>", "\nAction: a", "\nAction Input: ", "{}", "\nObservation:",
    "\nFinal Answer:", "\nThought: ", "<|im_end|>", "\ud800", "\x00", " ", "x", "1e999",
]  # fmt: skip
REPEATED = [
    '<tool_call>{"name": "', '<tool_call>{"a": [', "<tool_call>\n\n", "<search>" + " " * 50, "* ",
    "\t", "\n ```", "<code>```python\n", "\nAction: x\nAction Input: {",
    '\nAction: a\nAction Input: {"a": "',
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=12).map("".join)
ANY = HOSTILE | st.text(st.characters(), max_size=30)


@pytest.mark.parametrize("name", dialect_names())
@given(text=ANY)
def test_any_text_is_read(name: str, text: str) -> None:
    turn = make_dialect(name).parse(text)

    assert turn.text == text
    assert 0 <= turn.thinking_end <= len(text)
    assert len(turn.requests) <= MAX_REQUESTS + 1
    assert all(error.message and error.kind for error in turn.errors)


@pytest.mark.parametrize("part", [*PARTS, *REPEATED])
@pytest.mark.parametrize("name", dialect_names())
def test_time_grows_with_the_text_only(name: str, part: str) -> None:
    def seconds(size: int) -> float:
        text = part * (size // len(part))
        start = time.process_time()
        make_dialect(name).parse(text)
        return time.process_time() - start

    size = 1 << 14
    while size < 1 << 17 and seconds(size) < 0.004:
        size *= 2
    # Quadratic would be 64 times as long; the constant is for what the clock cannot tell apart.
    allowed = 24 * min(seconds(size) for _ in range(3)) + 0.05
    assert any(seconds(8 * size) < allowed for _ in range(3))
