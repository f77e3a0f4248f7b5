"""`qwq/MathTool-v0`: a math problem, a calculator, a Python interpreter, one boxed answer.

Paid 1.0 if the last boxed answer after the thinking is right, else 0.0, at the episode's end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from qwq_env.dialect import Dialect
from qwq_env.env import ToolEnv
from qwq_env.envs.arithmetic import INSTRUCTION, ArithmeticTaskSet
from qwq_env.errors import UsageError
from qwq_env.grading.answer import last_boxed
from qwq_env.grading.math import BadReference, MathGrader
from qwq_env.grading.score import Score
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, TaskSet, load_huggingface, load_jsonl
from qwq_env.tool import Tool
from qwq_env.toolbox import ToolLimits
from qwq_env.tools import make_tools
from qwq_env.truncation import Tokenizer
from qwq_env.vector import vector_of

_NUMERAL = re.compile(
    r"\$?[-+\u2212]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:/\d+)?\$?"
    r"|[-+\u2212]?\\[dt]?frac\{\d+\}\{\d+\}",
    re.ASCII,
)


class MathToolEnv(ToolEnv):
    """Math with tools.

    `tasks` is `"arithmetic"` (procedural, seeded, endless; graded by `difficulty`), a path to a
    JSONL file in GSM8K's form or of `prompt`/`answer` rows, a Hugging Face dataset id such as
    `"openai/gsm8k"` with its `split`, or a `TaskSet`. `tools` are names or `Tool`s.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "arithmetic",
        tools: Sequence[str | Tool] = ("calculator", "python"),
        *,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        dialect: str | Dialect = "qwq",
        limits: EpisodeLimits | None = None,
        tool_limits: ToolLimits | None = None,
        system_prompt: str | None = None,
        tokenizer: Tokenizer | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            math_tasks(tasks, difficulty=difficulty, split=split, seed=task_seed),
            make_tools(tools),
            Rubric([Component("accuracy", accuracy)]),
            dialect=dialect,
            limits=limits,
            tool_limits=tool_limits,
            system_prompt=system_prompt,
            tokenizer=tokenizer,
            render_mode=render_mode,
        )

    def phrase_answer(self, answer: str) -> str:
        """Return `answer` in a box."""
        return f"\\boxed{{{answer}}}"


def math_tasks(
    tasks: str | Path | TaskSet, *, difficulty: int = 1, split: str = "train", seed: int = 0
) -> TaskSet:
    """Return the task set that `tasks` names; see `MathToolEnv`."""
    if isinstance(tasks, TaskSet):
        return tasks
    if tasks == "arithmetic":
        return ArithmeticTaskSet(seed=seed, difficulty=difficulty, split=split)
    path = Path(tasks)
    if path.suffix in (".jsonl", ".json") or path.is_file():
        return _prepared(load_jsonl(path))
    if "/" not in str(tasks):
        raise UsageError(
            f"tasks: {str(tasks)!r}; expected 'arithmetic', a .jsonl path or a dataset id org/name"
        )
    configuration = "main" if str(tasks) == "openai/gsm8k" else None
    return _prepared(load_huggingface(str(tasks), configuration=configuration, split=split))


async def accuracy(final: FinalTurn) -> Score:
    """Pay 1.0 for a right boxed answer. Module-level, so that environments can be pickled.

    A task of arithmetic asks for the number: the operation in the box, `\\boxed{759+839}`, is
    equal to it and computes nothing, so it is not paid.
    """
    if "steps" in final.task.metadata:
        boxed = last_boxed(final.answer)
        if boxed is not None and not _NUMERAL.fullmatch(boxed.replace(" ", "")):
            return Score.wrong("no_numeral", "the box holds something else than one number")
    return await _grader().grade(str(final.task.answer), final.answer, "response")


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader(boxed_only=True)


def _prepared(tasks: TaskSet) -> TaskSet:
    """Ask for a boxed answer where a task does not; refuse reference answers that are none.

    A reference answer that cannot be read must fail now, not at the first reward.
    """
    prepared = []
    for task in tasks:
        try:
            _grader().validate_gold(str(task.answer))
        except BadReference as error:
            raise BadReference(f"task {task.id}: {error}") from None
        asked = task.messages or "\\boxed" in task.prompt
        prepared.append(task if asked else replace(task, prompt=task.prompt + INSTRUCTION))
    return ListTaskSet(prepared)


make_vector = vector_of(MathToolEnv)
