"""Procedural puzzles of seven families, each with one answer that a comparison can check.

Why you would want this: reasoning tasks that need no download and no other library, endless, the
same on every machine, and whose answers are too many to be guessed.
"""

from __future__ import annotations

import datetime
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.task import Task

INSTRUCTION: Final = (
    "\nReason step by step, then give the final answer alone, between <answer> and </answer> or "
    "within \\boxed{}."
)
"""What closes every prompt."""
_NAMES = (
    "Ada", "Ben", "Cleo", "Dora", "Eli", "Fay", "Gus", "Hal", "Ida", "Jon", "Kay", "Lou", "Max",
    "Nia", "Otto", "Pia", "Ray", "Sue", "Tom", "Una", "Vic", "Wes", "Yan", "Zoe",
)  # fmt: skip
_TOWNS = (
    "Alder", "Birch", "Cedar", "Dale", "Elm", "Ford", "Glen", "Heath", "Isle", "Kirk", "Lowe",
    "Marsh", "Nook", "Oak", "Pine", "Reed",
)  # fmt: skip
_CONSONANTS, _VOWELS = "bcdfghklmnprstvwz", "aeiou"


class Puzzle(NamedTuple):
    """A question and its only answer."""

    question: str
    answer: str


class PuzzleTaskSet(ProceduralTaskSet):
    """Puzzles of one `difficulty`, 1 to 3, by index: the families take turns.

    `split` is `"train"` or `"heldout"`: which of the two a puzzle belongs to is decided by its
    question, so no pair of sets, whatever their seeds and difficulties, shares one across the
    splits. `Task.metadata` names the `family`.
    """

    family = "puzzles"
    levels = 3

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        family = list(FAMILIES)[index % len(FAMILIES)]
        attempt = 0
        while True:
            key = f"{self.seed}/{self.difficulty}/{self.split}/{index}/{attempt}"
            puzzle = FAMILIES[family](random.Random(key), self.difficulty)
            if puzzle is not None and split_of(puzzle.question) == self.split:
                metadata = {"family": family, "difficulty": self.difficulty}
                prompt = puzzle.question + INSTRUCTION
                return Task(f"{self._prefix}{index}", prompt, puzzle.answer, metadata=metadata)
            attempt += 1


def _sequence(draws: random.Random, difficulty: int) -> Puzzle:
    """The next of numbers that are multiplied and added to; three of them settle the rule."""
    factor, added = draws.randint(2, 3 + difficulty), draws.choice((-1, 1)) * draws.randint(2, 29)
    numbers = [draws.randint(11, 39)]
    for _ in range(3 + difficulty):
        numbers.append(numbers[-1] * factor + added)
    shown = ", ".join(map(str, numbers[:4]))
    which = ("next number", "second number after these", "third number after these")
    return Puzzle(
        f"Each of these numbers is the one before it times a fixed number plus another: {shown}. "
        f"What is the {which[difficulty - 1]}?",
        str(numbers[-1]),
    )


_OPERATIONS: Mapping[str, Callable[[str], str]] = {
    "write it backwards": lambda word: word[::-1],
    "move its first two letters to the end": lambda word: word[2:] + word[:2],
    "replace each of its letters by the next one of the alphabet": lambda word: "".join(
        chr((ord(letter) - 96) % 26 + 97) for letter in word
    ),
    "swap its first and its last letter": lambda word: word[-1] + word[1:-1] + word[0],
    "write its second letter twice": lambda word: word[:2] + word[1:],
    "put its letters in the order of the alphabet": lambda word: "".join(sorted(word)),
}


def _letters(draws: random.Random, difficulty: int) -> Puzzle:
    """A word that nobody knows, changed in two to four ways, one after the other."""
    size = 2 + difficulty
    word = "".join(draws.choice(_CONSONANTS) + draws.choice(_VOWELS) for _ in range(size))
    steps = draws.sample(list(_OPERATIONS), 1 + difficulty)
    answer = word
    for step in steps:
        answer = _OPERATIONS[step](answer)
    return Puzzle(f"Take the word {word}; {', then '.join(steps)}. What is the result?", answer)


def _sorting(draws: random.Random, difficulty: int) -> Puzzle:
    numbers = draws.sample(range(100, 1000), 4 + 2 * difficulty)
    divisor = draws.choice((6, 7, 8, 9, 11, 12, 13))
    keys: Mapping[str, Callable[[int], int]] = {
        "the sum of their digits": lambda number: sum(map(int, str(number))),
        f"their remainder after division by {divisor}": lambda number: number % divisor,
        "their last two digits read backwards": lambda number: int(str(number)[:0:-1]),
    }
    by = draws.choice(list(keys))
    return Puzzle(
        f"Sort these numbers by {by}, from low to high; of equal ones the smaller number comes "
        f"first: {', '.join(map(str, numbers))}. Write them with commas between them.",
        ", ".join(map(str, sorted(numbers, key=lambda number: (keys[by](number), number)))),
    )


def _calendar(draws: random.Random, difficulty: int) -> Puzzle:
    start = datetime.date(1900, 1, 1) + datetime.timedelta(draws.randrange(70_000))
    days = draws.randint(20, (90, 900, 9000)[difficulty - 1])
    later = draws.random() < 0.5
    end = start + datetime.timedelta(days if later else -days)
    return Puzzle(
        f"Which date is {days} days {'after' if later else 'before'} {start.isoformat()}? "
        "Write it as YYYY-MM-DD.",
        end.isoformat(),
    )


def _route(draws: random.Random, difficulty: int) -> Puzzle:
    """The length of the shortest way through a small map."""
    towns = draws.sample(_TOWNS, 4 + 2 * difficulty)
    pairs = set(itertools.pairwise(towns))
    pairs |= {
        (min(pair, key=towns.index), max(pair, key=towns.index))
        for pair in (draws.sample(towns, 2) for _ in range(2 * len(towns)))
    } - {(towns[0], towns[-1])}
    roads = {pair: draws.randint(11, 99) for pair in sorted(pairs)}
    shortest = dict.fromkeys(towns, 10**6) | {towns[0]: 0}
    for _ in towns:
        for (one, other), length in roads.items():
            shortest[other] = min(shortest[other], shortest[one] + length)
            shortest[one] = min(shortest[one], shortest[other] + length)
    listed = draws.sample(sorted(roads.items()), len(roads))
    told = "; ".join(f"{one} and {other}, {length} km" for (one, other), length in listed)
    return Puzzle(
        f"These towns are joined by roads: {told}. How many kilometers long is the shortest way "
        f"from {towns[0]} to {towns[-1]}?",
        str(shortest[towns[-1]]),
    )


def _sudoku(draws: random.Random, difficulty: int) -> Puzzle | None:
    """Four rows of four, with as few numbers given as leave one solution."""
    grid = draws.choice(_grids())
    blanks = set(draws.sample(range(16), 5 + 2 * difficulty))
    fits = [
        other
        for other in _grids()
        if all(other[place] == grid[place] for place in range(16) if place not in blanks)
    ]
    if len(fits) > 1:
        return None
    shown = ["_" if place in blanks else number for place, number in enumerate(grid)]
    return Puzzle(
        "Fill in the blanks (_), so that each row, each column and each of the four 2 by 2 corners "
        f"holds 1, 2, 3 and 4:\n{_rows(shown)}\nAnswer with the four rows.",
        _rows(grid),
    )


def _rows(cells: Sequence[str]) -> str:
    return "\n".join(" ".join(cells[start : start + 4]) for start in range(0, 16, 4))


@lru_cache(maxsize=1)
def _grids() -> list[tuple[str, ...]]:
    """All 288 grids, row by row."""
    rows = list(itertools.permutations("1234"))
    halves = [
        upper + lower
        for upper, lower in itertools.product(rows, rows)
        if not set(upper[:2]) & set(lower[:2])
    ]
    return [
        top + bottom
        for top, bottom in itertools.product(halves, halves)
        if all(len({*top[column::4], *bottom[column::4]}) == 4 for column in range(4))
    ]


def _knights(draws: random.Random, difficulty: int) -> Puzzle | None:
    """People of whom some always tell the truth and the others never do."""
    names = draws.sample(_NAMES, 3 + difficulty)
    truth = [draws.random() < 0.5 for _ in names]
    said = [_statement(draws, names, speaker, truth) for speaker in range(len(names))]
    kinds = itertools.product((False, True), repeat=len(names))
    fits = [
        kind
        for kind in kinds
        if all(kind[speaker] == holds(kind) for speaker, (_, holds) in enumerate(said))
    ]
    if len(fits) != 1 or len(set(truth)) == 1:
        return None
    told = " ".join(f'{name} says: "{words}"' for name, (words, _) in zip(names, said, strict=True))
    knights = sorted(name for name, honest in zip(names, truth, strict=True) if honest)
    return Puzzle(
        f"Each of {', '.join(names)} is a knight, who always tells the truth, or a knave, who "
        f"never does. {told} Who are the knights? Write their names in alphabetical order, with "
        "commas between them.",
        ", ".join(knights),
    )


_Statement = tuple[str, Callable[[Sequence[bool]], bool]]


def _statement(
    draws: random.Random, names: Sequence[str], speaker: int, truth: Sequence[bool]
) -> _Statement:
    """Return something that the speaker, being what it is, may say, and when it is true."""
    others = [place for place in range(len(names)) if place != speaker]
    while True:
        one, other = draws.sample(others, 2)
        options = _statements(names, one, other, draws.randint(1, len(names) - 1))
        words, holds = draws.choice(options)
        if holds(truth) == truth[speaker]:
            return words, holds


def _statements(names: Sequence[str], one: int, other: int, count: int) -> list[_Statement]:
    pair = f"{names[one]} and {names[other]}"
    return [
        (f"{names[one]} is a knight.", lambda kind: kind[one]),
        (f"{names[one]} is a knave.", lambda kind: not kind[one]),
        (f"{pair} are of one kind.", lambda kind: kind[one] == kind[other]),
        (f"{pair} are not both knights.", lambda kind: not (kind[one] and kind[other])),
        (f"The number of knights among us is {count}.", lambda kind: sum(kind) == count),
    ]


FAMILIES: Mapping[str, Callable[[random.Random, int], Puzzle | None]] = {
    "sequence": _sequence,
    "letters": _letters,
    "sorting": _sorting,
    "calendar": _calendar,
    "route": _route,
    "sudoku": _sudoku,
    "knights": _knights,
}
"""Every family by its name; None is a draw that has no single answer."""
