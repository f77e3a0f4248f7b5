"""What a program does with tests that may be shown: for whoever wrote it, in words.

A grade is one number, and says nothing that helps to mend a program. A `Report` shows what was
given, what was expected and what came instead. It is for public tests only.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError, brief
from qwq_env.grading.code.output import same_output
from qwq_env.grading.code.prelude import with_prelude
from qwq_env.grading.code.problem import CallTest, CodeProblem, Script, StdinTest
from qwq_env.grading.code.script import ScriptRunner, UnusableTests, with_callee
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.source import checked_code
from qwq_env.text.truncation import cut_characters

_MOST_SHOWN: Final = 3
_MOST_CHARACTERS: Final = 400
_MOST_SECONDS: Final = 5.0
_TOGETHER_SECONDS: Final = 15.0
_SLOW: Final = "timeout"
_ENDS: Final = {
    "memory": "out of memory",
    "output": "too much output",
    "killed": "the interpreter died",
    "unsupported": "what came back is no plain value (a number, a text, a list, ...)",
}


class Report(NamedTuple):
    """How many tests there are, how many were run, and a text for each that failed."""

    tests: int
    run: int
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all tests were run, and passed."""
        return not self.failures and self.run == self.tests

    def __str__(self) -> str:
        """The report as a model reads it, shortened."""
        if self.passed:
            return f"All {self.tests} public tests passed."
        failed = len(self.failures)
        lines = [f"{failed} of {self.tests} public tests failed.", *self.failures[:_MOST_SHOWN]]
        if failed > _MOST_SHOWN:
            lines.append(f"({failed - _MOST_SHOWN} more)")
        if self.run < self.tests:
            lines.append(f"({self.tests - self.run} were not run)")
        return "\n".join(lines)


async def report(sandbox: Sandbox, problem: CodeProblem, code: str) -> Report:
    """Run the tests of `problem` against a program, one after the other, and say what failed.

    A test has at most 5 seconds, and the first that takes longer is the last. What the program
    does is in the report; raises `InfrastructureError` where the sandbox failed.
    """
    program = with_prelude(problem.prelude, code)
    tests = problem.tests
    try:
        checked_code(program)
    except UsageError as error:
        return Report(len(tests), 0, (f"the program cannot be run: {error}",))
    seconds = min(problem.seconds, _MOST_SECONDS)
    limits = Limits(cpu_seconds=seconds, wall_seconds=2 * seconds, memory_mb=512)
    if isinstance(tests[0], Script):
        return await _script(sandbox, tests[0], program, limits)
    failures: list[str] = []
    deadline = time.monotonic() + _TOGETHER_SECONDS
    for number, test in enumerate(tests, 1):
        one = _printed if isinstance(test, StdinTest) else _returned
        if (problem_of := await one(sandbox, test, program, limits)) is not None:
            failures.append(f"test {number}:{problem_of}")
            if f"got: {_SLOW}" in problem_of:
                break
        if time.monotonic() > deadline:
            break
    return Report(len(tests), number, tuple(failures))


async def _printed(sandbox: Sandbox, test: Any, program: str, limits: Limits) -> str | None:
    result = await sandbox.run(program, stdin=test.input.encode(), limits=limits)
    if result.ok and same_output(result.stdout, test.output):
        return None
    got = _short(result.stdout.rstrip("\n")) or "nothing"
    if not result.ok:
        got = _ended(result.status, result.stderr.strip(), limits)
    given, wanted = _short(test.input.rstrip("\n")), _short(test.output.rstrip("\n"))
    return _lines(input=given, expected=wanted, got=got)


async def _returned(sandbox: Sandbox, test: CallTest, program: str, limits: Limits) -> str | None:
    asked = [(test.function, *test.arguments)]
    source = with_callee(program)
    [result] = await sandbox.call(source, "_call_", asked, limits=limits)
    if result.ok and test.check(result.value):
        return None
    arguments = ", ".join(brief(argument, 200) for argument in test.arguments)
    got = brief(result.value, 200)
    if not result.ok:
        got = _ended(result.status, result.error or "", limits)
    wanted = brief(getattr(test.check, "expected", "another value"), 200)
    return _lines(input=f"{test.function}({arguments})", expected=wanted, got=got)


async def _script(sandbox: Sandbox, script: Script, program: str, limits: Limits) -> Report:
    """Play assertions that hold more than a call and a value: which of them fails is all we see."""
    runner = ScriptRunner(sandbox, script, limits)
    try:
        verdict = await runner.run(program)
    except UnusableTests as error:
        return Report(1, 0, (f"the tests cannot be run: {error}",))
    source = _short(script.sources[1])
    failed = [
        f"test {number + 1}:{_lines(test=source, got=_ended(status, '', limits))}"
        for status, number in verdict.failures
    ]
    return Report(verdict.tests, verdict.tests, tuple(failed))


def _ended(status: str, error: str, limits: Limits) -> str:
    if status == _SLOW:
        return f"{_SLOW}, longer than {limits.cpu_seconds:g} seconds"
    words = {**_ENDS, "wrong": "another value", "load": "an error while loading"}.get(status)
    last = cut_characters(error, _MOST_CHARACTERS).text
    return words or last or "an error"


def _short(text: str) -> str:
    return cut_characters(text, _MOST_CHARACTERS).text


def _lines(**parts: str) -> str:
    """Write parts under their names; those of several lines begin on a line of their own."""
    return "".join(
        f"\n  {name}:{chr(10) if chr(10) in text else ' '}{text}" for name, text in parts.items()
    )
