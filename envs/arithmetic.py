"""Procedural word problems: endless, graded, the same on every machine, with exact answers.

Why you would want this: a task set that needs no download, cannot be memorised, and whose easiest
level a calculator call solves while mental arithmetic does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, Literal

from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.envs.story_wordings import HELD_OUT_STORY_LEVELS, STORY_LEVELS
from qwq_env.envs.word_problems import (
    HELD_OUT_LEVELS,
    LEVELS,
    NAMES,
    OPERATORS,
    THINGS,
    Range,
    Step,
    Wording,
)
from qwq_env.errors import unknown
from qwq_env.task import Task

INSTRUCTION = "\nPlease reason step by step, and put your final answer within \\boxed{}."
"""What closes every prompt, in the words of QwQ's own evaluation."""


class ArithmeticTaskSet(ProceduralTaskSet):
    """Word problems of one `difficulty`, by index.

    1: one operation on three-digit numbers. 2: larger numbers and even divisions. 3: two
    operations. 4: decimals. 5: fractions, up to four operations.

    `split` is `"train"` or `"heldout"`: which of the two a problem belongs to is decided by its
    names and numbers alone, so no pair of sets, whatever their seeds and difficulties, shares
    them across the splits. `wordings` "shared" tells the same stories in both; with "own" the
    held-out problems tell stories that those of training never do.

    `Task.answer` is exact text: an integer, a finite decimal, or a fraction in lowest terms.
    Every task has its `steps`.
    """

    family = "arithmetic"
    levels = len(LEVELS)
    told: ClassVar[Sequence[Sequence[Wording]]] = LEVELS
    told_apart: ClassVar[Sequence[Sequence[Wording]]] = HELD_OUT_LEVELS

    def __init__(
        self,
        *,
        seed: int = 0,
        difficulty: int = 1,
        split: str = "train",
        wordings: Literal["shared", "own"] | str = "shared",
    ) -> None:
        """Raises `UsageError` for a difficulty, a split or wordings that there are not."""
        super().__init__(seed=seed, difficulty=difficulty, split=split)
        if wordings not in ("shared", "own"):
            raise unknown("wordings", wordings, ("shared", "own"))
        self.wordings = wordings
        self._own_stories = wordings == "own" and split == "heldout"

    @property
    def _prefix(self) -> str:
        return f"own-{super()._prefix}" if self._own_stories else super()._prefix

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        attempt = 0
        while True:
            draws = _Draws(f"{self.seed}/{self.difficulty}/{self.split}/{index}/{attempt}")
            task, split = self._write(f"{self._prefix}{index}", draws)
            if split == self.split:
                return task
            attempt += 1

    def _write(self, task_id: str, draws: _Draws) -> tuple[Task, str]:
        """Return a task, and the split that its names and numbers belong to."""
        level = (self.told_apart if self._own_stories else self.told)[self.difficulty - 1]
        wording = level[draws.below(len(level))]
        name = NAMES[draws.below(len(NAMES))]
        others = [other for other in NAMES if other != name]
        words = {
            "name": name,
            "other": others[draws.below(len(others))],
            "things": THINGS[draws.below(len(THINGS))],
        }
        numbers = {key: draws.number(span) for key, span in wording.numbers.items()}
        _compute(wording.derived, numbers)
        shown = {key: _shown(value, wording.numbers.get(key)) for key, value in numbers.items()}
        results = _compute(wording.steps, numbers)
        metadata = {"difficulty": self.difficulty}
        prompt = wording.text.format(**words, **shown) + INSTRUCTION
        steps = _expressions(wording, shown)
        task = Task(task_id, prompt, exact_text(results[-1]), metadata=metadata, steps=steps)
        told = {**words, **shown}
        parts = sorted(told[slot] for slot in wording.slots if slot != "things")
        return task, split_of("|".join(parts))


class StoryTaskSet(ArithmeticTaskSet):
    """Short word problems in ninety wordings and more; with `wordings="own"` twenty others.

    1: one operation. 2: two. 3: both. For language models, which can be asked what they do with a
    story that they were not trained on; see `story_wordings`.
    """

    family = "stories"
    levels = len(STORY_LEVELS)
    told = STORY_LEVELS
    told_apart = HELD_OUT_STORY_LEVELS


def exact_text(value: Fraction) -> str:
    """Write a number exactly: as an integer, a finite decimal, or a fraction in lowest terms."""
    if value.denominator == 1:
        return str(value.numerator)
    places = 0
    while 10**places % value.denominator and places < value.denominator.bit_length():
        places += 1
    if 10**places % value.denominator:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


class _Draws:
    """Whole numbers from a text, the same for every version of Python and NumPy."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._count = 0

    def below(self, limit: int) -> int:
        self._count += 1
        digest = hashlib.blake2b(f"{self._key}#{self._count}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % limit

    def number(self, span: Range) -> Fraction:
        return Fraction(span.low + self.below(span.high - span.low + 1), span.scale)


def _compute(steps: tuple[Step, ...], numbers: dict[str, Fraction]) -> list[Fraction]:
    """Run the steps; their results are returned, and added to `numbers`."""
    results = []
    for step in steps:
        value = OPERATORS[step.operator](numbers[step.left], numbers[step.right])
        numbers[step.result] = value
        results.append(value)
    return results


def _expressions(wording: Wording, shown: Mapping[str, str]) -> tuple[str, ...]:
    places = {step.result: f"{{{index}}}" for index, step in enumerate(wording.steps)}
    texts = {**shown, **places}
    return tuple(f"{texts[step.left]}{step.operator}{texts[step.right]}" for step in wording.steps)


def _shown(value: Fraction, span: Range | None) -> str:
    """Write a number as people do: prices keep their last zero."""
    if span is None or span.scale == 1:
        return exact_text(value)
    places = len(str(span.scale)) - 1
    whole, rest = divmod(value * span.scale, span.scale)
    return f"{whole}.{int(rest):0{places}d}"
