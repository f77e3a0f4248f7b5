"""The page's data as text: JSON and small numbers, deflated, in base64; see page/src/data.ts.

A token takes about 2.3 bytes: its place in the vocabulary ordered by use (7 bits to a byte, so
that the 128 most frequent tokens take one), and a byte for each value of a sampled one.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qwq_env.viewer.episodes import MOST_IDS, Seen, TokenRow, reference_text

_COLUMNS: Final = ("logprob", "ratio", "entropy")
_CHUNK_EPISODES: Final = 64
_CHUNK_TOKENS: Final = 200_000
"""So much is read when an episode is opened: some 30 ms of a browser's time."""


class Vocabulary:
    """The tokens of all rows in the order of use: `ids` (tokens,)."""

    def __init__(self, episodes: Sequence[Seen], texts: Mapping[int, bytes]) -> None:
        counts: Counter[int] = Counter()
        for row in (row for seen in episodes for row in seen.rows):
            found, times = np.unique(row.ids, return_counts=True)
            counts.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        self.ids: NDArray[np.int64] = np.array(ordered, dtype=np.int64)
        self._by_id = np.argsort(self.ids)
        self._texts = texts

    def places(self, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return where `ids`, all of them in the rows, stand in the order of use."""
        found = np.searchsorted(self.ids, ids, sorter=self._by_id)
        return self._by_id[found]

    def to_json(self) -> dict[str, Any]:
        """Return ids, texts (bytes where they are no text), and which look like control tokens.

        A token of which nothing is known stands as its id: `‹1782›`.
        """
        ids = (self.ids % MOST_IDS).tolist()
        texts: list[str] = []
        torn: dict[str, str] = {}
        for place, (token, number) in enumerate(zip(self.ids.tolist(), ids, strict=True)):
            written = self._texts.get(token, f"‹{number}›".encode())
            try:
                texts.append(written.decode())
            except UnicodeDecodeError:
                texts.append("")
                torn[str(place)] = written.hex()
        control = [place for place, text in enumerate(texts) if _is_control(text)]
        return {"ids": ids, "texts": texts, "bytes": torn, "control": control}


def _is_control(text: str) -> bool:
    if len(text) < 3 or any(c.isspace() for c in text):
        return False
    return (text[0] == "<" and text[-1] == ">") or (
        text[0] == "[" and text[-1] == "]" and text.isupper()
    )


def chunks_of(episodes: Sequence[Seen]) -> list[tuple[int, int]]:
    """Return the episodes of each chunk, from the first to behind the last."""
    chunks: list[tuple[int, int]] = []
    start = tokens = 0
    for index, seen in enumerate(episodes):
        size = sum(len(row.ids) for row in seen.rows)
        if index > start and (index - start == _CHUNK_EPISODES or tokens + size > _CHUNK_TOKENS):
            chunks.append((start, index))
            start, tokens = index, 0
        tokens += size
    return [*chunks, (start, len(episodes))]


def pack_chunk(episodes: Sequence[Seen], vocabulary: Vocabulary) -> bytes:
    """Return the length of the heads in four bytes, the heads, all ids, then column by column."""
    ids = [[_varints(vocabulary.places(row.ids)) for row in seen.rows] for seen in episodes]
    heads = to_json(
        [
            _head(seen, [len(part) for part in parts])
            for seen, parts in zip(episodes, ids, strict=True)
        ]
    )
    columns = [
        row.values[name].tobytes()
        for name in _COLUMNS
        for seen in episodes
        for row in seen.rows
        if name in row.values
    ]
    return b"".join(
        [len(heads).to_bytes(4, "little"), heads, *(p for parts in ids for p in parts), *columns]
    )


def _head(seen: Seen, sizes: Sequence[int]) -> dict[str, Any]:
    trajectory = seen.trajectory
    facts = {"seed": trajectory.seed, "attempts": trajectory.attempts}
    if trajectory.weight_version is not None:
        facts["weights of step"] = trajectory.weight_version
    reasons = trajectory.reasons
    return {
        "rows": [_row_head(row, size) for row, size in zip(seen.rows, sizes, strict=True)],
        "said": seen.said,
        "joined": seen.joined,
        "answer": trajectory.answer,
        "reference": reference_text(trajectory.reference),
        "scores": [
            [name, score, *(str(part) for part in (*reasons.get(name, ()), "", "", "")[:3])]
            for name, score in trajectory.scores.items()
        ],
        "detail": trajectory.outcome.detail,
        "counts": list(trajectory.counts.items()),
        "authors": list(trajectory.tokens.items()),
        "seconds": [pair for pair in trajectory.seconds._asdict().items() if pair[1]],
        "facts": [[name, str(fact)] for name, fact in facts.items()],
    }


def _row_head(row: TokenRow, size: int) -> dict[str, Any]:
    return {
        "length": len(row.ids),
        "bytes": size,
        "prompt": row.prompt,
        "mask": row.mask,
        "spans": row.spans,
        "columns": [name for name in _COLUMNS if name in row.values],
    }


def _varints(values: NDArray[np.int64]) -> bytes:
    """Return numbers below 2 million, seven bits to a byte, the lowest first."""
    sizes = 1 + (values >= 1 << 7) + (values >= 1 << 14)
    ends = np.cumsum(sizes)
    packed = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    starts = ends - sizes
    for part in range(3):
        has = sizes > part
        more = (sizes[has] > part + 1).astype(np.int64) << 7
        packed[starts[has] + part] = ((values[has] >> (7 * part)) & 0x7F) | more
    return packed.tobytes()


def to_json(value: Any) -> bytes:
    """Return JSON that a browser reads: no NaN, and half a surrogate pair as an escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return to_json(_finite(value))


def _finite(value: Any) -> Any:
    """Return a value with a text for each number that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def pack(data: bytes) -> str:
    """Return bytes deflated, in base64."""
    return base64.b64encode(zlib.compress(data, 6)).decode()
