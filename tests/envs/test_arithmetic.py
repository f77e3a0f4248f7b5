import dataclasses
import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.envs import arithmetic
from qwq_env.envs.arithmetic import INSTRUCTION, ArithmeticTaskSet, StoryTaskSet, exact_text
from qwq_env.envs.word_problems import LEVELS, NAMES, OPERATORS, Range, Wording
from qwq_env.errors import UsageError

difficulties = st.integers(1, len(LEVELS))
splits = st.sampled_from(["train", "heldout"])
wordings = st.sampled_from(["shared", "own"])
indices = st.integers(0, 2**31)


def value_of(steps: tuple[str, ...]) -> Fraction:
    results: list[Fraction] = []
    for step in steps:
        left, sign, right = re.fullmatch(r"(.+?)([-+*/])(.+)", step).groups()
        numbers = [
            results[int(number[1:-1])] if number.startswith("{") else Fraction(number)
            for number in (left, right)
        ]
        results.append(OPERATORS[sign](*numbers))
    return results[-1]


def key_of(prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = sorted(set(re.findall("|".join(NAMES), prompt)))
    return tuple(names), tuple(sorted(re.findall(r"\d+(?:\.\d+)?", prompt)))


@given(difficulties, splits, wordings, indices)
def test_the_steps_lead_to_the_answer_exactly(
    difficulty: int, split: str, stories: str, index: int
) -> None:
    task = ArithmeticTaskSet(difficulty=difficulty, split=split, wordings=stories).task(index)

    assert value_of(task.steps) == Fraction(task.answer) > 0


@given(difficulties, splits, wordings, indices, st.integers(0, 9))
def test_a_task_is_found_by_its_id(
    difficulty: int, split: str, stories: str, index: int, seed: int
) -> None:
    tasks = ArithmeticTaskSet(seed=seed, difficulty=difficulty, split=split, wordings=stories)

    assert tasks.find(tasks.task(index).id) == tasks.task(index)


def test_the_same_index_gives_the_same_task_on_every_machine() -> None:
    task = ArithmeticTaskSet(seed=7, difficulty=3).task(11)

    assert task.id == "arithmetic/3/train/7/11"
    assert task.prompt == (
        "Felix finds 466 shells in one crate and 12521 in another, and shares them equally "
        "among 37 bags. How many shells are in each bag?" + INSTRUCTION
    )
    assert task.answer == "351"


def narrow(wording: Wording) -> Wording:
    """Return the wording with so few numbers that two draws of hundreds must meet."""
    numbers = {
        name: Range(span.low, span.low + 2, span.scale) for name, span in wording.numbers.items()
    }
    return dataclasses.replace(wording, numbers=numbers)


@pytest.mark.parametrize("difficulty", range(1, len(LEVELS) + 1))
def test_the_splits_share_no_names_with_numbers(monkeypatch, difficulty: int) -> None:
    few = [tuple(narrow(wording) for wording in level[:1]) for level in LEVELS]
    monkeypatch.setattr(ArithmeticTaskSet, "told", few)
    monkeypatch.setattr(arithmetic, "NAMES", NAMES[:4])
    train, same, held_out = (
        {key_of(tasks.task(index).prompt) for index in range(400)}
        for seed, split in [(1, "train"), (2, "train"), (1, "heldout")]
        for tasks in [ArithmeticTaskSet(seed=seed, difficulty=difficulty, split=split)]
    )

    # Two draws of one split do meet, so that two of both would.
    assert train & same
    assert not train & held_out


@pytest.mark.parametrize("kind", [ArithmeticTaskSet, StoryTaskSet])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_wording_reads_well_and_ends_as_asked(kind, split: str) -> None:
    levels = kind.told if split == "train" else kind.told_apart
    for difficulty, level in enumerate(levels, start=1):
        tasks = kind(difficulty=difficulty, split=split, wordings="own")
        prompts = [tasks.task(index).prompt for index in range(20 * len(level))]

        assert all(prompt.endswith(INSTRUCTION) for prompt in prompts)
        assert not any(re.search("[{}]|  ", prompt.removesuffix(INSTRUCTION)) for prompt in prompts)


def test_held_out_stories_of_their_own_change_nothing_that_is_trained_on() -> None:
    train, shared, own = (
        [ArithmeticTaskSet(split=split, wordings=wordings).task(index) for index in range(40)]
        for split, wordings in [("train", "own"), ("heldout", "shared"), ("heldout", "own")]
    )
    words = [{re.sub(r"\d+|[A-Z]\w+", "", task.prompt) for task in tasks} for tasks in (train, own)]

    assert train == [ArithmeticTaskSet().task(index) for index in range(40)]
    assert not words[0] & words[1]
    assert not {task.id for task in own} & {task.id for task in shared}
    with pytest.raises(UsageError, match="wordings: 'apart' is not known"):
        ArithmeticTaskSet(wordings="apart")


def test_a_story_of_one_operation_has_its_numbers_and_an_answer_of_its_own() -> None:
    told, apart = StoryTaskSet.told[0], StoryTaskSet.told_apart[0]
    signs = [Counter(wording.steps[0].operator for wording in level) for level in (told, apart)]

    assert signs == [dict(zip("+-*/", (20, 20, 20, 30), strict=True)), dict.fromkeys("+-*/", 5)]
    assert not {wording.text for wording in told} & {wording.text for wording in apart}
    for wordings in ("shared", "own"):
        tasks = StoryTaskSet(split="heldout", wordings=wordings)
        for task in (tasks.task(index) for index in range(200)):
            left, right = map(int, re.split("[-+*/]", task.steps[0]))
            shown = list(map(int, re.findall(r"\d+", task.prompt)))
            assert sorted(shown) == sorted([left, right])
            assert Fraction(task.answer).denominator == 1 and Fraction(task.answer) >= 3
            if set("+*") & set(task.steps[0]):
                assert shown == [left, right]
            assert tasks.find(task.id) == task


def test_the_tasks_of_a_seed_are_its_own() -> None:
    ours = [ArithmeticTaskSet(seed=0).task(index).prompt for index in range(50)]
    theirs = [ArithmeticTaskSet(seed=1).task(index).prompt for index in range(50)]

    assert len(set(ours) | set(theirs)) == 100


@pytest.mark.parametrize(
    "task_id",
    [
        "arithmetic/1/train/1/0",
        "arithmetic/1/heldout/0/0",
        "arithmetic/1/train/0/",
        "arithmetic/1/train/0/-1",
        "arithmetic/1/train/0/01",
        "arithmetic/1/train/0/" + "9" * 5000,
        "gsm8k/3",
    ],
)
def test_an_id_of_another_set_is_a_key_error(task_id: str) -> None:
    with pytest.raises(KeyError):
        ArithmeticTaskSet().find(task_id)


def test_bad_settings_are_named() -> None:
    with pytest.raises(UsageError, match="difficulty: 9; expected 1 to 5"):
        ArithmeticTaskSet(difficulty=9)
    with pytest.raises(UsageError, match="did you mean 'heldout'"):
        ArithmeticTaskSet(split="held_out")
    with pytest.raises(IndexError):
        ArithmeticTaskSet().task(-1)


@given(st.fractions(max_denominator=10**6))
def test_exact_text_loses_nothing(value: Fraction) -> None:
    assert Fraction(exact_text(value)) == value


def test_exact_text_prefers_what_people_write() -> None:
    values = [Fraction(508), Fraction(-1, 8), Fraction(1, 3), Fraction(61, 20)]

    assert [exact_text(value) for value in values] == ["508", "-0.125", "1/3", "3.05"]
