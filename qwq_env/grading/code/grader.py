"""Run a program's tests in a sandbox, and compare outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

from qwq_env.errors import UsageError
from qwq_env.grading.code.fences import program_of
from qwq_env.grading.code.output import NUMBER_RULES, NumberRule, same_output
from qwq_env.grading.code.prelude import with_prelude, without_exit_code
from qwq_env.grading.code.problem import CallTest, CodeProblem, Equals, Script, StdinTest
from qwq_env.grading.code.punctual import OurLoad, PunctualSandbox
from qwq_env.grading.code.script import ScriptRunner, UnusableTests, with_callee
from qwq_env.grading.score import Score
from qwq_env.sandbox.errors import SandboxBusy, SandboxUnavailable
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.source import checked_code

_AT_ONCE = 8
# A server answers a request that takes longer than 600 s as lost, which is nobody's verdict.
_REQUEST_SECONDS = 500.0
_REASONS = {
    "timeout": "time_limit",
    "memory": "memory_limit",
    "output": "output_limit",
    "killed": "runtime_error",
    "error": "runtime_error",
    "load": "runtime_error",
    "wrong": "wrong_answer",
    "unsupported": "wrong_answer",
}

Reward = Literal["all", "fraction", "first_k"]
_Batch = list[tuple[int, CallTest]]


class CodeGrader:
    """Pays a program for the tests that it passes.

    `reward` "all" pays 1.0 if every test passes, "fraction" the share that passes, "first_k" 1.0
    if the first `first_k` pass (a cheap reward for long test suites). `numbers` says how numbers
    are compared: "tolerance" is for rewards, "livecodebench" does as that benchmark's own judge
    does, printed and returned, for figures that are held against published ones. `limits` bound a
    single test; the problem's own time limit replaces their time. Before the first grade the
    sandbox has to run programs known to be right and wrong: one that is broken must not read as
    wrong answers, and a server whose maxima are below `limits` is a `UsageError` then, not at some
    later program.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        reward: Reward = "all",
        first_k: int = 10,
        numbers: NumberRule = "tolerance",
        limits: Limits | None = None,
    ) -> None:
        if reward not in ("all", "fraction", "first_k"):
            raise UsageError(f"reward: {reward!r}; expected 'all', 'fraction' or 'first_k'")
        if first_k < 1:
            raise UsageError(f"first_k: {first_k!r}; expected 1 or more")
        if numbers not in NUMBER_RULES:
            raise UsageError(f"numbers: {numbers!r}; expected one of {NUMBER_RULES}")
        self._sandbox = PunctualSandbox(sandbox)
        self._numbers: NumberRule = numbers
        self._reward, self._first_k = reward, first_k
        self._limits = limits or Limits(memory_mb=512, output_bytes=4 << 20)
        self._tested = False
        self._testing = asyncio.Lock()

    async def grade(self, problem: CodeProblem, response: str) -> Score:
        """Grade the last Python block of `response`.

        Undecided where the sandbox failed, or our load made a program late, and, as `unusable`,
        where the task's own test code cannot be run, whatever the solution is.
        """
        code = program_of(response)
        if code is None or not code.strip():
            return Score.wrong("no_code", "no fenced Python block after the thinking")
        program = with_prelude(problem.prelude, code)
        try:
            checked_code(program)
        except UsageError as error:
            return Score.wrong("no_code", str(error))
        try:
            await self._test_self()
            return (await self._grade(problem, program)).of(code)
        except UnusableTests as error:
            return Score.undecided("unusable", str(error))
        except (SandboxUnavailable, SandboxBusy, OurLoad) as error:
            return Score.undecided("infra", str(error))

    async def _grade(self, problem: CodeProblem, program: str) -> Score:
        limits = replace(
            self._limits, cpu_seconds=problem.seconds, wall_seconds=3 * problem.seconds
        )
        stop_early = self._reward != "fraction"
        most = self._first_k if self._reward == "first_k" else len(problem.tests)
        tests = problem.tests[:most]
        count = len(tests)
        if isinstance(tests[0], Script):
            failures, count = await self._run_script(program, tests[0], limits, stop_early)
        elif isinstance(tests[0], StdinTest):
            failures = await self._run_stdin(program, tests, limits, stop_early)
        else:
            failures = await self._run_calls(program, tests, limits, stop_early)
        if not failures:
            return Score.right("passed", f"{count} tests")
        reason, number = failures[0]
        detail = f"test {number + 1} of {count}"
        if self._reward == "fraction":
            passed = max(0, count - len(failures)) / count
            return Score.partial(passed, reason, f"{detail}; {len(failures)} failed")
        return Score.wrong(reason, detail)

    async def _run_script(
        self, program: str, script: Script, limits: Limits, stop_early: bool
    ) -> tuple[list[tuple[str, int]], int]:
        runner = ScriptRunner(
            self._sandbox,
            script,
            limits,
            to_the_end=not stop_early,
            most=self._first_k if self._reward == "first_k" else 0,
            batch=_most_calls(limits.wall_seconds),
        )
        verdict = await runner.run(program)
        return [(_REASONS[status], number) for status, number in verdict.failures], verdict.tests

    async def _run_stdin(
        self, program: str, tests: Sequence[StdinTest], limits: Limits, stop_early: bool
    ) -> list[tuple[str, int]]:
        failures: list[tuple[str, int]] = []
        if self._numbers == "livecodebench":
            program = without_exit_code(program)
        for begin in range(0, len(tests), _AT_ONCE):
            chunk = tests[begin : begin + _AT_ONCE]
            results = await asyncio.gather(
                *(self._sandbox.run(program, stdin=t.input.encode(), limits=limits) for t in chunk)
            )
            for number, (test, result) in enumerate(zip(chunk, results, strict=True), begin):
                if not result.ok:
                    failures.append((_REASONS[result.status], number))
                elif "stdout" in result.truncated or not same_output(
                    result.stdout, test.output, self._numbers
                ):
                    failures.append(("wrong_answer", number))
            if failures and stop_early:
                break
        return failures

    async def _run_calls(
        self, program: str, tests: Sequence[CallTest], limits: Limits, stop_early: bool
    ) -> list[tuple[str, int]]:
        failures: list[tuple[str, int]] = []
        program = with_callee(program)
        batches = _batches(tests, limits.wall_seconds, stop_early)
        at_once = 1 if stop_early else _AT_ONCE
        while group := list(islice(batches, at_once)):
            found = await asyncio.gather(*(self._run_batch(program, b, limits) for b in group))
            failures.extend(failure for batch in found for failure in batch)
            if failures and stop_early:
                break
        return failures

    async def _run_batch(
        self, program: str, batch: _Batch, limits: Limits
    ) -> list[tuple[str, int]]:
        asked = [(test.function, *test.arguments) for _, test in batch]
        results = await self._sandbox.call(program, "_call_", asked, limits=limits)
        failures: list[tuple[str, int]] = []
        for (number, test), result in zip(batch, results, strict=True):
            if result.skipped:
                # Large values, which are let go before more of them are asked for.
                rest = batch[number - batch[0][0] :]
                del results
                return failures + await self._run_batch(program, rest, limits)
            if not result.ok:
                failures.append((_REASONS[result.status], number))
            elif not self._is_right(test, result.value):
                failures.append(("wrong_answer", number))
        return failures

    def _is_right(self, test: CallTest, value: Any) -> bool:
        if self._numbers == "livecodebench" and isinstance(test.check, Equals):
            return test.check.exactly(value)
        return test.check(value)

    async def _test_self(self) -> None:
        """Run programs of known outcome, once; `SandboxUnavailable` if one comes out wrong."""
        async with self._testing:
            if self._tested:
                return
            program = "n, m = map(int, input().split())\nprint(n + m)"
            calls = "def double(x):\n    return 2 * x"
            cases = [
                (program, CodeProblem((StdinTest("2 3\n", "5"),)), 1.0),
                (program, CodeProblem((StdinTest("2 3\n", "6"),)), 0.0),
                # A server that has to lower the limits says so under a program that fails.
                ("1 / 0", CodeProblem((StdinTest("2 3\n", "5"),)), 0.0),
                (calls, CodeProblem((CallTest("double", (21,), Equals(42)),)), 1.0),
                (calls, CodeProblem((CallTest("double", (21,), Equals(41)),)), 0.0),
            ]
            for code, problem, expected in cases:
                score = await self._grade(problem, code)
                if (score.value == 1.0) != (expected == 1.0):
                    raise SandboxUnavailable(
                        f"self-test: a program known to score {expected:g} scored {score}"
                    )
            self._tested = True


def _batches(tests: Sequence[CallTest], seconds: float, stop_early: bool) -> Iterator[_Batch]:
    """Return the tests in their order, each with its number, as many as one request may hold.

    Where the first failure decides, the first request holds one test and each one after it twice
    as many: a solution that hangs is found out at the cost of about twice the tests up to there.
    """
    most = _most_calls(seconds)
    size = 1 if stop_early else most
    numbered = enumerate(tests)
    while batch := list(islice(numbered, size)):
        yield batch
        size = min(most, 2 * size)


def _most_calls(seconds: float) -> int:
    # At worst each call overruns, and before it the loading of the solution almost does.
    return max(1, int(_REQUEST_SECONDS / (2 * seconds)))
