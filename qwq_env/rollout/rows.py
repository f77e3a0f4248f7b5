"""Rows of token ids as an episode is played: what the policy sampled, what it read.

With the thinking kept (the default) an episode is one row that only ever grows. With the
thinking stripped, as QwQ's chat template does it, earlier thinking leaves the context: each turn
then begins a row of its own, whose prompt is the context it was sampled in. Either way the ids
trained on are the very ids that were sampled, in the very context they were sampled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec
from qwq_env.episode import Author
from qwq_env.trajectory import Span, TrainingRow


@dataclass(slots=True)
class Row:
    """A row in the making: `ids` (prompt + completion,), `mask` and `logprobs` (completion,)."""

    ids: list[int]
    prompt_length: int
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    @classmethod
    def begin(cls, prompt: list[int]) -> Row:
        """Return a row that holds a prompt."""
        return cls(prompt, len(prompt), spans=[Span(0, len(prompt), "task")])

    def add_sampled(self, ids: Sequence[int], logprobs: Sequence[float], thinking: int) -> None:
        """Append a turn, of which the first `thinking` ids are thinking."""
        start = len(self.ids)
        self.ids += ids
        self.mask += [1] * len(ids)
        self.logprobs += logprobs
        if thinking:
            self.spans.append(Span(start, start + thinking, "thinking"))
        if len(ids) > thinking:
            self.spans.append(Span(start + thinking, len(self.ids), "answer"))

    def add_observed(self, ids: Sequence[int], author: Author = "tool") -> None:
        """Append what the environment wrote: a tool, or a user."""
        start = len(self.ids)
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.spans.append(Span(start, len(self.ids), author))

    def frozen(self) -> TrainingRow:
        """Return the row as it is trained on."""
        return TrainingRow(self.ids, self.prompt_length, self.mask, self.logprobs)


class StrippedHistory:
    """The context without earlier thinking, as ids: encoded pieces and sampled answers.

    `opening` is the text with which the dialect's generation prompt opens the thinking; it goes
    with the thinking, and so do the line ends before the answer.
    """

    def __init__(self, codec: TokenCodec, opening: str) -> None:
        self._codec = codec
        self._opening = opening
        self._ids: list[int] = []

    def context(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of the history followed by `pieces`, which open a turn."""
        return self._ids + self._codec.encode_pieces(pieces)

    def close_turn(self, pieces: Sequence[Piece], sampled: Sequence[int], thinking: int) -> None:
        """Add the pieces that opened a turn, and its ids without the first `thinking` ones."""
        *before, last = pieces
        opened = last._replace(text=last.text.removesuffix(self._opening))
        self._ids += self._codec.encode_pieces([*before, opened])
        answer = list(sampled[thinking:])
        while answer and not self._codec.decode(answer[:1]).strip("\n"):
            del answer[0]
        self._ids += answer
