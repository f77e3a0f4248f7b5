"""The opponents of `qwq/WordGame-v0`: each hides something, answers, and can be found out.

An opponent is a pure function of its task: the same words get the same answers, and no answer holds
the secret before it has been named. `play` has one hear everything that was said so far.
"""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.grading.answer import last_boxed
from qwq_env.task import Task

_GUESS: Final = re.compile(r"guess\s*(?:\*\*)?\s*:\s*(?:\*\*)?\s*([^\n]*)", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2}")
_WORD: Final = re.compile(r"[^\W_]+")
_LONGEST: Final = 200
"""Characters beyond which a guess or a question names too much to be one."""


class Standing(NamedTuple):
    """Where a game is: whether it is won, how many turns it took, and the last answer."""

    solved: bool
    turns: int
    answer: str


class Opponent(ABC):
    """Hides the secret of one task and answers by rule."""

    game: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """What its tasks have in their metadata, beside `turns` and the `secret`."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        self.turns: int = metadata["turns"]

    @abstractmethod
    def read(self, guess: str) -> Any:
        """Return what a guess names, None for what names nothing, or more than one thing."""

    @abstractmethod
    def compare(self, guess: Any) -> str:
        """Say how a wrong guess compares with the secret."""

    @abstractmethod
    def strategy(self) -> Iterator[str]:
        """Yield the turns of a good player, who hears the answers as anybody does."""

    @property
    @abstractmethod
    def secret(self) -> Any:
        """What is hidden, as `read` gives it."""

    @property
    @abstractmethod
    def form(self) -> str:
        """What a guess has to look like."""

    def answer(self, said: str) -> tuple[bool, str]:
        """Say whether a turn names the secret, and if not what the answer to it is."""
        guess = guess_of(said)
        if guess is None:
            return False, self.discuss(said)
        named = self.read(guess) if len(guess) <= _LONGEST else None
        if named is None:
            return False, f"I do not understand that guess. Name one only: {self.form}."
        return named == self.secret, self.compare(named)

    def discuss(self, said: str) -> str:
        """Answer a turn that holds no guess."""
        return f"I see no guess. Write it on a line of its own: {self.form}."


def play(opponent: Opponent, said: Iterable[str]) -> Standing:
    """Return where the game is after the turns that were `said`, at most as many as it allows."""
    standing = Standing(False, 0, "")
    for turn, text in enumerate(itertools.islice(said, opponent.turns), 1):
        standing = take(opponent, text, turn)
        if standing.solved:
            break
    return standing


def take(opponent: Opponent, said: str, turn: int) -> Standing:
    """Return where the game is after this was said in its `turn`, 1 the first."""
    solved, answer = opponent.answer(said)
    left = opponent.turns - turn
    told = f"{answer} ({left} {'turn is' if left == 1 else 'turns are'} left.)"
    return Standing(solved, turn, "" if solved else told)


def guess_of(said: str) -> str | None:
    """Return what a turn names as its guess: in the last `Guess:` line, else in the last box."""
    found = _GUESS.findall(said)
    if not found:
        return last_boxed(said)
    boxed = last_boxed(found[-1])
    return str(found[-1] if boxed is None else boxed).strip("*`'\". \t\r$")


class Number(Opponent):
    """A whole number from 1 to `most`: a guess is told to be too low or too high."""

    game = "number"
    needs = ("most",)

    @property
    def secret(self) -> int:
        """See `Opponent.secret`."""
        return int(self.metadata["secret"])

    @property
    def form(self) -> str:
        """See `Opponent.form`."""
        return "Guess: and a whole number in digits"

    def read(self, guess: str) -> int | None:
        """Return the number."""
        return int(guess.replace(",", "")) if _WHOLE.fullmatch(guess) else None

    def compare(self, guess: int) -> str:
        """Say which way to go on."""
        return "My number is higher." if guess < self.secret else "My number is lower."

    def strategy(self) -> Iterator[str]:
        """Yield guesses that halve what is left."""
        low, high = 1, self.metadata["most"]
        while low <= high:
            middle = (low + high) // 2
            yield f"Guess: {middle}"
            if "higher" in self.answer(f"Guess: {middle}")[1]:
                low = middle + 1
            else:
                high = middle - 1


class Code(Opponent):
    """A row of `length` symbols, which may be digits, letters or words.

    A guess is told how many of its symbols stand in the right place, and how many more are in the
    code, but elsewhere.
    """

    game = "code_breaking"
    needs = ("length", "symbols", "repeats")

    @property
    def secret(self) -> tuple[str, ...]:
        """See `Opponent.secret`."""
        return tuple(self.metadata["secret"])

    @property
    def form(self) -> str:
        """See `Opponent.form`."""
        return f"Guess: and {self.metadata['length']} symbols with blanks between them"

    def read(self, guess: str) -> tuple[str, ...] | None:
        """Return the symbols, with or without anything between those of one character."""
        symbols: Sequence[str] = self.metadata["symbols"]
        words = _WORD.findall(guess.lower())
        if all(len(symbol) == 1 for symbol in symbols):
            words = list("".join(words))
        fits = len(words) == self.metadata["length"] and all(word in symbols for word in words)
        return tuple(words) if fits else None

    def compare(self, guess: tuple[str, ...]) -> str:
        """Say how many are right."""
        exact, misplaced = matches(self.secret, guess)
        return f"{exact} in the right place, {misplaced} in the code but in another place."

    def strategy(self) -> Iterator[str]:
        """Yield guesses that all answers so far allow, in an order that does not know the code."""
        symbols, length = self.metadata["symbols"], self.metadata["length"]
        left: list[tuple[str, ...]] = (
            list(itertools.product(symbols, repeat=length))
            if self.metadata["repeats"]
            else list(itertools.permutations(symbols, length))
        )
        # Not the first one: codes that begin alike tell little of each other.
        while left:
            guess = left[len(left) * 5 // 13]
            yield f"Guess: {' '.join(guess)}"
            told = matches(self.secret, guess)
            left = [each for each in left if each != guess and matches(each, guess) == told]


def matches(code: Sequence[str], guess: Sequence[str]) -> tuple[int, int]:
    """Return how many symbols are in the right place, and how many more in another one."""
    exact = sum(map(str.__eq__, code, guess))
    return exact, (Counter(code) & Counter(guess)).total() - exact


class TwentyQuestions(Opponent):
    """A thing that has one value of each attribute; questions are answered with yes or no.

    A question names values: of one attribute with `or` or commas between them, and any of them is
    asked for; or of several, without, and all of them are.
    """

    game = "twenty_questions"
    needs = ("attributes",)

    @property
    def secret(self) -> tuple[str, ...]:
        """See `Opponent.secret`."""
        return tuple(self.metadata["secret"])

    @property
    def form(self) -> str:
        """See `Opponent.form`."""
        return f"Guess: and {', '.join(self.metadata['attributes'])}"

    def read(self, guess: str) -> tuple[str, ...] | None:
        """Return the thing that is named by one value of each attribute, in any order."""
        words = [word for word in _WORD.findall(guess.lower()) if word not in _SMALL]
        named = []
        for values in self.metadata["attributes"].values():
            found = [word for word in words if word in values]
            if len(found) != 1:
                return None
            named += found
        return tuple(named) if len(named) == len(words) else None

    def compare(self, guess: tuple[str, ...]) -> str:
        """Say no."""
        return "No, that is not it."

    def discuss(self, said: str) -> str:
        """Answer a question."""
        asked = [each for each in re.split(r"(?<=[?.!\n])", said) if each.rstrip().endswith("?")]
        if not asked:
            return 'I see no question. Ask "Is it ...?", or name the thing: ' + self.form + "."
        if len(asked) > 1:
            return "Ask one question at a time."
        told = self._holds(asked[0]) if len(asked[0]) <= _LONGEST else None
        if told is None:
            return 'I do not understand that. Ask "Is it ...?" with the words of the list.'
        return "Yes." if told else "No."

    def _holds(self, question: str) -> bool | None:
        """Return the answer, None for a question that is not understood."""
        words = _WORD.findall(question.lower())
        if not words or words[0] not in ("is", "does"):
            return None
        attributes = self.metadata["attributes"].values()
        named = [{word for word in words if word in values} for values in attributes]
        found = set().union(*named)
        rest = {word for word in words if word not in found} - _SMALL
        if not found or rest - {"or", "and"}:
            return None
        if "or" in rest or "," in question:
            alike = sum(map(bool, named)) == 1 and "and" not in rest
            return bool(found & {*self.secret}) if alike else None
        return found <= {*self.secret}

    def strategy(self) -> Iterator[str]:
        """Yield questions that halve each attribute in turn, and then the thing."""
        known = []
        for values in self.metadata["attributes"].values():
            left = list(values)
            while len(left) > 1:
                half = left[: len(left) // 2]
                question = f"Is it {' or '.join(half)}?"
                yield question
                told = self.discuss(question) == "Yes."
                left = half if told else left[len(half) :]
            known += left
        yield f"Guess: {' '.join(known)}"


_SMALL: Final = frozenset([
    "is", "does", "it", "its", "the", "a", "an", "one", "of", "made", "from", "in", "have", "has",
    "thing", "toy", "either", "colour", "color", "size", "kind", "material", "age", "your", "you",
    "think",
])  # fmt: skip
"""Words of a question or a guess that name nothing."""

OPPONENTS: Final[Mapping[str, type[Opponent]]] = {
    each.game: each for each in (Number, Code, TwentyQuestions)
}


def opponent_of(task: Task) -> Opponent:
    """Return the opponent of a task. Raises `UsageError` for one that is no game."""
    where, game = f"task {brief(task.id)[1:-1]}", task.metadata.get("game")
    if not isinstance(game, str) or game not in OPPONENTS:
        raise unknown(f"{where}: game", game, OPPONENTS)
    kind = OPPONENTS[game]
    wanted = ("turns", "secret", *kind.needs)
    if missing := [name for name in wanted if name not in task.metadata]:
        expected = f"expected {', '.join(wanted)}"
        raise UsageError(f"{where}: its metadata lacks {', '.join(missing)}; {expected}")
    return kind(task.metadata)
