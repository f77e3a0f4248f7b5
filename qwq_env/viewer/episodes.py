"""Read episodes for the page: what the table shows of each, and its body as small arrays.

A row that is damaged is told of and passed over. Token ids are kept as numpy arrays: a run of
10,000 episodes of 4,000 tokens must fit into memory at once, for the vocabulary is ordered by use
before anything is packed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qwq_env.columns import unpack_floats
from qwq_env.errors import UsageError, brief, describe_error
from qwq_env.rollout.lexicon import Lexicon
from qwq_env.rollout.stored import Damaged, RowError, StoredEpisode
from qwq_env.segments import Segment
from qwq_env.trajectory import TrainingRow, Trajectory
from qwq_env.viewer.codes import codes_of
from qwq_env.viewer.source import Source

MOST_IDS: Final = 2**26
"""No vocabulary is larger."""
_MOST_NOTES: Final = 20
_KEYS: Final = {"ratio": "ratios", "entropy": "entropies"}


class TokenRow(NamedTuple):
    """A row of ids as the page has it: `ids` (tokens,), `values` by name, as codes (sampled,)."""

    ids: NDArray[np.int32]
    prompt: int
    mask: list[int]
    spans: Sequence[tuple[int, int, str]]
    values: dict[str, NDArray[np.uint8]]


@dataclass(slots=True)
class Seen:
    """An episode that was read: what the table shows, and what the page says when it is opened.

    `said` are its blocks, `[by, [[kind, text or length, more], ...]]`: with lengths where `joined`,
    for then the text is that of the last row. Episodes of a `group` share run, phase, step, task.
    """

    stored: StoredEpisode
    phase: str
    trajectory: Trajectory
    rows: list[TokenRow]
    said: list[Any]
    joined: bool
    group: int


@dataclass(slots=True)
class Reading:
    """All episodes, the texts of their tokens, and what the reader should know of the reading."""

    episodes: list[Seen] = field(default_factory=list)
    texts: dict[int, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_source(
    source: Source, *, limit: int | None = None, tell: Callable[[int], None] = lambda _: None
) -> Reading:
    """Read the episodes of all runs, of each the last `limit`.

    `tell` is called with the number read so far. Raises `UsageError` if there is not one.
    """
    reading = Reading()
    damaged: list[Damaged] = []
    groups: dict[Hashable, int] = {}
    for run in source.runs:
        stage = f"{run.name}/" if len(source.runs) > 1 else ""
        episodes, bases = run.episodes(), dict[int, int]()
        if run.advantages == {}:  # asked for first: then it is known what they lack
            reading.notes += run.notes
        for stored in episodes[-limit:] if limit else episodes:
            group = (run.path, stored.phase, stored.step, stored.task)
            number = groups.setdefault(group, len(groups))
            lexicon = stored.lexicon.read()
            if id(lexicon) not in bases:
                bases[id(lexicon)] = _base(reading.texts, lexicon.tokens)
            base = bases[id(lexicon)]
            try:
                reading.episodes.append(_seen(stored, stage + stored.phase, number, base))
            except RowError as error:
                damaged.append(error.damaged)
                continue
            tell(len(reading.episodes))
        damaged += run.damaged
    reading.notes += _notes(damaged, reading.episodes)
    if not reading.episodes:
        first = f"; {reading.notes[0]}" if reading.notes else ""
        raise UsageError(f"run: {source.runs[0].path} holds no episode{first}")
    return reading


def _base(texts: dict[int, bytes], tokens: Mapping[int, bytes]) -> int:
    """Take in the texts of a file's tokens; return what to add to its ids.

    Runs of other tokenizers say other things with the same ids: those get numbers of their own, and
    so does one that says nothing.
    """
    for base in range(0, 2**31, MOST_IDS):
        taken = not tokens and any(base <= token < base + MOST_IDS for token in texts)
        own = {base + token: text for token, text in tokens.items()}
        if not taken and all(texts.get(token, text) == text for token, text in own.items()):
            texts.update(own)
            return base
    raise UsageError(f"run: more than {2**31 // MOST_IDS} tokenizers; expected fewer at a time")


def _notes(damaged: Sequence[Damaged], episodes: Sequence[Seen]) -> list[str]:
    notes = [f"{file}:{line}: {reason}; left out" for file, line, reason in damaged[:_MOST_NOTES]]
    if len(damaged) > _MOST_NOTES:
        notes.append(f"and {len(damaged) - _MOST_NOTES} more rows were left out")
    silent = sum(not seen.said for seen in episodes)
    if silent:
        notes.append(
            f"{silent} of {len(episodes)} episodes were stored without their text: by an earlier"
            " version, or as numbers only (rollout.store)"
        )
    return notes


def _seen(stored: StoredEpisode, phase: str, group: int, base: int) -> Seen:
    """Read a row whole. Raises `RowError` that says what is wrong with it."""
    trajectory = stored.trajectory
    try:
        count = len(trajectory.earlier)
        rows = [_tokens(row, base, [], _learned(stored, number))
                for number, row in enumerate(trajectory.earlier)]  # fmt: skip
        if trajectory.ids:
            spans = [(span.start, span.end, span.author) for span in trajectory.spans]
            values = _values(stored.head) | _learned(stored, count)
            rows.append(_tokens(trajectory.last_row, base, spans, values))
        said, joined = _said(trajectory, stored.lexicon)
    except (ValueError, TypeError, OverflowError) as error:
        raise RowError(stored, f"not an episode: {describe_error(error)}") from None
    finally:
        stored.forget()
    return Seen(stored, phase, _without_tokens(trajectory), rows, said, joined, group)


def _without_tokens(trajectory: Trajectory) -> Trajectory:
    """Free what the arrays hold already."""
    for name in ("ids", "mask", "logprobs", "spans", "earlier", "transcript"):
        getattr(trajectory, name).clear()
    return trajectory


def _values(head: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    given = {name: head[key] for name, key in _KEYS.items() if key in head}
    return {n: unpack_floats(v) if isinstance(v, str) else v for n, v in given.items()}


def _learned(stored: StoredEpisode, row: int) -> dict[str, Sequence[float]]:
    """Return what the trainer made of a row, where that is known."""
    found = stored.ratios(row)
    return {} if found is None else {"ratio": found.ratios, "entropy": found.entropies}


def _tokens(
    row: TrainingRow,
    base: int,
    spans: Sequence[tuple[int, int, str]],
    extra: Mapping[str, Sequence[float]],
) -> TokenRow:
    ids = np.asarray(row.ids, dtype=np.int32)
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < MOST_IDS:
        raise ValueError(f"token ids from {ids.min()} to {ids.max()}")
    ids += np.int32(base)
    mask = np.asarray(row.mask, dtype=np.int8)
    completion = len(ids) - row.prompt_length
    if ids.ndim != 1 or mask.shape != (completion,) or len(row.logprobs) != completion:
        raise ValueError(f"{len(mask)} of a mask for {completion} ids behind the prompt")
    if not spans:
        spans = [(0, row.prompt_length, "task"), (row.prompt_length, len(ids), "model")]
    if any(not 0 <= start <= end <= len(ids) for start, end, _ in spans):
        raise ValueError("a span beyond the ids")
    sampled = mask != 0
    logprobs = np.asarray(row.logprobs, dtype=np.float64)[sampled]
    values = {"logprob": codes_of("logprob", logprobs)}
    for name, column in extra.items():
        array = np.asarray(column, dtype=np.float64)
        if array.shape == (int(sampled.sum()),):
            values[name] = codes_of(name, array)
    return TokenRow(ids, row.prompt_length, _runs(sampled), spans, values)


def _runs(sampled: NDArray[np.bool_]) -> list[int]:
    """Return the lengths of runs, the first of them of False, possibly 0."""
    changes = np.flatnonzero(np.diff(sampled, prepend=False, append=False))
    edges = [0, *changes.tolist(), len(sampled)]
    runs = [end - start for start, end in pairwise(edges)]
    return runs if runs and runs[-1] else runs[:-1]


def _said(trajectory: Trajectory, lexicon: Lexicon) -> tuple[list[Any], bool]:
    """Return what was said, and whether by lengths: where it is the text of the ids."""
    blocks: list[list[Any]] = [
        [block.by, [_part(segment) for segment in block.segments]]
        for block in trajectory.transcript
    ]
    text = "".join(block.text for block in trajectory.transcript)
    known = lexicon.tokens
    written = (
        b"".join(known[each] for each in trajectory.ids)
        if known.keys() >= set(trajectory.ids)
        else b""
    )
    joined = bool(text) and written.decode(errors="replace") == text
    if joined:
        for _, segments in blocks:
            for segment in segments:
                segment[1] = _utf16(segment[1])
    return blocks, joined


def _part(segment: Segment) -> list[Any]:
    """Return `[kind, text]` of a segment, with an object of what else there is behind it."""
    more = segment.more
    return [segment.kind, segment.text, more] if more else [segment.kind, segment.text]


def _utf16(text: str) -> int:
    """Return the length of a text as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def reference_text(value: Any) -> str | None:
    """Return what was graded against as a text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=lambda other: brief(other))
