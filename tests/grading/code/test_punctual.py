"""A program that is late by itself is wrong; one that our load made late is not."""

from __future__ import annotations

import pytest

from qwq_env.grading.code import CallTest, CodeGrader, CodeProblem, StdinTest
from qwq_env.grading.code.problem import Equals
from qwq_env.grading.code.punctual import CONTROL
from qwq_env.sandbox import CallResult, ExecutionResult

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRINTS = CodeProblem((StdinTest("", "5"),), seconds=1.0)
RETURNS = CodeProblem((CallTest("f", (), Equals(5)),), seconds=1.0)
RESPONSE = "```python\ndef f(): return 5\nprint(f())\n```"


class Loaded:
    """A machine so many times too slow, in which a program takes `cpu` seconds, or sleeps."""

    def __init__(self, slowness: float, cpu: float, sleeps: float = 0.0) -> None:
        self.slowness, self.cpu, self.sleeps = slowness, cpu, sleeps
        self.runs = 0

    def _end(self, limits):
        wall = self.cpu * self.slowness + self.sleeps
        if self.cpu > limits.cpu_seconds or wall > limits.wall_seconds:
            wall = min(wall, limits.wall_seconds)
            return "timeout", min(limits.cpu_seconds, self.cpu, wall / self.slowness), wall
        return "ok", self.cpu, wall

    async def run(self, code, *, stdin=b"", limits, argv=()):
        self.runs += 1
        status, cpu, wall = self._end(limits)
        return ExecutionResult(status, "5\n", cpu_seconds=cpu, wall_seconds=wall)

    async def call(self, code, function, arguments, *, limits):
        status, _, wall = self._end(limits)
        return [CallResult(status, 5, None, wall) for _ in arguments]


def grader(machine) -> CodeGrader:
    run = machine.run

    async def with_control(code, **more):
        if code == CONTROL:
            return ExecutionResult("ok", cpu_seconds=0.02, wall_seconds=0.02 * machine.slowness)
        return await run(code, **more)

    machine.run = with_control
    grader = CodeGrader(machine)
    grader._tested = True  # the machine runs no programs, so there is nothing to test
    return grader


@pytest.mark.parametrize("problem", [PRINTS, RETURNS], ids=["prints", "returns"])
@pytest.mark.parametrize(
    ("machine", "value", "reason"),
    [
        (Loaded(1.0, cpu=0.9), 1.0, "passed"),
        (Loaded(1.0, cpu=5.0), 0.0, "time_limit"),
        (Loaded(1.0, cpu=0.1, sleeps=60.0), 0.0, "time_limit"),
        (Loaded(5.0, cpu=0.9), 1.0, "passed"),
        (Loaded(5.0, cpu=5.0), 0.0, "time_limit"),
        (Loaded(5.0, cpu=0.1, sleeps=60.0), 0.0, "time_limit"),
        (Loaded(20.0, cpu=0.9), None, "infra"),
    ],
    ids=["in time", "slow", "asleep", "late", "slow, load", "asleep, load", "far too late"],
)
async def test_who_made_it_late(problem, machine, value, reason):
    score = await grader(machine).grade(problem, RESPONSE)

    assert (score.value, score.reason) == (value, reason)


async def test_a_program_that_sleeps_is_wrong_however_loaded_the_machine():
    score = await grader(Loaded(20.0, cpu=0.05, sleeps=60.0)).grade(PRINTS, RESPONSE)

    assert (score.value, score.reason) == (0.0, "time_limit")
