"""Which stretches of text never vary: the phrases that a tiny vocabulary should hold whole.

A policy of 0.1 M parameters learns on a laptop only if its prompts are short, and most of a prompt
(the system message, the tools' schemas, the wording of a task) is the same in every episode.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

_ATOMS = re.compile(r" ?[^\W\d_]+|\d| ?[^\w\s]+|\s+|_+")
_CONSTANT = 0.9

Segment = tuple[str, ...]


def constant_phrases(
    samples: Sequence[Sequence[str]], markup: Iterable[str], limit: int, *, words: bool = False
) -> list[str]:
    """Return up to `limit` phrases that recur in `samples`, those that save most tokens first.

    A sample is a list of texts. Words grow together, round by round, where one hardly ever stands
    without the other beside it; with `words` only what stands in every sample does. No phrase
    crosses from one text into the next, nor a control token of `markup`; each holds white space and
    only ASCII. Digits are left alone, so that every number is spelled in single digits, but for
    stretches that stand in every sample.
    """
    segments = _segments(samples, markup)
    least = max(4, len(samples) // 200)
    apart = len(samples) if words else least
    while pairs := _constant_pairs(segments, apart, len(samples)):
        merged: Counter[Segment] = Counter()
        for segment, count in segments.items():
            merged[_merge(segment, pairs)] += count
        segments = merged
    uses = _symbol_counts(segments)
    found = {
        phrase: count
        for phrase, count in uses.items()
        if count >= least and _is_phrase(phrase, count >= len(samples))
    }
    return sorted(found, key=lambda phrase: (-found[phrase] * len(phrase), phrase))[:limit]


def _is_phrase(text: str, in_every_sample: bool) -> bool:
    if len(text) < 2 or not text.isascii() or not any(map(str.isspace, text)):
        return False
    if any(map(str.isdigit, text)):
        return in_every_sample and any(map(str.isalpha, text))
    return not text.isspace()


def _segments(samples: Sequence[Sequence[str]], markup: Iterable[str]) -> Counter[Segment]:
    between = re.compile("|".join(map(re.escape, sorted(markup, key=len, reverse=True))))
    texts = Counter(part for sample in samples for text in sample for part in between.split(text))
    segments: Counter[Segment] = Counter()
    for text, count in texts.items():
        segments[tuple(_ATOMS.findall(text))] += count
    return segments


def _symbol_counts(segments: Counter[Segment]) -> Counter[str]:
    symbols: Counter[str] = Counter()
    for segment, count in segments.items():
        for symbol in segment:
            symbols[symbol] += count
    return symbols


def _constant_pairs(
    segments: Counter[Segment], least: int, everywhere: int
) -> set[tuple[str, str]]:
    symbols = _symbol_counts(segments)
    pairs: Counter[tuple[str, str]] = Counter()
    for segment, count in segments.items():
        for pair in pairwise(segment):
            pairs[pair] += count
    constant = set()
    for (left, right), count in pairs.items():
        digits = left[-1].isdigit() or right[0].isdigit()
        required = everywhere if digits else least
        if count >= max(required, _CONSTANT * min(symbols[left], symbols[right])):
            constant.add((left, right))
    return constant


def _merge(segment: Segment, pairs: set[tuple[str, str]]) -> Segment:
    merged: list[str] = []
    index = 0
    while index < len(segment):
        pair = segment[index : index + 2]
        if pair in pairs:
            merged.append("".join(pair))
            index += 2
        else:
            merged.append(segment[index])
            index += 1
    return tuple(merged)
