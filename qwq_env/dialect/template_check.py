"""What a tokenizer's chat template does to a conversation that thinks and calls tools.

Why you would want this: a policy is trained on ids that were appended turn by turn. A template
that forgets thinking, or that writes an earlier turn in another way once a later one stands
behind it, gives other ids when the conversation is rendered again, as servers do.

Four checks: `thinking` (is earlier thinking kept), `append-only` (is the rendering of a beginning
the beginning of the rendering), `dialect` (does our dialect write the same text, earlier thinking
aside), `ids` (are the ids of an appended episode those of its whole text rendered again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from qwq_env.dialect.base import Dialect, Piece, text_of
from qwq_env.dialect.chatml import END
from qwq_env.dialect.codec import TokenCodec
from qwq_env.dialect.conformance import common_prefix, first_difference
from qwq_env.dialect.mock_conversations import (
    CALCULATOR,
    Message,
    mock_conversations,
    mock_schema,
)
from qwq_env.turn import CallResult


class _RefusedError(Exception):
    """The template raised: it does not take these messages."""


class Finding(NamedTuple):
    """One check of one conversation; `detail` says where it first went wrong."""

    check: str
    conversation: str
    passed: bool
    detail: str = ""


class TemplateCheck:
    """A tokenizer's template beside a dialect; `run` yields the findings.

    The mock conversations call a calculator, or the one tool that the dialect can call.
    """

    def __init__(self, tokenizer: Any, dialect: Dialect) -> None:
        """Raises `UsageError` for a tokenizer that `TokenCodec` refuses."""
        self._tokenizer, self._dialect = tokenizer, dialect
        self._codec = TokenCodec(tokenizer)
        self._tool = dialect.one_tool or CALCULATOR
        self._schemas = [mock_schema(self._tool)]

    def run(self) -> Iterator[Finding]:
        """Yield one finding for each check and conversation.

        A conversation that the template refuses yields a single finding, `renders`.
        """
        for name, messages in mock_conversations(self._tool).items():
            try:
                self._render(messages)
            except _RefusedError as error:
                yield Finding("renders", name, False, str(error))
                continue
            for check, look in (
                ("thinking", self._forgotten),
                ("append-only", self._rewritten),
                ("dialect", self._unlike_dialect),
                ("ids", self._drift_of_ids),
            ):
                detail = _first_wrong(look, messages)
                yield Finding(check, name, not detail, detail)

    def _render(self, messages: Sequence[Message], prompt: bool = False) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tools=self._schemas, add_generation_prompt=prompt, tokenize=False
            )
        # A template is a program of the checkpoint's, and may raise anything.
        except Exception as error:
            said = " ".join(str(error).split())
            raise _RefusedError(f"the template refuses it: {said}") from error
        return text

    def _forgotten(self, messages: Sequence[Message]) -> str:
        text = self._render(messages)
        for index, message in enumerate(messages):
            thought = _thought(message)
            if thought and thought not in text:
                return f"the thinking of message {index}, {thought!r}, is not in the text"
        return ""

    def _rewritten(self, messages: Sequence[Message]) -> str:
        for end in _turn_ends(messages):
            # What the model was shown when it wrote this turn, then what stood when it had.
            for prompt, length in ((True, end), (False, end + 1)):
                before = self._render(messages[:length], prompt)
                after = self._render(messages[: end + 1] if prompt else messages)
                if not after.startswith(before):
                    what = "the prompt of message" if prompt else "message"
                    drift = self._drift(before, after[: len(before)])
                    return f"{what} {end} is rewritten when more follows: {drift}"
        return ""

    def _unlike_dialect(self, messages: Sequence[Message]) -> str:
        bare = [_without_thinking(message) for message in messages[:-1]] + [messages[-1]]
        for prompt in (False, True):
            pieces = self._dialect.render(bare, self._schemas, add_generation_prompt=prompt)
            template = self._render(bare, prompt)
            found = first_difference(template, text_of(pieces))
            if found is not None:
                return (
                    f"character {found.position}: the template writes {found.expected!r}, "
                    f"the dialect {found.found!r}"
                )
        return ""

    def _drift_of_ids(self, messages: Sequence[Message]) -> str:
        whole = self._encode(self._render(messages))
        appended = self._append(messages)
        shared = common_prefix(whole, appended)
        # A template goes on behind the last turn's end (a newline), where an episode is over.
        if shared == len(appended):
            return ""
        return self._tokens(appended, whole, shared)

    def _append(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of an episode in which each turn was appended to those before it."""
        ids: list[int] = []
        start, closed = 0, True
        for end in _turn_ends(messages):
            asked = messages[start:end]
            if start == 0:
                pieces = self._dialect.render(asked, self._schemas)
            elif asked[0]["role"] == "tool":
                results = [CallResult(self._tool.tool, message["content"]) for message in asked]
                pieces = self._dialect.render_results(results, closed=closed)
            else:
                pieces = [Piece("\n", control=True), *self._dialect.render(asked)]
            ids += self._codec.encode_pieces(pieces)
            turn = self._turn(messages[: end + 1])
            ids += self._codec.encode_pieces([Piece(turn, control=True)])
            start, closed = end + 1, turn.endswith(END)
        return ids

    def _turn(self, messages: Sequence[Message]) -> str:
        """Return what the model would have written as the last message."""
        prompt = text_of(self._dialect.render(messages[:-1], self._schemas))
        whole = text_of(self._dialect.render(messages, self._schemas, add_generation_prompt=False))
        turn = whole[common_prefix(prompt, whole) :]
        return turn[:-1] if turn.endswith(f"{END}\n") else turn

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _drift(self, before: str, after: str) -> str:
        left, right = self._encode(before), self._encode(after)
        return self._tokens(left, right, common_prefix(left, right))

    def _tokens(self, before: Sequence[int], after: Sequence[int], index: int) -> str:
        """Name the first token that drifts, and what comes in its place."""
        old, new = (self._codec.decode(ids[index : index + 1]) for ids in (before, after))
        around = self._codec.decode(before[max(0, index - 6) : index])
        return f"token {index} was {old!r} and becomes {new!r}, behind {around!r}"


def _first_wrong(look: Callable[[Sequence[Message]], str], messages: Sequence[Message]) -> str:
    """Return what a check finds, which may be that the template refuses a part."""
    try:
        return look(messages)
    except _RefusedError as error:
        return str(error)


def _thought(message: Mapping[str, Any]) -> str:
    thinking, tag, _ = str(message["content"]).partition("</think>")
    return thinking.removeprefix("<think>").strip() if tag else ""


def _without_thinking(message: Message) -> Message:
    return {**message, "content": message["content"].rpartition("</think>")[2].lstrip("\n")}


def _turn_ends(messages: Sequence[Message]) -> list[int]:
    """Return the indices of the model's messages."""
    return [index for index, message in enumerate(messages) if message["role"] == "assistant"]
