"""What a program does with tests that may be shown: for whoever wrote it, in words.

A grade is one number, and says nothing that helps to mend a program. A `Report` shows what was
given, what was expected and what came instead. It is for public tests only.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from qwq_env.errors import UsageError, brief
from qwq_env.grading.code.output import same_output
from qwq_env.grading.code.prelude import with_prelude
from qwq_env.grading.code.problem import CallTest, CodeProblem, Script, StdinTest
from qwq_env.grading.code.script import with_callee
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.source import checked_code
from qwq_env.text.truncation import cut_characters

_MOST_SHOWN: Final = 3
_MOST_CHARACTERS: Final = 400
_MOST_SECONDS: Final = 5.0
_TOGETHER_SECONDS: Final = 15.0
_ENDS: Final = {
    "memory": "out of memory",
    "output": "too much output",
    "killed": "the interpreter died",
    "unsupported": "what came back is no plain value (a number, a text, a list, ...)",
}


Test = StdinTest | CallTest | Script


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

    A test has at most 5 seconds, and none begins after 15. Whatever the program does is in the
    report; raises `InfrastructureError` where the sandbox failed.
    """
    program = with_prelude(problem.prelude, code)
    tests: Sequence[Test] = problem.tests
    try:
        checked_code(program)
    except UsageError as error:
        return Report(len(tests), 0, (f"the program cannot be run: {error}",))
    seconds = min(problem.seconds, _MOST_SECONDS)
    limits = Limits(cpu_seconds=seconds, wall_seconds=2 * seconds, memory_mb=512)
    failures: list[str] = []
    deadline = time.monotonic() + _TOGETHER_SECONDS
    for number, test in enumerate(tests, 1):
        shown = await _shown(sandbox, test, program, limits)
        failures += [f"test {number}:{shown}"] if shown else []
        if time.monotonic() > deadline:
            break
    return Report(len(tests), number, tuple(failures))


async def _shown(sandbox: Sandbox, test: Test, program: str, limits: Limits) -> str:
    """Return what is to be seen of a test that failed, "" for one that passed."""
    if isinstance(test, Script):
        return await _asserted(sandbox, test, program, limits)
    if isinstance(test, StdinTest):
        return await _printed(sandbox, test, program, limits)
    return await _returned(sandbox, test, program, limits)


async def _printed(sandbox: Sandbox, test: StdinTest, program: str, limits: Limits) -> str:
    result = await sandbox.run(program, stdin=test.input.encode(), limits=limits)
    if result.ok and same_output(result.stdout, test.output):
        return ""
    got = _short(result.stdout.rstrip("\n")) or "nothing"
    if not result.ok:
        got = _ended(result.status, result.stderr.strip(), limits)
    given, wanted = _short(test.input.rstrip("\n")), _short(test.output.rstrip("\n"))
    return _lines(input=given, expected=wanted, got=got)


async def _returned(sandbox: Sandbox, test: CallTest, program: str, limits: Limits) -> str:
    asked = [(test.function, *test.arguments)]
    source = with_callee(program)
    [result] = await sandbox.call(source, "_call_", asked, limits=limits)
    if result.ok and test.check(result.value):
        return ""
    arguments = ", ".join(brief(argument, 200) for argument in test.arguments)
    got = brief(result.value, 200)
    if not result.ok:
        got = _ended(result.status, result.error or "", limits)
    wanted = brief(getattr(test.check, "expected", "another value"), 200)
    return _lines(input=f"{test.function}({arguments})", expected=wanted, got=got)


async def _asserted(sandbox: Sandbox, script: Script, program: str, limits: Limits) -> str:
    """Run assertions that hold more than a call and a value, beside the program that they test.

    They may see each other: what the tests expect is public.
    """
    token = secrets.token_hex(8)
    before, asserted = script.sources
    parts = [with_prelude(before, program), script.closing, asserted, repr(token)]
    result = await sandbox.run("\n".join(parts), limits=limits)
    if result.ok and result.value == repr(token):
        return ""
    last = result.stderr.strip().rpartition("\n")[2]
    words = "something else" if last == "AssertionError" else last
    if result.ok:
        words = "the program ended before the test"
    return _lines(test=_short(asserted), got=_ended(result.status, words, limits))


def _ended(status: str, error: str, limits: Limits) -> str:
    if status == "timeout":
        return f"timeout, longer than {limits.cpu_seconds:g} seconds"
    return _ENDS.get(status) or _short(error) or "an error"


def _short(text: str) -> str:
    return cut_characters(text, _MOST_CHARACTERS).text


def _lines(**parts: str) -> str:
    """Write parts under their names; those of several lines begin on a line of their own."""
    return "".join(
        f"\n  {name}:{chr(10) if chr(10) in text else ' '}{text}" for name, text in parts.items()
    )
