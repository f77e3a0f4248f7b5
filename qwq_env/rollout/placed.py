"""The segments of a stored episode with the tokens that they are.

Where they can be told: a turn's tokens are known from the spans; which of them are its calls, from
the texts of the single tokens, if these make up the turn's text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from qwq_env.segments import Block, Kind, Writer
from qwq_env.trajectory import Span, TrainingRow, Trajectory


class PlacedSegment(NamedTuple):
    """A `Segment` of an episode, see there; `by` wrote it.

    `turn` counts the model's turns, from 0, and is -1 for the opening; what answers a turn has its
    number. The tokens are `trajectory.rows[row].ids[start:end]`; None where they are not known.
    """

    kind: Kind
    text: str
    by: Writer
    turn: int
    row: int | None = None
    start: int | None = None
    end: int | None = None
    name: str = ""
    arguments: Any = None
    error: str = ""
    status: str = ""
    seconds: float = 0.0
    cut: int = 0


class _Range(NamedTuple):
    """Where a block's tokens are; `thinking` is the end of its thinking."""

    row: int
    start: int
    end: int
    thinking: int | None = None


def placed_segments(trajectory: Trajectory, tokens: Mapping[int, bytes]) -> list[PlacedSegment]:
    """Return the text of an episode in order; `tokens` are the bytes of single tokens.

    One without stored text gets a segment without text for each of its spans, so that its tokens
    are still told apart.
    """
    if not trajectory.transcript:
        return [*_textless(trajectory)]
    placed: list[PlacedSegment] = []
    turn = -1
    for block, place in zip(trajectory.transcript, _ranges(trajectory), strict=True):
        turn += block.by == "model"
        ends = None if place is None else _ends(block, trajectory.rows[place.row], place, tokens)
        for number, segment in enumerate(block.segments):
            kind, text, *rest = segment
            where: tuple[int | None, int | None, int | None] = (None, None, None)
            if place is not None and ends is not None:
                where = (place.row, ends[number], ends[number + 1])
            placed.append(PlacedSegment(kind, text, block.by, turn, *where, *rest))
    return placed


def _textless(trajectory: Trajectory) -> Iterator[PlacedSegment]:
    kinds: dict[str, tuple[Kind, Writer]] = {
        "task": ("task", "task"), "thinking": ("thinking", "model"), "answer": ("text", "model"),
        "tool": ("result", "tool"), "user": ("user", "user"),
    }  # fmt: skip
    turn, before = -1, ""
    for start, end, author in trajectory.spans:
        kind, by = kinds[author]
        turn += by == "model" and (author == "thinking" or before != "thinking")
        before = author
        yield PlacedSegment(kind, "", by, turn, len(trajectory.earlier), start, end)


def _ranges(trajectory: Trajectory) -> Iterator[_Range | None]:
    """Yield where the tokens of each block are, None for one whose tokens are not told apart."""
    blocks = trajectory.transcript
    if not trajectory.ids:
        yield from [None] * len(blocks)
    elif trajectory.earlier:
        yield from _by_rows(blocks, trajectory.rows)
    else:
        yield from _by_spans(blocks, trajectory.spans)


def _by_rows(blocks: Sequence[Block], rows: Sequence[TrainingRow]) -> Iterator[_Range | None]:
    """With earlier thinking stripped, each turn is the completion of a row of its own."""
    turn = 0
    for block in blocks:
        if block.by == "task":
            yield _Range(0, 0, rows[0].prompt_length)
        elif block.by == "model" and turn < len(rows):
            yield _Range(turn, rows[turn].prompt_length, len(rows[turn].ids))
            turn += 1
        else:
            yield None


def _by_spans(blocks: Sequence[Block], spans: Sequence[Span]) -> Iterator[_Range | None]:
    left = list(reversed(spans))
    for block in blocks:
        thinking = None
        if left and block.by == "model" and left[-1].author in ("thinking", "answer"):
            start, end, author = left.pop()
            if author == "thinking":
                thinking = end
                if left and left[-1].author == "answer":
                    end = left.pop().end
            yield _Range(0, start, end, thinking)
        elif left and left[-1].author == block.by:
            span = left.pop()
            yield _Range(0, span.start, span.end)
        else:
            yield None  # it was cut before it came into the context


def _ends(
    block: Block, row: TrainingRow, place: _Range, tokens: Mapping[int, bytes]
) -> list[int] | None:
    """Return where each segment of a block begins, and the last one's end.

    A token belongs to the segment in which its first byte is.
    """
    lengths = [len(segment.text.encode("utf-8", "surrogatepass")) for segment in block.segments]
    written = [tokens.get(token) for token in row.ids[place.start : place.end]]
    if None not in written:
        begins = [0, *accumulate(len(part) for part in written if part is not None)]
        if begins[-1] == sum(lengths):
            borders = accumulate(lengths, initial=0)
            found = [place.start + bisect_left(begins, border) for border in borders]
            return [place.start, *found[1:-1], place.end]
    if len(lengths) == 1:
        return [place.start, place.end]
    return None
