"""Procedural code tasks: a function that does a few things to a list or a text, one after another.

Why you would want this: code tasks that need no download, cannot be memorised, are the same on
every machine, and come with a solution and with tests that tell it from others.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from qwq_env.envs.code_operations import OPERATIONS, Operation, applied
from qwq_env.envs.code_rows import INSTRUCTION
from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.task import Task

_NAMES: Final = (
    "adapt", "arrange", "change", "compute", "convert", "derive", "handle", "make_over", "prepare",
    "process", "refine", "reshape", "revise", "rework", "transform", "work_out",
)  # fmt: skip
"""What a task calls its function: a program for another task has the wrong name."""
_COUNTS: Final = (1, 2, 4)
"""How many operations a task of each difficulty has at most: 1, 2, and 3 or 4."""
_PUBLIC, _HIDDEN = 3, 12
_KINDS: Final = {
    "numbers": "a list of integers",
    "words": "a list of words",
    "text": "a text",
    "number": "an integer",
}
_WORDS: Final = (
    "amber", "Ant", "basket", "bee", "Cat", "copper", "dog", "ember", "Fox", "garden", "hut",
    "ice", "Jungle", "kettle", "level", "Moon", "noon", "oak", "paper", "Quartz", "river", "sea",
    "Tree", "umbrella", "violin", "Wind", "x1", "year7", "zoo", "a", "42",
)  # fmt: skip


class FunctionTaskSet(ProceduralTaskSet):
    """Functions to be written, of one `difficulty`, by index.

    1: one operation on a list of integers, a list of words or a text. 2: two of them. 3: three or
    four. `split` is `"train"` or `"heldout"`: which of the two a task belongs to is decided by its
    operations and their numbers alone, so no pair of sets shares a task across the splits.

    `Task.answer` is a program that solves it. The prompt shows the public tests; `metadata` holds
    all of them, in the form `tests` of `qwq_env.grading.code.read_problem`. Each operation changes
    what the hidden tests expect: a program that leaves one out fails.
    """

    family = "functions"
    levels = len(_COUNTS)

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        chance = random.Random(f"{self.seed}/{self.difficulty}/{self.split}/{index}")
        while True:
            operations = self._operations(chance)
            if split_of("|".join(each.code for each in operations)) == self.split:
                given = [_input(operations[0].takes, chance) for _ in range(_PUBLIC + _HIDDEN - 1)]
                given.insert(_PUBLIC, _EMPTY[operations[0].takes])
                if _telling(operations, given[_PUBLIC:]):
                    asked = _Asked(chance.choice(_NAMES), operations, given)
                    return asked.task(f"{self._prefix}{index}", self.difficulty)

    def _operations(self, chance: random.Random) -> list[Operation]:
        most = _COUNTS[self.difficulty - 1]
        count = chance.choice((3, 4)) if most == 4 else most
        kind = chance.choice(("numbers", "numbers", "words", "text"))
        found: list[Operation] = []
        while len(found) < count:
            rows = [row for row in OPERATIONS if row.operation.takes == kind]
            operation = chance.choice(rows).drawn(chance)
            if operation not in found:
                found.append(operation)
                kind = operation.gives
        return found


def solution(name: str, operations: Sequence[Operation]) -> str:
    """Return a program that does the operations, one a line."""
    lines = [f"    x = {operation.code}" for operation in operations]
    return "\n".join([f"def {name}(x):", *lines, "    return x"])


class _Asked(NamedTuple):
    """A function, what it is to do, and the inputs of its tests, the public ones first."""

    name: str
    operations: Sequence[Operation]
    given: Sequence[Any]

    def task(self, task_id: str, difficulty: int) -> Task:
        tests = [
            {"function": self.name, "arguments": [each], "expected": applied(self.operations, each)}
            | ({"public": True} if number < _PUBLIC else {})
            for number, each in enumerate(self.given)
        ]
        metadata = {"difficulty": difficulty, "tests": tests}
        program = solution(self.name, self.operations)
        return Task(task_id, self._prompt(tests), program, metadata=metadata)

    def _prompt(self, tests: Sequence[Mapping[str, Any]]) -> str:
        told = [f"{number}. {each.words}" for number, each in enumerate(self.operations, 1)]
        examples = [
            f"{self.name}({test['arguments'][0]!r}) == {test['expected']!r}"
            for test in tests[:_PUBLIC]
        ]
        takes, gives = _KINDS[self.operations[0].takes], _KINDS[self.operations[-1].gives]
        several = ", one after the other" if len(told) > 1 else ""
        return "\n".join([
            f"Write a Python function `{self.name}(x)`. Its argument is {takes}, and it returns"
            f" {gives}. It does this{several}:",
            *told, "", "Examples:", *examples, INSTRUCTION,
        ])  # fmt: skip


_EMPTY: Final[dict[str, Any]] = {"numbers": [], "words": [], "text": ""}


def _input(kind: str, chance: random.Random) -> Any:
    if kind == "numbers":
        drawn = [chance.randint(-20, 60) for _ in range(chance.randint(3, 9))]
        return [*drawn, chance.choice(drawn)]
    drawn_words = [chance.choice(_WORDS) for _ in range(chance.randint(2, 6))]
    drawn_words.append(chance.choice(drawn_words))
    return drawn_words if kind == "words" else " ".join(drawn_words)


def _telling(operations: Sequence[Operation], given: Sequence[Any]) -> bool:
    """Say whether tests of these inputs tell the operations from a constant and from fewer."""
    expected = [applied(operations, each) for each in given]
    if len({repr(each) for each in expected}) < len(given) // 2 or expected == list(given):
        return False
    for number, operation in enumerate(operations):
        if operation.takes == operation.gives:
            fewer = [*operations[:number], *operations[number + 1 :]]
            same = sum(applied(fewer, each) == e for each, e in zip(given, expected, strict=True))
            if same > len(given) - 3:
                return False
    return True
