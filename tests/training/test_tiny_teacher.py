import json
from collections import Counter
from dataclasses import replace

import pytest

from qwq_env.dialect.base import text_of
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.envs import arithmetic
from qwq_env.envs.arithmetic import ArithmeticTaskSet, StoryTaskSet
from qwq_env.envs.math import MathToolEnv
from qwq_env.envs.retail.environment import RetailEnv
from qwq_env.envs.word_problems import LEVELS, Range
from qwq_env.errors import UsageError
from qwq_env.grading.answer import final_answer_text, last_boxed
from qwq_env.task import ListTaskSet, Task
from qwq_env.tools.calculator import Calculator
from qwq_env.training.recipe import EnvironmentRecipe, Recipe
from qwq_env.training.teachers import shows_no_call
from qwq_env.training.tiny.lessons import tiny_lessons, tiny_teacher
from qwq_env.training.tiny.teacher import Teacher, TeacherMix
from qwq_env.training.transcript import Transcript

ONLY = dict.fromkeys(TeacherMix().weights(), 0.0)


def teacher(difficulty: int = 1, seed: int = 0, **mix: float) -> Teacher:
    tasks = ArithmeticTaskSet(difficulty=difficulty)
    chosen = TeacherMix(**(ONLY | mix)) if mix else None
    return Teacher(tasks, [Calculator()], QwqDialect(), system_prompt="Go.", mix=chosen, seed=seed)


def turns_of(transcript: Transcript) -> list[str]:
    return [text_of(part.pieces) for part in transcript.parts if part.author == "model"]


def boxed(transcript: Transcript) -> str | None:
    return last_boxed(final_answer_text(turns_of(transcript)[-1]))


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_who_calls_rightly_answers_rightly(difficulty: int) -> None:
    tasks = ArithmeticTaskSet(difficulty=difficulty)

    for index, transcript in enumerate(teacher(difficulty, call=1.0).transcripts(20)):
        task = tasks.task(index)
        assert boxed(transcript) == task.answer
        assert len(turns_of(transcript)) == len(task.steps) + 1


@pytest.mark.parametrize("way", ["guess", "slip", "malformed", "ignore"])
def test_every_other_way_answers_wrongly(way: str) -> None:
    tasks = ArithmeticTaskSet(difficulty=3)
    transcripts = teacher(3, **{way: 1.0}).transcripts(40)
    right = sum(boxed(each) == tasks.task(index).answer for index, each in enumerate(transcripts))

    # A wrong expression can still have the right value: 708+825 and 708+825.
    assert right <= 2
    assert all(boxed(transcript) for transcript in transcripts)


def test_the_prompt_is_the_environments_own() -> None:
    task = ArithmeticTaskSet().task(3)
    opening = QwqDialect().render(task.conversation("Go."), [Calculator().schema()])

    assert list(teacher().transcripts(1, first=3)[0].parts[0].pieces) == opening


def test_results_are_what_the_tool_says() -> None:
    parts = teacher(call=1.0).transcripts(1)[0].parts
    turn = QwqDialect().parse(text_of(parts[1].pieces))
    value = Calculator().evaluate(turn.calls[0].arguments["expression"])

    assert [part.author for part in parts] == ["task", "model", "tool", "model"]
    assert f"<tool_response>\n{value}\n</tool_response>" in text_of(parts[2].pieces)


def test_a_broken_call_is_answered_with_advice() -> None:
    parts = teacher(malformed=1.0).transcripts(1)[0].parts
    turn = QwqDialect().parse(text_of(parts[1].pieces))

    assert turn.errors and not turn.calls
    assert "Error" in text_of(parts[2].pieces)


@pytest.mark.parametrize("way", ["guess", "call", "slip", "malformed", "ignore"])
def test_every_way_names_the_operation_first(way: str) -> None:
    """Whoever guesses learns, too, what is to be computed."""
    named = {"+": "I add", "-": "I take the difference", "*": "I multiply", "/": "I divide"}
    tasks = StoryTaskSet()
    mix = TeacherMix(**(ONLY | {way: 1.0}))
    lessons = Teacher(tasks, [Calculator()], QwqDialect(), mix=mix, names_operation=True)

    for index, transcript in enumerate(lessons.transcripts(20)):
        [step] = tasks.task(index).steps
        sign = next(sign for sign in step if sign in named)
        if way != "slip":
            assert turns_of(transcript)[0].startswith(named[sign])
        assert turns_of(transcript)[0].startswith(tuple(named.values()))


def test_the_fractions_are_kept() -> None:
    ways: Counter[str] = Counter()
    for transcript in teacher().transcripts(400):
        first = turns_of(transcript)[0]
        ways["call" if "<tool_call>" in first else "guess"] += 1

    assert abs(ways["guess"] / 400 - TeacherMix().guess) < 0.08


def test_a_seed_gives_the_same_lessons() -> None:
    texts = [transcript.text for transcript in teacher(seed=1).transcripts(30)]

    assert texts == [transcript.text for transcript in teacher(seed=1).transcripts(30)]
    assert texts != [transcript.text for transcript in teacher(seed=2).transcripts(30)]


def test_no_lesson_is_on_a_task_that_is_trained_on() -> None:
    env = MathToolEnv()
    tasks = [env.tasks.task(index).prompt for index in range(100)]
    lessons = tiny_lessons(env, 100, difficulty=1, seed=0)

    assert not any(task in lesson.text for task in tasks for lesson in lessons)


def test_no_lesson_is_on_a_task_that_is_held_out(monkeypatch) -> None:
    """In a world so small that lessons from the wrong split would hold them."""
    [wording, *_] = LEVELS[0]
    few = {name: Range(span.low, span.low + 3) for name, span in wording.numbers.items()}
    monkeypatch.setattr(ArithmeticTaskSet, "told", [(replace(wording, numbers=few),)])
    for name in ("NAMES", "THINGS"):
        monkeypatch.setattr(arithmetic, name, getattr(arithmetic, name)[:2])
    heldout, train = (
        {env.tasks.task(index).prompt for index in range(200)}
        for env in (MathToolEnv(split=split) for split in ("heldout", "train"))
    )
    lessons = tiny_lessons(MathToolEnv(), 50, difficulty=1, seed=0)

    assert all(any(task in lesson.text for task in train) for lesson in lessons)
    assert not any(task in lesson.text for task in heldout for lesson in lessons)


def test_without_a_calculator_it_shows_no_call_and_that_is_said() -> None:
    """Also where the tools share the state of an episode, whose `start` wants its own task."""
    env = RetailEnv()
    lessons = tiny_teacher(env, difficulty=1, seed=0)
    recipe = Recipe(environment=EnvironmentRecipe(id="qwq/Retail-v0"))
    note = shows_no_call(recipe, lessons)

    assert not any("<tool_call>" in turns_of(lesson)[0] for lesson in lessons.transcripts(20))
    assert note is not None and "cold_start.source=solve" in note
    assert shows_no_call(recipe, tiny_teacher(MathToolEnv(), difficulty=1, seed=0)) is None


def test_bad_settings_are_named() -> None:
    with pytest.raises(UsageError, match="do not sum to 1"):
        TeacherMix(guess=0.9)
    with pytest.raises(UsageError, match=r"teacher slip: -1.0; expected"):
        TeacherMix(slip=-1.0)
    with pytest.raises(UsageError, match="expected 'calculator'"):
        Teacher(ArithmeticTaskSet(), [], QwqDialect())
    with pytest.raises(UsageError, match="'a': no steps"):
        Teacher(ListTaskSet([Task("a", "?", "1")]), [Calculator()], QwqDialect()).transcripts(1)


def test_a_call_is_json_as_hermes_writes_it() -> None:
    turn = turns_of(teacher(call=1.0).transcripts(1)[0])[0]
    call = turn.split("<tool_call>\n")[1].split("\n</tool_call>")[0]

    assert json.loads(call)["name"] == "calculator"
