"""Test code as it was published, played against a solution that runs elsewhere.

`assert f(2, 3) == 5` run beside the solution hands it the 5: it may read it from the caller's
frame, or return an object that equals everything. So there are two processes, both in the
sandbox. That of the tests (`caller`) runs the published code and knows what is expected; that of
the solution (`callee`) gets one call after the other. Between them goes text, through here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.grading.code.problem import Script
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits


def _compiled(name: str) -> str:
    """Return an expression for the code of a module of this folder.

    Compiled already, where the sandbox has our version of Python: to compile it in each process
    takes longer than all else that most tests do.
    """
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    code = base64.b64encode(zlib.compress(marshal.dumps(compile(text, name, "exec"))))
    return (
        "(lambda load: load('marshal').loads(load('zlib').decompress(load('binascii').a2b_base64("
        f"{code!r}))) if load('sys').implementation.cache_tag == {sys.implementation.cache_tag!r}"
        f" else compile({text!r}, {name!r}, 'exec'))(__import__)"
    )


_CALLEE = _compiled("callee")
_TESTS = f"""import sys, types
for name, code in (("callee", {_CALLEE}), ("caller", {_compiled("caller")})):
    module = types.ModuleType("qwq_env.grading.code." + name)
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)
module.main()
"""
_MOST_ANSWERS = 8 << 20
# Most scripts need two or three; one that waits for each value needs one for each call.
MOST_PLAYS = 1000


class UnusableTests(UsageError):
    """The test code cannot be played, whatever the solution is."""


class Verdict(NamedTuple):
    """What a script came to: the failures as (status, number from 0), and how many were tried.

    A status is "wrong", "error", or that of a call that was lost ("timeout", "memory", ...).
    """

    failures: list[tuple[str, int]]
    tests: int


class _Answer(NamedTuple):
    """A call that was made: the digest of its question, how it ended, and its text."""

    digest: str
    status: str
    text: str


def with_callee(program: str, closing: str = "") -> str:
    """Put behind a program what answers the questions of a script, and what makes plain calls.

    `closing` is set-up code of the tests that needs the solution's names.
    """
    names = "{'__name__': 'callee'}"
    return (
        f"{program}\n{closing}\n_callee_ = {names}; exec({_CALLEE}, _callee_)\n"
        "def _answer_(question): return _callee_['answer'](globals(), question)\n"
        "def _call_(path, *arguments): return _callee_['call'](globals(), path, *arguments)\n"
    )


class ScriptRunner:
    """Plays one script against one program; `to_the_end` goes on behind failed assertions.

    `most` is the number of assertions that count, 0 for all; `batch` how many calls one request
    to the sandbox may hold.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        script: Script,
        limits: Limits,
        *,
        to_the_end: bool = False,
        most: int = 0,
        batch: int = 1,
    ) -> None:
        self._sandbox, self._script, self._limits = sandbox, script, limits
        self._to_the_end, self._most, self._batch = to_the_end, most or -1, batch
        self._known: list[_Answer] = []

    async def run(self, program: str) -> Verdict:
        """Return the verdict on a program. Raises `UnusableTests`."""
        program = with_callee(program, self._script.closing)
        tests = agreed = 0
        for _ in range(MOST_PLAYS):
            report = await self._play()
            if isinstance(report, str):
                return Verdict([(report, 0)], max(1, tests))
            tests = max(tests, report["asserted"], 1)
            if not report["unknown"]:
                return self._verdict(report, tests)
            if self._known and report["agreed"] <= agreed:
                raise UnusableTests("tests: they call something else each time they run")
            agreed = report["agreed"]
            del self._known[agreed:]
            await self._ask(program, report["asked"])
            if sum(len(answer.text) for answer in self._known) > _MOST_ANSWERS:
                return Verdict([("output", 0)], tests)
        return Verdict([("timeout", 0)], tests)

    def _verdict(self, report: dict[str, Any], tests: int) -> Verdict:
        if report["unusable"]:
            raise UnusableTests(f"tests: {report['unusable']}")
        if not self._known:
            ended = report["ended"] or "their end"
            raise UnusableTests(f"tests: no call of the solution up to {ended}")
        failures = [(status, number - 1) for number, status in report["failed"]]
        if report["ended"]:
            # What the first play saw beyond the end has not been passed.
            failures += [(failures[-1][0], number) for number in range(failures[-1][1] + 1, tests)]
        return Verdict(failures, tests)

    async def _play(self) -> dict[str, Any] | str:
        """Run the tests against what is known; the report, or the status that ended them."""
        order = {
            "sources": self._script.sources,
            "functions": self._script.functions,
            "known": self._known,
            "to_the_end": self._to_the_end,
            "most": self._most,
        }
        given = json.dumps(order).encode()
        result = await self._sandbox.run(_TESTS, stdin=given, limits=self._limits)
        if result.ok and not result.truncated and result.stdout.endswith("}"):
            report: dict[str, Any] = json.loads(result.stdout)
            return report
        if not self._known:
            # No solution has had a hand in it yet.
            raise UnusableTests(f"tests: {_how_ended(result)}")
        return "wrong" if result.status in ("ok", "error") else result.status

    async def _ask(self, program: str, questions: Sequence[str]) -> None:
        """Have the calls made, each request with twice as many, up to one that goes wrong."""
        size = self._batch if self._to_the_end else 1
        while questions:
            batch, questions = questions[:size], questions[size:]
            asked = [[question] for question in batch]
            results = await self._sandbox.call(program, "_answer_", asked, limits=self._limits)
            results = [result for result in results if not result.skipped]
            # What was skipped, for large answers before it, is asked again.
            batch, questions = batch[: len(results)], [*batch[len(results) :], *questions]
            self._known.extend(map(_answer, batch, results))
            if not self._to_the_end and not all(result.ok for result in results):
                return
            size = min(self._batch, 2 * size)


def _answer(question: str, result: CallResult) -> _Answer:
    digest = hashlib.sha256(question.encode()).hexdigest()
    if result.status == "error" and str(result.error).startswith("while loading:"):
        return _Answer(digest, "load", "")  # which no test may take for an error it waits for
    # A program may have replaced what answers, and with it what kind of value comes.
    text = result.value if result.ok and type(result.value) is str else result.error
    return _Answer(digest, result.status, text or "")


def _how_ended(result: ExecutionResult) -> str:
    last = result.stderr.strip().rpartition("\n")[2]
    return f"ended by {result.status} before any call ({last:.200})"
