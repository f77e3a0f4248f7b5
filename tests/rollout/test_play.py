"""Where the thinking of a sampled turn ends, in token ids: where the parser says that it does."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.rollout.play import tokens_of_prefix

FRAGMENTS = (
    "</think>", "<think>", "<tool_call>", "</tool_call>", "<|im_end|>",
    '{"name": "x", "arguments": {"code": "', '"}}', "Action: x\nAction Input: {}\n",
    "\nFinal Answer: 4", "<search>", "</search>", "<answer>", "\n```python\n", "\n```\n",
    "a", "é🙂", "\n",
)  # fmt: skip
PRINTED_IN_A_CALL = ["</think>", "<tool_call>", *FRAGMENTS[5:6], "</think>", '"}}', "</tool_call>"]


def ids_of(codec, written: list[tuple[str, bool]]) -> list[int]:
    """Return ids for fragments; a flag says that a control token is spelled in letters."""
    ids: list[int] = []
    for text, spelled in written:
        control = None if spelled else codec.control_ids.get(text)
        ids += codec.encode(text) if control is None else [control]
    return ids


@settings(deadline=None)
@given(
    st.sampled_from(dialect_names()),
    st.lists(st.tuples(st.sampled_from(FRAGMENTS), st.booleans()), max_size=12),
    st.integers(0, 3),
)
@example("qwq", [(text, False) for text in PRINTED_IN_A_CALL], 0)
@example("react", [("</think>", False), ("\nFinal Answer: 4", False), ("</think>", False)], 0)
def test_the_thinking_ends_where_the_parser_says(codec, name, written, dropped):
    # A policy may stop in the middle of a character.
    ids = ids_of(codec, written)
    ids = ids[: max(0, len(ids) - dropped)]
    turn = make_dialect(name).parse(codec.decode(ids))
    count = tokens_of_prefix(codec, ids, turn.text, turn.thinking_end)

    assert len(codec.decode(ids[:count])) >= turn.thinking_end
    assert count == 0 or len(codec.decode(ids[: count - 1])) < turn.thinking_end


@pytest.mark.parametrize(
    ("written", "thinking"),
    [
        (["hm", "</think>", "4"], ["hm", "</think>"]),
        (["hm", "</think>", "or", "</think>", "4"], ["hm", "</think>", "or", "</think>"]),
        (PRINTED_IN_A_CALL, ["</think>"]),
        (["4"], ["4"]),
    ],
)
def test_the_ids_of_the_thinking(codec, written, thinking):
    ids = ids_of(codec, [(text, False) for text in written])
    turn = make_dialect("qwq").parse(codec.decode(ids))

    assert tokens_of_prefix(codec, ids, turn.text, turn.thinking_end) == len(
        ids_of(codec, [(text, False) for text in thinking])
    )


def test_many_closings_cost_few_decodings(codec):
    class Counting:
        control_ids = codec.control_ids
        decodings = 0

        def decode(self, ids):
            self.decodings += 1
            return codec.decode(ids)

    counting = Counting()
    ids = ids_of(codec, [("</think>", False)] * 4096)
    text = "</think>" * 4096

    assert tokens_of_prefix(counting, ids, text, len(text)) == 4096
    assert tokens_of_prefix(counting, ids, text, len("</think>") * 7 + 1) == 8
    assert counting.decodings < 60
