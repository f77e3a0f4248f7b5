"""`MemoryIndex`: BM25 over a few passages in memory, with nothing to install.

Why you would want this: a task that brings its own ten paragraphs, or a small world of a few
hundred pages, is indexed in milliseconds. For a corpus in a file there is `LocalIndex`.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
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
        self._words: _Words | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"passages": self.passages, "_words": None}

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        return self.search_now(query, count)

    def search_now(self, query: str, count: int) -> list[Passage]:
        """Search; see `SearchBackend.search`."""
        if self._words is None:
            self._words = _Words(self.passages)
        scores: dict[int, float] = {}
        for word in words_of(query)[:MOST_WORDS]:
            for number, weight in self._words.weights(word):
                scores[number] = scores.get(number, 0.0) + weight
        best = heapq.nsmallest(count, ((-score, number) for number, score in scores.items()))
        return [self.passages[number] for _, number in best]


class _Words:
    """For each word, the passages that hold it, and what it adds to their scores."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._weights: dict[str, list[tuple[int, float]]] = {}
        self._lengths: list[int] = []
        for number, passage in enumerate(passages):
            words = indexed_words(f"{passage.title}\n{passage.text}")
            self._lengths.append(len(words))
            for word, times in Counter(words).items():
                self._places.setdefault(word, []).append((number, times))
        self._average = sum(self._lengths) / max(1, len(self._lengths))

    def weights(self, word: str) -> list[tuple[int, float]]:
        """Return the passages that hold `word`, with its share in each one's score."""
        known = self._weights.get(word)
        if known is None and word in self._places:
            known = self._weights[word] = self._weighed(self._places[word])
        return known or []

    def _weighed(self, places: list[tuple[int, int]]) -> list[tuple[int, float]]:
        count = len(self._lengths)
        rarity = math.log(1 + (count - len(places) + 0.5) / (len(places) + 0.5))
        weighed = []
        for number, times in places:
            length = 1 - _B + _B * self._lengths[number] / self._average
            weighed.append((number, rarity * times * (_K1 + 1) / (times + _K1 * length)))
        return weighed
