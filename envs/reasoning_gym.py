"""The data sets of reasoning-gym that can be paid for: which, by whom they are graded, and why not.

A scorer of reasoning-gym is given what the model wrote, and some of them evaluate it as Python, pay
for it whatever it says, or never come back. So each data set is on one of these lists, by what its
scorer does (version 0.1.25):

- `EXACT`: only its own answer earns the full score, so it is compared here, and the library is not
  asked. Scorers that evaluate the model's text for a part of the score are among them.
- `ARITHMETIC`: an expression over given numbers; read and computed by our own calculator.
- `SCORED`: there are several right answers, or a tolerance; the library's scorer compares without
  running anything, in a worker that can be killed.
- `REFUSED`: the others, each with the reason.

Partial credit is not paid: 0.99 and more is right, everything else is wrong.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from qwq_env.envs.procedural import split_of
from qwq_env.envs.puzzles import INSTRUCTION
from qwq_env.errors import ToolError, UsageError, brief, unknown
from qwq_env.grading.pool import GraderPool, PoolSettings
from qwq_env.grading.score import Score
from qwq_env.task import Task, TaskSet
from qwq_env.tools.calculator import value_of
from qwq_env.tools.calculator.notation import Binary, Negative, Node, Number, parse

_EXACT = """
    ab acre aiw arc_1d arc_agi base_conversion basic_arithmetic bf binary_alternation binary_matrix
    bitwise_arithmetic caesar_cipher calendar_arithmetic chain_sum circuit_logic coin_flip
    color_cube_rotation count_bits count_primes course_schedule decimal_chain_sum dice emoji_mystery
    family_relationships figlet_font futoshiki game_of_life game_of_life_halting gcd gsm_symbolic
    isomorphic_strings largest_island lcm leg_counting letter_counting letter_jumble list_functions
    mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid n_queens needle_haystack
    number_filtering number_format number_sequence number_sorting path_star products ransom_note
    rearc rectangle_count rotate_matrix rotten_oranges self_reference sentence_reordering
    simple_equations simple_geometry spell_backward spiral_matrix string_insertion
    string_manipulation string_splitting string_synthesis sudoku survo syllogism time_intervals
    tsumego word_sequence_reversal word_sorting zebra_puzzles
"""
_SCORED = """
    advanced_geometry cryptarithm decimal_arithmetic fraction_simplification
    group_anagrams jugs kakurasu knight_swap knights_knaves palindrome_generation
    palindrome_partitioning polynomial_equations pool_matrix power_function prime_factorization
    quantum_lock rubiks_cube shortest_path sokoban tower_of_hanoi word_ladder
"""
_GUESSABLE = """
    acre aiw binary_alternation calendar_arithmetic circuit_logic color_cube_rotation count_bits
    course_schedule dice family_relationships game_of_life game_of_life_halting gcd
    isomorphic_strings knights_knaves largest_island letter_counting mahjong_puzzle
    manipulate_matrix maze number_sequence polynomial_equations ransom_note rectangle_count
    rotten_oranges self_reference shortest_path syllogism zebra_puzzles
"""
EXACT: Final = frozenset(_EXACT.split())
SCORED: Final = frozenset(_SCORED.split())
ARITHMETIC: Final = frozenset({"countdown", "puzzle24"})
GUESSABLE: Final = frozenset(_GUESSABLE.split())
"""Where one answer is right a tenth of the time or more: made where they are named, not else."""
NOT_MADE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("acre", "gsm_symbolic", "list_functions", "word_ladder"), "it is a list of fixed length"
    ),
    **dict.fromkeys(("futoshiki", "knight_swap"), "a task takes seconds to make"),
}
"""What is graded in stored rows only, and why no tasks are made of it."""
REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("intermediate_integration", "polynomial_multiplication", "simple_integration"),
        "its scorer evaluates the answer as Python",
    ),
    **dict.fromkeys(
        ("boxnet", "graph_color", "rush_hour"), "its tasks come without an answer to check it by"
    ),
    "codeio": "it runs the programs of its data file in this process",
    "complex_arithmetic": "its scorer pays for the text nan",
    "composite": "it stands for others; name those",
    "propositional_logic": "its scorer pays for a premise that is repeated",
}

_RIGHT: Final = 0.99
_LONGEST: Final = 20_000
_ATTEMPTS: Final = 64
_ITEMS: Final = 2**31
_NUMBER = re.compile(r"[-+]?(?!0\d)(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?", re.ASCII)
_MARKS: Final = " .`\"'$"
# What a scorer raises at a text that is no answer of its form.
_UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


class ReasoningGymTaskSet(TaskSet):
    """Tasks that reasoning-gym makes with its default settings, by index; the data sets take turns.

    `split` is `"train"` or `"heldout"`, decided by a task's question as in `PuzzleTaskSet`.
    """

    size = None

    def __init__(self, names: Sequence[str] = (), *, seed: int = 0, split: str = "train") -> None:
        """Take the data sets of those names, or all that are not easily guessed.

        Raises `UsageError` for a name that is unknown or refused, for a split that there is not,
        and where reasoning-gym is not installed.
        """
        if split not in ("train", "heldout"):
            raise unknown("split", split, ("train", "heldout"))
        for name in names:
            check_name(name)
            if name in NOT_MADE:
                raise UsageError(f"tasks: {name}: {NOT_MADE[name]}; expected its rows in a file")
        every = (EXACT | SCORED | ARITHMETIC) - GUESSABLE - NOT_MADE.keys()
        self.names = tuple(names) or tuple(sorted(every))
        self.seed, self.split = seed, split
        library()

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        place, turn = divmod(index, len(self.names))
        return self._make(self.names[turn], place)

    def find(self, task_id: str) -> Task:
        """Return the task with that id. Raises `KeyError` for an id of another set."""
        name, _, place = task_id.removeprefix("reasoning_gym/").partition(
            f"/{self.split}/{self.seed}/"
        )
        known = name in self.names and place.isascii() and place.isdecimal() and len(place) < 20
        task = self._make(name, int(place)) if known else None
        if task is None or task.id != task_id:
            raise KeyError(task_id)
        return task

    def _make(self, name: str, place: int) -> Task:
        for attempt in range(_ATTEMPTS):
            key = f"{self.seed}/{name}/{place}/{attempt}"
            number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % _ITEMS
            entry = json.loads(json.dumps(_dataset(name)[number], default=str))
            answer = entry["answer"] or entry["metadata"].get("example_correct_answer")
            if answer and split_of(entry["question"]) == self.split:
                prompt = entry["question"].strip() + INSTRUCTION
                metadata = {**entry["metadata"], "source_dataset": name}
                task_id = f"reasoning_gym/{name}/{self.split}/{self.seed}/{place}"
                return Task(task_id, prompt, answer, metadata=metadata)
        raise UsageError(f"tasks: {name} gives no {self.split} task in {_ATTEMPTS} attempts")


def reasoning_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read a row as reasoning-gym writes it: `{"question", "answer", "metadata"}`, the data set's
    name in `metadata["source_dataset"]`; the metadata may be JSON text.

    Raises `UsageError` for a row of another form, and for one that cannot be graded.
    """
    question, answer, metadata = row.get("question"), row.get("answer"), row.get("metadata")
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError):
            metadata = None
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"question: {brief(question)}; expected a text")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("source_dataset"), str):
        raise UsageError(f"metadata: {brief(row.get('metadata'))}; expected source_dataset in it")
    name = metadata["source_dataset"]
    check_name(name)
    answer = answer or metadata.get("example_correct_answer")
    if not isinstance(answer, str) or not answer.strip():
        raise UsageError(f"answer: {brief(answer)}; expected a text")
    if name in ARITHMETIC:
        _numbers(metadata)
    elif name in SCORED:
        library()
    identity = task_id if row.get("id") is None else str(row["id"])
    return Task(identity, question.strip() + INSTRUCTION, answer, metadata=metadata)


def check_name(name: str) -> None:
    """Raise `UsageError` for a data set that is not graded, with the reason."""
    if name in REFUSED:
        raise UsageError(f"tasks: {name} of reasoning_gym is refused: {REFUSED[name]}")
    if name not in EXACT | SCORED | ARITHMETIC:
        raise unknown("data set of reasoning_gym", name, EXACT | SCORED | ARITHMETIC)


async def grade(task: Task, answer: str) -> Score:
    """Score what the model gave as its answer; a task of no data set has the one in `task`."""
    name = task.metadata.get("source_dataset")
    if len(answer) > _LONGEST:
        return Score.wrong("too_long")
    if name in ARITHMETIC:
        return arithmetic(answer, task.metadata)
    if name in SCORED:
        entry = {"question": task.prompt, "answer": task.answer, "metadata": task.metadata}
        score = await _pool().grade(name, answer, entry)
        # What costs more than it may is the answer's own fault.
        return Score.wrong(score.reason) if score.reason == "too_complex" else score
    several = task.metadata.get("valid_answers") if name == "n_queens" else None
    golds = several if isinstance(several, list) else [task.answer]
    right = any(same(answer, str(gold)) for gold in golds)
    return Score.right() if right else Score.wrong()


def same(answer: str, gold: str) -> bool:
    """Say whether two answers are one: the number, or the text but for case, space, the marks
    around it, and quotes in a list.
    """
    numbers = [_NUMBER.fullmatch(text.strip()) for text in (answer, gold)]
    if numbers[0] and numbers[1]:
        first, second = (Decimal(number[0].replace(",", "")) for number in numbers if number)
        return first == second
    return _plain(answer) == _plain(gold)


def _plain(text: str) -> str:
    text = re.sub(r" ?, ?", ",", " ".join(text.split())).casefold().strip(_MARKS)
    return re.sub(r"[\s\"']", "", text) if text[:1] in ("[", "{") else text


def arithmetic(answer: str, metadata: Mapping[str, Any]) -> Score:
    """Pay for an expression that uses each of the given numbers once and gives the target."""
    numbers, target = _numbers(metadata)
    text = re.sub(r"\\(?:times|cdot)", "*", answer).replace("\\div", "/")
    try:
        tree = parse(text)
        used = sorted(_leaves(tree))
        value = value_of(tree)
    except (ToolError, ValueError) as error:
        return Score.wrong("unreadable", str(error))
    if used != sorted(numbers):
        return Score.wrong("other_numbers")
    return Score.right() if value == target else Score.wrong()


def _leaves(node: Node) -> list[Any]:
    match node:
        case Number(value):
            return [value]
        case Negative(operand):
            return _leaves(operand)
        case Binary(operator, left, right) if operator in "+-*/":
            return _leaves(left) + _leaves(right)
    raise ValueError("only + - * / and the given numbers count")


def _numbers(metadata: Mapping[str, Any]) -> tuple[list[int], int]:
    numbers, target = metadata.get("numbers"), metadata.get("target", 24)
    if not isinstance(numbers, list) or any(type(n) is not int for n in [*numbers, target]):
        raise UsageError(f"metadata: numbers {brief(numbers)}; expected whole numbers")
    return numbers, target


def judge(name: str, answer: str, entry: Mapping[str, Any]) -> Score:
    """Ask the library's scorer, in a worker of the pool."""
    try:
        value = _dataset(name).score_answer(answer, entry)
    except _UNREADABLE as error:
        return Score.wrong("unreadable", f"{type(error).__name__}: {error}")
    return Score.right() if value >= _RIGHT else Score.wrong()


def warm_up() -> None:
    """Import the library before the first call, whose time is bounded."""
    library()


def library() -> Any:
    """Return the package. Raises `UsageError` where it is not installed."""
    try:
        return importlib.import_module("reasoning_gym")
    except ImportError:
        raise UsageError(
            "tasks: reasoning-gym is not installed; pip install 'qwq-env[reasoning]'"
        ) from None


@lru_cache(maxsize=128)
def _dataset(name: str) -> Any:
    return library().create_dataset(name, seed=0)


@lru_cache(maxsize=1)
def _pool() -> GraderPool:
    return GraderPool(PoolSettings(f"{__name__}:judge", cpu_s=2.0, deadline_s=60.0))
