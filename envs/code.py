"""`qwq/CodeTool-v0`: write a program, try it, see which public tests fail, hand it in.

**Task.** A function or a program is asked for. `tasks="functions"` makes such tasks without a
download: one to four operations on a list or a text, in three difficulties. A JSONL file or a
Hugging Face dataset may be of any form in `qwq_env.envs.code_rows`: LiveCodeBench, APPS, TACO,
HumanEval, MBPP, DeepCoder, CodeContests, and more.

**Tools.** `python`: an interpreter of the episode's own. `run_tests(code)`: runs a program against
the task's public tests, and shows input, expected and got where one fails. With `feedback=True` the
tests speak without being asked: a final answer that fails a public test gets the same report as the
user's next message, at most `attempts` times.

**Reward.** 1.0 if the program, the last ```python block of the final answer, passes all tests of
the task, the hidden ones and the public ones, at the episode's end, else 0.0. Which are public is
told in `qwq_env.grading.code.public`; a task all of whose tests are public is refused. Hidden tests
run in sandbox processes that the session of `python` cannot see, and what they expect never enters
one that runs the model's code; where the sandbox failed, nothing is paid or learned.

**An episode.**
```
user       Write a Python function `transform(x)`. Its argument is a list of integers, and it
           returns an integer. It does this, one after the other:
           1. keep only the numbers that are greater than 4
           2. add the numbers up
           ...
assistant  run_tests(code="def transform(x):\n    return sum(n for n in x if n >= 4)")
tool       1 of 3 public tests failed.
           test 2:
             input: transform([4, 9])
             expected: 9
             got: 13
assistant  It has to be greater than 4.
           ```python
           def transform(x):
               return sum(n for n in x if n > 4)
           ```
reward     1.0
```
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Unpack

from qwq_env import portal
from qwq_env.checked_tools import ToolLike
from qwq_env.checks import check_whole
from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.code_functions import FunctionTaskSet
from qwq_env.envs.code_rows import check_task, code_row, fenced
from qwq_env.episode import Episode
from qwq_env.errors import ToolError, UsageError, brief, unknown
from qwq_env.grading.code.fences import program_of
from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.output import NUMBER_RULES, NumberRule
from qwq_env.grading.code.problem import CodeProblem
from qwq_env.grading.code.public import read_public
from qwq_env.grading.code.report import Report, report
from qwq_env.grading.code.rows import read_problem
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.sandbox.interface import Sandbox
from qwq_env.task import ListTaskSet, Task, TaskSet
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import ToolResult
from qwq_env.tool_set import ToolSet
from qwq_env.tools import TOOLS, make_tool
from qwq_env.tools.python import PythonTool
from qwq_env.tools.python.pool import shared_sandbox
from qwq_env.vector import vector_of

_RUN_TESTS: Final = "run_tests"
_NO_BLOCK: Final = "The answer holds no ```python block; its last one is what is handed in."


class CodeToolEnv(ToolEnv):
    """Programs, tried before they are handed in; see the module for task, tools and reward.

    `tasks` is `"functions"` (procedural, seeded, endless, `difficulty` 1 to 3, `split` `"train"` or
    `"heldout"`), a path, a Hugging Face dataset id, or a `TaskSet` whose tasks have their tests in
    `metadata`, in one of the forms that files have. Rows that cannot be graded against are left out
    and told of; `strict` refuses the file instead. `tools` are names, `"run_tests"` among them, or
    whatever else `ToolEnv` takes. `sandbox` is one of your own, such as `RemoteSandbox(url)`, for
    the model's programs and the tests; without it a pool of this process serves them.
    `numbers="livecodebench"` compares as that benchmark's own judge does, for figures and not for
    training.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "functions",
        tools: Sequence[str | ToolLike] = ("python", _RUN_TESTS),
        *,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        strict: bool = False,
        feedback: bool = False,
        attempts: int = 3,
        sandbox: Sandbox | None = None,
        numbers: NumberRule = "tolerance",
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        check_whole("attempts", attempts)
        if numbers not in NUMBER_RULES:
            raise unknown("numbers", numbers, NUMBER_RULES)
        if not isinstance(feedback, bool):
            raise UsageError(f"feedback: {brief(feedback)}; expected True or False")
        self.feedback, self.attempts, self.sandbox = feedback, attempts, sandbox
        super().__init__(
            code_tasks(tasks, difficulty=difficulty, split=split, seed=task_seed, strict=strict),
            code_tools(tools, sandbox),
            Rubric([Component("tests", HiddenTests(sandbox, numbers))]),
            **options,
        )
        if not feedback and type(self).reply is CodeToolEnv.reply:
            self.settings = replace(self.settings, reply=None)

    async def reply(self, episode: Episode) -> str | None:
        """Return the report on a final answer that fails a public test, `attempts` times."""
        said = sum(message["role"] == "user" for message in episode.said)
        if said >= self.attempts:
            return None
        program = program_of(episode.turns[-1].answer)
        if program is None:
            return _NO_BLOCK
        public = read_public(episode.task.metadata)
        found = None if public is None else await _report(self.sandbox, public, program)
        return None if found is None or found.passed else str(found)

    def phrase_answer(self, answer: str) -> str:
        """Return a program in a block of Python."""
        return fenced(answer)

    def solve(self, task: Task) -> Sequence[str | Message] | None:
        """Return turns that try the task's own solution, and hand it in; None if it has none."""
        if not task.answer:
            return None
        program = str(task.answer)
        call = {"name": _RUN_TESTS, "arguments": {"code": program}}
        tries: Message = {
            "role": "assistant",
            "reasoning_content": "I write it down and try it on the public tests.",
            "content": "",
            "tool_calls": [{"type": "function", "function": call}],
        }
        last: Message = {
            "role": "assistant",
            "reasoning_content": "That is the whole program.",
            "content": fenced(program),
        }
        knows = any(tool.name == _RUN_TESTS for tool in self.settings.tools)
        return [tries, last] if knows else [last]


class PublicTests(ToolSet):
    """The public tests of the episode's task, in `sandbox` or in the process's own."""

    blocking = False
    replay = "idempotent"

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._problem: CodeProblem | None = None

    def start(self, task: Task) -> None:
        """Read the public tests, and no others."""
        self._problem = read_public(task.metadata)

    async def run_tests(self, code: str) -> ToolResult:
        """Run a program against the public tests of the task, and see which of them fail.

        Args:
            code: The whole program, as it would be handed in.
        """
        if not code.strip():
            raise ToolError("the code is empty; write the whole program")
        if self._problem is None:
            return ToolResult("This task has no public tests; run the program with examples.")
        program = program_of(code) or code
        found = await _report(self._sandbox, self._problem, program)
        return ToolResult(str(found), {"tests": found.tests, "failed": len(found.failures)})


class HiddenTests:
    """The reward: 1.0 for a final answer whose program passes every test of its task.

    `numbers` says how what it prints and returns is compared, see `CodeGrader`.
    """

    def __init__(self, sandbox: Sandbox | None = None, numbers: NumberRule = "tolerance") -> None:
        self._numbers: NumberRule = numbers
        self._grader = None if sandbox is None else CodeGrader(sandbox, numbers=numbers)

    async def __call__(self, final: FinalTurn) -> Score:
        """Score the last Python block of the final answer."""
        # An archive of tests may take a while to unpack, and other episodes go on meanwhile.
        problem = await asyncio.to_thread(read_problem, final.task.metadata)
        if self._grader is not None:
            return await self._grader.grade(problem, final.answer)
        return await portal.reach(_graded(problem, final.answer, self._numbers))


def code_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    strict: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` names; see `CodeToolEnv`.

    Tests that cannot be used must show now, not at the first reward: their row is left out (with
    `strict`: `UsageError`), and in a `ListTaskSet` they are refused.
    """
    made = {
        "functions": lambda: FunctionTaskSet(seed=seed, difficulty=difficulty, split=split),
    }
    opened = open_tasks(tasks, made, reader=code_row, split=split, strict=strict)
    if opened is tasks and isinstance(opened, ListTaskSet):
        for task in opened:
            check_task(task)
    return opened


def code_tools(tools: Sequence[str | ToolLike], sandbox: Sandbox | None = None) -> list[ToolLike]:
    """Return the tools that are given by name or as they are; those of this file run in `sandbox`.

    Raises `UsageError` for a name that is not known.
    """
    if not isinstance(tools, list | tuple):
        raise UsageError(f"tools: {brief(tools)}; expected a list, such as ['python', 'run_tests']")
    return [_tool(tool, sandbox) if isinstance(tool, str) else tool for tool in tools]


def _tool(name: str, sandbox: Sandbox | None) -> ToolLike:
    if name == _RUN_TESTS:
        return PublicTests if sandbox is None else functools.partial(PublicTests, sandbox)
    if name not in TOOLS:
        raise unknown("tool", name, [*TOOLS, _RUN_TESTS])
    return make_tool(name) if name != "python" else PythonTool(sandbox=sandbox)


async def _report(sandbox: Sandbox | None, problem: CodeProblem, program: str) -> Report:
    if sandbox is not None:
        return await report(sandbox, problem, program)

    async def on_own_loop() -> Report:
        return await report(shared_sandbox(), problem, program)

    return await portal.reach(on_own_loop())


async def _graded(problem: CodeProblem, answer: str, numbers: NumberRule) -> Score:
    return await _shared_grader(shared_sandbox(), numbers).grade(problem, answer)


@functools.lru_cache(maxsize=len(NUMBER_RULES))
def _shared_grader(sandbox: Sandbox, numbers: NumberRule) -> CodeGrader:
    """Return the grader of the process's sandbox: of another one after a fork."""
    return CodeGrader(sandbox, numbers=numbers)


make_vector = vector_of(CodeToolEnv)
