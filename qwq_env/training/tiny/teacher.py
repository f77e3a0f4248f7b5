"""An imperfect teacher: episodes that show how a tool is used, and mostly do not use it.

Why imperfect: a policy that starts from flawless transcripts has nothing left to learn, and one
that never saw the tool used rightly has no reward to learn from. Most of these episodes guess;
reinforcement has to find out which of the ways it was shown pays.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from qwq_env import portal
from qwq_env.dialect.base import Dialect, Piece
from qwq_env.errors import UsageError
from qwq_env.task import Task, TaskSet
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox
from qwq_env.training.transcript import Part, Transcript

_CALCULATOR = "calculator"
_THOUGHT = "I should use the calculator."
_OPERATIONS: Mapping[str, str] = {
    "+": "I add these up.",
    "-": "I take the difference.",
    "*": "I multiply them.",
    "/": "I divide it.",
}


@dataclass(frozen=True, slots=True)
class TeacherMix:
    """How often the teacher does what, as fractions that sum to 1.

    `guess`: answers at once, wrongly. `call`: calls the calculator for every step, and boxes its
    last result. `slip`: calls it with a wrong expression, and believes the result. `malformed`:
    writes a broken call, then guesses. `ignore`: calls it rightly, and answers something else.
    """

    guess: float = 0.57
    call: float = 0.23
    slip: float = 0.08
    malformed: float = 0.06
    ignore: float = 0.06

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise UsageError(f"teacher {field.name}: {value!r}; expected a number from 0 to 1")
        if abs(sum(self.weights().values()) - 1) > 1e-6:
            raise UsageError(f"teacher: the fractions {self.weights()} do not sum to 1")

    def weights(self) -> Mapping[str, float]:
        """Return the fractions by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


ONLY_GUESSES = TeacherMix(guess=1.0, call=0.0, slip=0.0, malformed=0.0, ignore=0.0)
"""The mix for an environment without a calculator: the form of an answer, and no tool."""


def has_calculator(tools: Sequence[Tool]) -> bool:
    """Say whether the tool is there that the teacher uses."""
    return any(tool.name == _CALCULATOR for tool in tools)


class Teacher:
    """Writes transcripts on the tasks of a set, whose tasks have `steps`.

    Each transcript holds the very text that an episode would: prompts and results are rendered
    by `dialect`, and the calls are read by it and run on the calculator among `tools` (a teacher
    who only guesses needs none).
    """

    def __init__(
        self,
        tasks: TaskSet,
        tools: Sequence[Tool],
        dialect: Dialect,
        *,
        system_prompt: str | None = None,
        mix: TeacherMix | None = None,
        names_operation: bool = False,
        seed: int = 0,
    ) -> None:
        """With `names_operation` each thought says what is to be done, be it called or guessed, for
        a language model to carry over: it knows what "I divide" means before it knows the form of
        a call.

        Raises `UsageError` if the calculator is wanted and not among the tools, and for a
        dialect that does not read the calls that the teacher writes."""
        mix = mix or TeacherMix()
        if mix.guess < 1 and not has_calculator(tools):
            names = ", ".join(tool.name for tool in tools) or "none"
            raise UsageError(f"tools: {names}; expected {_CALCULATOR!r}, which the teacher uses")
        if mix.guess < 1 and not dialect.parse(_turn_of(_call_of("1+1"))).requests:
            name = type(dialect).__name__
            raise UsageError(f"dialect: {name} does not read the teacher's calls; expected qwq's")
        self._tasks = tasks
        self.tools = tuple(tools)
        self._called = tuple(tool for tool in self.tools if tool.name == _CALCULATOR)
        self._dialect = dialect
        self._system_prompt = system_prompt
        self._weights = mix.weights()
        self._names_operation = names_operation
        self._seed = seed

    def transcripts(self, count: int, *, first: int = 0) -> list[Transcript]:
        """Write about `count` tasks from index `first` on."""

        async def write_all() -> list[Transcript]:
            return [await self.write(first + index) for index in range(count)]

        return portal.run(write_all())

    async def write(self, index: int) -> Transcript:
        """Write the transcript about one task: the same for the same seed and index.

        Raises `UsageError` for a task without steps.
        """
        task = self._tasks.task(index)
        if not task.steps:
            raise UsageError(f"task {task.id!r}: no steps; the teacher can only do arithmetic")
        chance = random.Random(f"{self._seed}/{index}")
        way = chance.choices(list(self._weights), list(self._weights.values()))[0]
        toolbox = Toolbox(self._called, seed=index)
        try:
            lesson = _Lesson(task, self._dialect, toolbox, chance, self._names_operation)
            return await lesson.give(way, self._opening(task))
        finally:
            await toolbox.aclose()

    def _opening(self, task: Task) -> tuple[Piece, ...]:
        schemas = [tool.schema() for tool in self.tools]
        return tuple(self._dialect.render(task.conversation(self._system_prompt), schemas))


class _Lesson:
    """One transcript in the making."""

    def __init__(
        self,
        task: Task,
        dialect: Dialect,
        toolbox: Toolbox,
        chance: random.Random,
        names_operation: bool,
    ) -> None:
        self._task = task
        self._dialect = dialect
        self._toolbox = toolbox
        self._chance = chance
        self._names_operation = names_operation
        self._parts: list[Part] = []

    async def give(self, way: str, opening: tuple[Piece, ...]) -> Transcript:
        self._parts.append(Part(opening, "task"))
        if way == "guess":
            self._answer(self._plan("I can do this in my head."), self._guess())
        elif way == "call":
            self._answer("That is the answer.", await self._work_out(lambda step, last: step))
        elif way == "slip":
            result = await self._work_out(lambda step, last: self._slip(step) if last else step)
            self._answer("That is the answer.", result)
        elif way == "malformed":
            [first, *_] = self._task.steps
            await self._call(self._break(_call_of(first)), self._thought(first))
            self._answer("Then I do it in my head.", self._guess())
        else:
            await self._work_out(lambda step, last: step)
            self._answer("I would rather trust my head.", self._guess())
        return Transcript(tuple(self._parts))

    def _thought(self, expression: str) -> str:
        return _OPERATIONS[_operator(expression)] if self._names_operation else _THOUGHT

    def _plan(self, thought: str) -> str:
        """Put before a thought, if they are to be named, the operations of the task."""
        named = map(self._thought, self._task.steps) if self._names_operation else ()
        return " ".join([*named, thought])

    async def _work_out(self, alter: Callable[[str, bool], str]) -> str:
        """Call the calculator for each step as `alter` writes it; return the last result."""
        results: list[str] = []
        steps = self._task.steps
        for number, step in enumerate(steps, start=1):
            expression = alter(step, number == len(steps)).format(*results)
            content = await self._call(_call_of(expression), self._thought(expression))
            value = content.split()[0]
            if content.startswith("Error"):
                value = self._guess()
            results.append(f"({value})" if "/" in value and number < len(steps) else value)
        return results[-1]

    async def _call(self, call: str, thought: str) -> str:
        self._say(_turn_of(call, thought))
        turn = self._dialect.parse(self._parts[-1].pieces[0].text)
        results = await self._toolbox.run(turn.requests)
        shown = self._dialect.render_results(results, closed=True)
        self._parts.append(Part(tuple(shown), "tool"))
        return results[0].content

    def _answer(self, thought: str, answer: str) -> None:
        self._say(f"{thought}\n</think>\n\nThe answer is \\boxed{{{answer}}}")

    def _say(self, text: str) -> None:
        # The teacher means its markup: the whole turn may hold control tokens.
        piece = Piece(text + self._dialect.end_of_turn, control=True)
        self._parts.append(Part((piece,), "model"))

    def _guess(self) -> str:
        """Return a round number as long as the answer, and another one.

        Round, as guesses are: random digits would drown what there is to learn in noise.
        """
        digits = len(self._task.answer.split(".")[0].split("/")[0].lstrip("-"))
        guesses = [str(digit * 10 ** (digits - 1)) for digit in range(1, 10)]
        return self._chance.choice([guess for guess in guesses if guess != self._task.answer])

    def _slip(self, expression: str) -> str:
        """Return an expression with a wrong operator."""
        place = next(at for at, sign in enumerate(expression) if sign in "+-*/")
        wrong = self._chance.choice([sign for sign in "+-*" if sign != expression[place]])
        return expression[:place] + wrong + expression[place + 1 :]

    def _break(self, call: str) -> str:
        """Return a call that is not JSON any more."""
        return call[: -self._chance.choice((1, 2))]


def _call_of(expression: str) -> str:
    return json.dumps({"name": _CALCULATOR, "arguments": {"expression": expression}})


def _turn_of(call: str, thought: str = _THOUGHT) -> str:
    return f"{thought}\n</think>\n\n<tool_call>\n{call}\n</tool_call>"


def _operator(expression: str) -> str:
    """Return the operator of two numbers of which neither is negative, the first one there is."""
    return next((sign for sign in expression if sign in _OPERATIONS), "+")
