"""`qwq/MathTool-v0`: a math problem, a calculator, a Python interpreter, one boxed answer.

**Task.** A problem whose answer is a number or an expression. `tasks="arithmetic"` makes word
problems without a download: endless, in five difficulties, with exact answers. A JSONL file or a
Hugging Face dataset may be of any form in `qwq_env.tasks.rows`: MATH, GSM8K, DAPO, and more. The
held-out word problems have names and numbers of their own; with `wordings="own"` also stories
that training does not tell.

**Tools.** `calculator`: exact arithmetic. `python`: an interpreter of the episode's own, in the
sandbox. Others by name, or your own.

**Reward.** 1.0 if the last boxed answer after the thinking equals the reference, as mathematics
and not as text, at the episode's end, else 0.0. A box in the thinking, a computation that is left
to do (`48+24`) and what only a tool printed are not paid.

**An episode.**
```
user       Kira had 871 stamps and gave away 356 of them. How many stamps are left?
           Please reason step by step, and put your final answer within \\boxed{}.
assistant  calculator(expression="871-356")
tool       515
assistant  There are \\boxed{515} stamps left.
reward     1.0
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Unpack

from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.arithmetic import INSTRUCTION, ArithmeticTaskSet, StoryTaskSet
from qwq_env.errors import UsageError
from qwq_env.grading.answer import last_boxed
from qwq_env.grading.math import BadReference, MathGrader, check_gold
from qwq_env.grading.math.unevaluated import restates
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet, read_any_row
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import Tool
from qwq_env.tools import make_tools
from qwq_env.tools.calculator import Calculator
from qwq_env.vector import vector_of


class MathToolEnv(ToolEnv):
    """Math with tools.

    `tasks` is `"arithmetic"` or `"stories"`, shorter and in many more wordings (both procedural,
    seeded, endless; graded by `difficulty`), a path to a JSONL file in any form of
    `qwq_env.tasks.rows` (MATH, GSM8K, DAPO, ...), a Hugging Face dataset id such as
    `"openai/gsm8k"` with its `split`, or a `TaskSet`. Rows that cannot be graded against are left
    out and told of; `strict` refuses the file instead. `tools` are names or `Tool`s.
    `wordings` is for the word problems: see `ArithmeticTaskSet`.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "arithmetic",
        tools: Sequence[str | Tool] = ("calculator", "python"),
        *,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        strict: bool = False,
        wordings: str = "shared",
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        super().__init__(
            math_tasks(
                tasks,
                difficulty=difficulty,
                split=split,
                seed=task_seed,
                strict=strict,
                wordings=wordings,
            ),
            make_tools(tools),
            Rubric([Component("accuracy", accuracy)]),
            **options,
        )

    def phrase_answer(self, answer: str) -> str:
        """Return `answer` in a box."""
        return f"\\boxed{{{answer}}}"

    def solve(self, task: Task) -> Sequence[str | Message] | None:
        """Return a call of the calculator for each of the task's `steps`, then the answer.

        None for a task without steps, and where there is no calculator.
        """
        calculator = next((t for t in self.settings.tools if isinstance(t, Calculator)), None)
        if calculator is None or not task.steps:
            return None
        moves: list[Message] = []
        results: list[str] = []
        for step in task.steps:
            expression = step.format(*results)
            value = calculator.evaluate(expression).split()[0]
            results.append(f"({value})" if "/" in value else value)
            call = {"function": {"name": calculator.name, "arguments": {"expression": expression}}}
            moves.append({"role": "assistant", "tool_calls": [call]})
        answer = f"The answer is {self.phrase_answer(str(task.answer))}"
        return [*moves, {"role": "assistant", "content": answer}]


def math_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    strict: bool = False,
    wordings: str = "shared",
) -> TaskSet:
    """Return the task set that `tasks` names; see `MathToolEnv`.

    A reference answer that cannot be graded against must show now, not at the first reward: its row
    is left out (with `strict`: `UsageError`), and in a `TaskSet` it is refused.
    """
    made = {
        name: partial(kind, seed=seed, difficulty=difficulty, split=split, wordings=wordings)
        for name, kind in (("arithmetic", ArithmeticTaskSet), ("stories", StoryTaskSet))
    }
    configuration = "main" if str(tasks) == "openai/gsm8k" else None
    opened = open_tasks(
        tasks, made, reader=math_row, configuration=configuration, split=split, strict=strict
    )
    if opened is tasks and isinstance(opened, ListTaskSet):
        for task in opened:
            try:
                _check_answer(task.answer)
            except UsageError as error:
                raise UsageError(f"task {task.id}: {error}") from None
    return opened


def math_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read a row of any form of `read_any_row`; ask for a boxed answer if it does not.

    Raises `UsageError` for a row of none, and for an answer that cannot be graded against.
    """
    task = read_any_row(row, task_id)
    _check_answer(task.answer)
    asked = task.messages or "\\boxed" in task.prompt
    return task if asked else replace(task, prompt=task.prompt + INSTRUCTION)


def _check_answer(answer: Any) -> None:
    try:
        check_gold(answer)
        _grader().validate_gold(str(answer))
    except BadReference as error:
        raise BadReference(f"answer: {error}") from None


async def accuracy(final: FinalTurn) -> Score:
    """Pay 1.0 for a right boxed answer. Module-level, so that environments can be pickled.

    An expression of the task's own text is equal to its answer and computes nothing: not paid.
    """
    gold = str(final.task.answer)
    score = await _grader().grade(gold, final.answer, "response")
    boxed = last_boxed(final.answer) if score.value else None
    if boxed is not None and restates(final.task.prompt, boxed, gold):
        return Score.wrong("restated", "the box holds an expression of the task").of(boxed)
    return score


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader(boxed_only=True)


make_vector = vector_of(MathToolEnv)
