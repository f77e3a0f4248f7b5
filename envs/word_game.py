"""`qwq/WordGame-v0`: games that are played in words, against an opponent who answers by rule.

**Task.** The opponent has hidden something, and the model finds out what within the turns that the
task allows. `game` is one of these, or `"mixed"`:

| game | hidden | the answer to a turn |
|---|---|---|
| `number` | a whole number | higher, lower |
| `code_breaking` | a row of digits, letters or words | how many are in place, how many elsewhere |
| `twenty_questions` | a thing with a colour, a kind, a material, ... | yes, no |

Games are procedural: seeded, endless, in three difficulties. What is hidden, and the words that
open a game, are of one split only.

**Tools.** None. What the model says is a turn of the game, and the answer comes as a user's
message. A turn without a guess or a question that is understood is told so, and counts.

**Reward.** 1.0 if the hidden thing is named, in a line `Guess: ...` or in `\\boxed{}`, within the
turns, else 0.0. Of several guesses in a turn the last counts; one that names several things names
none. A blind guess is right in one case of 250 or less.

**An episode** (`number`):

    user       I have thought of a whole number from 1 to 1000. Find it: you have 12 turns. ...
    assistant  Guess: 500
    user       My number is lower. (11 turns are left.)
    assistant  Half of what is left is 250.
               Guess: 250
    ...
    assistant  Guess: 173
    reward     1.0
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Unpack

from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.guessing_games import OPPONENTS, opponent_of, play, take
from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.episode import Episode
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet
from qwq_env.vector import vector_of

_LIMITS: Final = EpisodeLimits(turns=64)
_GAMES: Final = (*OPPONENTS, "mixed")


class WordGameEnv(ToolEnv):
    """Games in words; see the module.

    `tasks` is `"games"` (of `game`, `difficulty` 1 to 3, `split` `"train"` or `"heldout"`, and
    `task_seed`), or a `TaskSet` whose tasks have the metadata of a `WordGameSet`. An episode ends
    with the turns of its task; `limits` allows 64 unless it says otherwise.
    """

    def __init__(
        self,
        tasks: str | TaskSet = "games",
        *,
        game: str = "mixed",
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        opened = game_tasks(tasks, game, difficulty=difficulty, split=split, seed=task_seed)
        options["limits"] = options.get("limits") or _LIMITS
        super().__init__(opened, [], Rubric([Component("solved", solved)]), **options)

    def reply(self, episode: Episode) -> str | None:
        """Return what the opponent answers; None if it was found out, or no turn is left."""
        opponent = opponent_of(episode.task)
        number = sum(not turn.requests for turn in episode.turns)
        standing = take(opponent, episode.turns[-1].answer, number)
        return None if standing.solved or number >= opponent.turns else standing.answer

    def phrase_answer(self, answer: str) -> str:
        """Return a guess."""
        return f"Guess: {answer}"

    def solve(self, task: Task) -> Sequence[str | Message]:
        """Return the turns of a player who goes by the answers alone."""
        opponent = opponent_of(task)
        turns: list[str | Message] = []
        for said in opponent.strategy():
            thought = "I take what tells me most."
            turns.append({"role": "assistant", "reasoning_content": thought, "content": said})
            if opponent.answer(said)[0]:
                break
        return turns


def game_tasks(
    tasks: str | TaskSet,
    game: str = "mixed",
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
) -> TaskSet:
    """Return the task set that `tasks` names; see `WordGameEnv`."""
    if tasks == "games":
        return WordGameSet(game, seed=seed, difficulty=difficulty, split=split)
    if not isinstance(tasks, TaskSet):
        raise UsageError(f"tasks: {brief(tasks)}; expected 'games' or a TaskSet")
    for task in tasks if isinstance(tasks, ListTaskSet) else ():
        opponent_of(task)
    return tasks


def solved(final: FinalTurn) -> Score:
    """Pay 1.0 if the turns of the game name what is hidden."""
    said = (turn.answer for turn in final.turns if not turn.requests)
    standing = play(opponent_of(final.task), said)
    return Score.right("solved") if standing.solved else Score.wrong("not_solved")


class WordGameSet(ProceduralTaskSet):
    """Games of one kind, or `"mixed"`, by index.

    1, 2, 3: more is hidden, and fewer turns are left for mistakes. Which split a game belongs to is
    decided by what is hidden alone. `Task.answer` is the hidden thing as a guess names it;
    `metadata` is all that the opponent goes by.
    """

    family = "word_game"
    levels = 3

    def __init__(
        self, game: str = "mixed", *, seed: int = 0, difficulty: int = 1, split: str = "train"
    ) -> None:
        if game not in _GAMES:
            raise unknown("game", game, _GAMES)
        super().__init__(seed=seed, difficulty=difficulty, split=split)
        self.game = game

    @property
    def _prefix(self) -> str:
        return f"{self.family}/{self.game}/{self.difficulty}/{self.split}/{self.seed}/"

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        chance = random.Random(f"{self._prefix}{index}")
        game = chance.choice(list(OPPONENTS)) if self.game == "mixed" else self.game
        while True:
            hidden = _HIDE[game](chance, self.difficulty)
            if split_of(f"{game}|{hidden.answer}") == self.split:
                break
        metadata = {"game": game, "difficulty": self.difficulty, **hidden.metadata}
        opening = chance.choice(_OPENINGS[self.split]).format(
            hidden=hidden.told, turns=metadata["turns"]
        )
        return Task(
            f"{self._prefix}{index}", f"{opening}\n{hidden.rule}", hidden.answer, (), metadata
        )


class _Hidden(NamedTuple):
    """What is hidden, how it is spoken of, how one finds it, and what its opponent goes by."""

    answer: str
    told: str
    rule: str
    metadata: Mapping[str, Any]


_OPENINGS: Final = {
    "train": (
        "I have thought of {hidden}. Find it: you have {turns} turns.",
        "Let us play. I have hidden {hidden}, and you find it within {turns} turns.",
        "There is {hidden} on my card. In {turns} turns at most you should name it.",
    ),
    "heldout": (
        "Try to find out what I have in mind: {hidden}. After {turns} turns the game is over.",
        "My secret is {hidden}. {turns} turns are what you get for it.",
    ),
}
_NUMBERS: Final = {1: (1_000, 12), 2: (4_000, 13), 3: (20_000, 15)}
"""The largest number, and the turns: halving takes 10, 12 and 15."""


def _number(chance: random.Random, difficulty: int) -> _Hidden:
    most, turns = _NUMBERS[difficulty]
    secret = chance.randint(1, most)
    rule = (
        "Each turn, name one number on a line of its own, as in `Guess: N`. I say whether mine is"
        " higher or lower."
    )
    metadata = {"turns": turns, "most": most, "secret": secret}
    return _Hidden(str(secret), f"a whole number from 1 to {most}", rule, metadata)


_SYMBOLS: Final = (
    tuple("0123456789"),
    tuple("abcdefghij"),
    ("red", "blue", "green", "white", "black", "pink", "brown", "grey", "gold", "violet"),
)
_CODES: Final = {1: (3, 8, False, 10), 2: (4, 8, False, 11), 3: (4, 8, True, 12)}
"""Length, how many symbols there are, whether one may come twice, and the turns."""


def _code(chance: random.Random, difficulty: int) -> _Hidden:
    length, count, repeats, turns = _CODES[difficulty]
    symbols = chance.choice(_SYMBOLS)[:count]
    secret = chance.choices(symbols, k=length) if repeats else chance.sample(symbols, length)
    twice = "may come more than once" if repeats else "comes once at most"
    rule = (
        f"The symbols are {', '.join(symbols)}; each {twice}. Each turn, name one row on a line of"
        " its own, as in `Guess: ...`, with blanks between the symbols. I say how many are in the"
        " right place, and how many others are in the row, but in another place."
    )
    metadata = {
        "turns": turns, "length": length, "symbols": list(symbols), "repeats": repeats,
        "secret": secret,
    }  # fmt: skip
    return _Hidden(" ".join(secret), f"a row of {length} symbols", rule, metadata)


_ATTRIBUTES: Final[Mapping[str, Sequence[str]]] = {
    "colour": (
        "red", "blue", "green", "yellow", "white", "black", "brown", "grey", "orange", "purple",
        "pink", "golden",
    ),
    "kind": (
        "boat", "horse", "drum", "lamp", "clock", "train", "whistle", "kite", "dragon", "castle",
        "truck", "robot", "mask", "spinner",
    ),
    "material": (
        "wood", "tin", "glass", "wool", "clay", "paper", "leather", "rubber", "felt", "bamboo",
    ),
    "size": ("tiny", "small", "large", "huge"),
    "age": ("new", "old", "ancient", "recent"),
}  # fmt: skip
_THINGS: Final = {
    1: ({"colour": 6, "kind": 7, "material": 6}, 20),
    2: ({"colour": 8, "kind": 8, "material": 6, "size": 4}, 16),
    3: ({"colour": 8, "kind": 8, "material": 6, "size": 4, "age": 4}, 14),
}
"""How many values of each attribute there are, and the turns: halving takes 10, 12 and 14."""


def _thing(chance: random.Random, difficulty: int) -> _Hidden:
    counts, turns = _THINGS[difficulty]
    attributes = {name: chance.sample(_ATTRIBUTES[name], count) for name, count in counts.items()}
    secret = [chance.choice(values) for values in attributes.values()]
    lists = "\n".join(f"- {name}: {', '.join(values)}" for name, values in attributes.items())
    rule = (
        f"It has one value of each of these:\n{lists}\n"
        'Each turn, ask one question with words of the lists, such as "Is it A or B?" of one list'
        ' or "Is it A and C?" of two, and I say yes or no; or name it on a line of its own by one'
        " value of each, as in `Guess: ...`."
    )
    metadata = {"turns": turns, "attributes": attributes, "secret": secret}
    return _Hidden(" ".join(secret), "a thing in a toy shop", rule, metadata)


_HIDE: Final = {"number": _number, "code_breaking": _code, "twenty_questions": _thing}

make_vector = vector_of(WordGameEnv)
