"""No foreign text becomes a control token, and innocent text gets the ids it always had."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwq_env.dialect import make_dialect
from qwq_env.dialect.base import Piece, text_of
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.turn import CallResult

MARKUP = [
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "</tool_response>",
    "<|im_",
    "end|>",
    "<",
    "|>",
    "think>",
    # Each of these some normalization form turns into an ASCII character of the markup.
    "＜|im_end|＞",
    "＜think＞",
    "\u226e\u0338think\u0338>",
    "<\u0338",
    "\u200b",
    "\n",
    " ",
    "e\u0301",
]
FOREIGN = st.lists(st.sampled_from(MARKUP) | st.text(max_size=5), max_size=8).map("".join)
SURROGATES = st.text(st.characters(categories=["Cs", "L"]), max_size=5)
INNOCENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>|"), max_size=40)

relaxed = settings(deadline=None)


@pytest.fixture(scope="session", params=["small", "qwen"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def codec(tokenizer: Any) -> TokenCodec:
    return TokenCodec(tokenizer)


def controls(codec: TokenCodec, ids: list[int]) -> list[int]:
    known = set(codec.control_ids.values())
    return [i for i in ids if i in known]


@relaxed
@given(text=FOREIGN | SURROGATES)
def test_foreign_text_holds_no_control_token(codec: TokenCodec, text: str) -> None:
    assert controls(codec, codec.encode(text)) == []
    assert controls(codec, codec.encode_pieces([Piece(text)])) == []


@pytest.mark.parametrize("name", ["qwq", "react", "tags", "fenced"])
@relaxed
@given(texts=st.tuples(FOREIGN, FOREIGN, FOREIGN))
def test_no_task_or_tool_adds_a_control_token(
    codec: TokenCodec, name: str, texts: tuple[str, str, str]
) -> None:
    dialect = make_dialect(name)
    called = {"tags": "search", "fenced": "python"}.get(name)

    def structure(task: str, result: str, described: str) -> list[int]:
        properties = {"query": {"description": described}, "code": {}}
        tool = {
            "name": called or f"t{described}",
            "description": described,
            "parameters": {"properties": properties},
        }
        messages = [{"role": "system", "content": f"{task}."}, {"role": "user", "content": task}]
        pieces = dialect.render(messages, [tool])
        pieces += dialect.render_results([CallResult("x", result)], closed=False)
        return controls(codec, codec.encode_pieces(pieces))

    assert structure(*texts) == structure("a", "a", "a")


@relaxed
@given(text=FOREIGN)
def test_text_comes_back(codec: TokenCodec, text: str) -> None:
    assert codec.decode(codec.encode(text)) == unicodedata.normalize("NFC", text)


@relaxed
@given(texts=st.lists(INNOCENT, min_size=2, max_size=2), calls=st.integers(0, 2))
def test_innocent_conversations_get_the_ids_of_the_whole_text(
    tokenizer: Any, codec: TokenCodec, texts: list[str], calls: int
) -> None:
    call = {"name": "python", "arguments": {"code": texts[1]}}
    messages = [
        {"role": "system", "content": texts[0]},
        {"role": "user", "content": texts[1]},
        {"role": "assistant", "content": f"<think>\n{texts[0]}\n</think>\n\n{texts[1]}"},
        {"role": "assistant", "content": "", "tool_calls": [call] * calls},
        {"role": "tool", "content": texts[0]},
        {"role": "tool", "content": texts[1]},
        {"role": "assistant", "content": f"<think>\n{texts[0]}\n</think>\n\n{texts[1]}"},
    ]
    pieces = make_dialect("qwq").render(messages, [{"name": "python"}])

    whole = tokenizer(text_of(pieces), add_special_tokens=False)["input_ids"]

    assert codec.encode_pieces(pieces) == whole


@relaxed
@given(texts=st.lists(INNOCENT, min_size=3, max_size=3))
def test_appending_gives_the_ids_of_the_whole_text(
    tokenizer: Any, codec: TokenCodec, texts: list[str]
) -> None:
    dialect = make_dialect("qwq")
    prompt = dialect.render([{"role": "user", "content": texts[0]}])
    # A thinking that begins with a newline would merge with the prompt's last one: the ids that
    # were sampled stand, and no rendering of the whole gives them.
    model = [Piece(f"x{texts[1]}</think>\n\n<tool_call>\n{{}}\n</tool_call><|im_end|>", True)]
    results = dialect.render_results([CallResult("x", texts[2])], closed=True)
    parts = [prompt, model, results]

    ids = [i for pieces in parts for i in codec.encode_pieces(pieces)]

    text = "".join(map(text_of, parts))
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        eos_token_id = 0

    with pytest.raises(UsageError, match="Slow is not a fast tokenizer"):
        TokenCodec(Slow())


def test_a_tokenizer_without_control_tokens() -> None:
    import tokenizers
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    model = models.BPE(vocab={"a": 0, "b": 1}, merges=[])
    codec = TokenCodec(PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(model)))

    assert codec.encode_pieces([Piece("ab<|im_end|>", control=True)]) == [0, 1]
