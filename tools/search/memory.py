"""`MemoryIndex`: BM25 over a few passages in memory, with nothing to install.

Why you would want this: a task that brings its own ten paragraphs, or a small world of a few
hundred pages, is indexed in milliseconds. For a corpus in a file there is `LocalIndex`.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

from qwq_env.tools.search.index import MOST_WORDS, indexed_words, words_of
from qwq_env.tools.search.tool import Passage, SearchBackend

_K1: Final = 1.2
_B: Final = 0.75
"""The usual constants of BM25: how soon a repeated word counts no more, how much length does."""


class MemoryIndex(SearchBackend):
    """Passages found by their words and those of their titles; equal scores in the order given.

    Words are folded as in `LocalIndex`, but have no stems: `bridges` does not find `bridge`. The
    index is made at the first search, and searched in the calling thread.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self.passages = tuple(passages)
        self._weights: dict[str, list[tuple[int, float]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"passages": self.passages, "_weights": None}

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        return self.search_now(query, count)

    def search_now(self, query: str, count: int) -> list[Passage]:
        """Search; see `SearchBackend.search`."""
        if self._weights is None:
            self._weights = _weights(self.passages)
        scores: defaultdict[int, float] = defaultdict(float)
        for word in words_of(query)[:MOST_WORDS]:
            for number, weight in self._weights.get(word, ()):
                scores[number] += weight
        best = heapq.nsmallest(count, scores, key=lambda number: (-scores[number], number))
        return [self.passages[number] for number in best]


def _weights(passages: Iterable[Passage]) -> dict[str, list[tuple[int, float]]]:
    """Return for each word the passages that hold it, with what it adds to their scores."""
    counts = [Counter(indexed_words(f"{passage.title}\n{passage.text}")) for passage in passages]
    lengths = [each.total() for each in counts]
    average = sum(lengths) / max(1, len(lengths))
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, each in enumerate(counts):
        for word, times in each.items():
            found[word].append((number, times))
    weights = {}
    for word, places in found.items():
        rarity = math.log(1 + (len(counts) - len(places) + 0.5) / (len(places) + 0.5))
        weights[word] = [
            (number, rarity * times * (_K1 + 1)
             / (times + _K1 * (1 - _B + _B * lengths[number] / average)))
            for number, times in places
        ]  # fmt: skip
    return weights
